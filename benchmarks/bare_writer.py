"""Makes what an operator makes, as fast as the API allows: no watching, no deciding, no status.

It writes the resources under a group of its own, and children that no selector finds, so that the operator beside it
sees nothing of them.
"""

import asyncio
import json
from typing import Any

from benchmarks.client import Client, Collection
from benchmarks.operators import Object, Subject

GROUP = "bare.example.com"
_DEFINITIONS = Collection("apiextensions.k8s.io/v1", "customresourcedefinitions")


class BareWriter:
    """For one kind of resource: `install`, `learn` once in each namespace, then `write`."""

    def __init__(self, client: Client, subject: Subject) -> None:
        self.subject = subject
        self._client = client
        version = subject.collection.api_version.rpartition("/")[2]
        self._collection = Collection(f"{GROUP}/{version}", subject.collection.plural)
        self._children = "[]"
        self._pattern: Object = {}

    @classmethod
    async def install(cls, client: Client, subject: Subject) -> "BareWriter":
        """With a copy of the resource's definition."""
        writer, plural = cls(client, subject), subject.collection.plural
        group = subject.collection.api_version.partition("/")[0]
        spec = (await client.get(_DEFINITIONS, "", f"{plural}.{group}"))["spec"]
        names = {key: spec["names"][key] for key in ("kind", "listKind", "plural", "singular")}
        definition = {"metadata": {"name": f"{plural}.{GROUP}"}, "spec": {**spec, "group": GROUP, "names": names}}
        if definition["metadata"]["name"] not in {each["metadata"]["name"] for each in await client.list(_DEFINITIONS)}:
            await client.create(_DEFINITIONS, definition)
        await _until_served(client, writer._collection)
        return writer

    async def learn(self, resource: Object) -> None:
        """Make one resource, and see what its children are."""
        live = await self._create(resource)
        original = {**live, "apiVersion": resource["apiVersion"]}
        children = [(where, _unseen(obj)) for where, obj in await self.subject.children(self._client, original)]
        self._children = json.dumps(children).replace(resource["apiVersion"], self._collection.api_version)
        self._pattern = live["metadata"]

    async def write(self, resource: Object) -> None:
        """The resource, then its children, one after the other."""
        meta = (await self._create(resource))["metadata"]
        own = self._children.replace(self._pattern["uid"], meta["uid"]).replace(self._pattern["name"], meta["name"])
        for (version, plural), obj in json.loads(own):
            await self._client.create(Collection(version, plural), obj)

    async def _create(self, resource: Object) -> Object:
        return await self._client.create(self._collection, {**resource, "apiVersion": self._collection.api_version})


def _unseen(child: Object) -> Object:
    """Its labels as annotations, so that it is no smaller."""
    meta: dict[str, Any] = dict(child["metadata"])
    annotations = {**meta.get("annotations", {}), **meta.pop("labels", {})}
    return {**child, "metadata": {**meta, "annotations": annotations}}


async def _until_served(client: Client, where: Collection) -> None:
    for _ in range(100):
        try:
            await client.version(where)
        except RuntimeError:
            await asyncio.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{where.plural} of {where.api_version} are not served")
