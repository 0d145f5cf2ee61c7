"""A Kubernetes API on loopback: ConfigMaps with list, watch and get, TokenReview, SubjectAccessReview."""

import asyncio
import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from deepseek_runtime.wire import api_key
from deepseek_runtime.wire import route as wire
from deepseek_runtime.wire.route import Route

Object = dict[str, Any]


class FakeKubernetes:
    """`allowed` holds (user, namespace, name); `down` answers everything with 500; `calls` counts by kind of call."""

    def __init__(self) -> None:
        self.config_maps: dict[tuple[str, str], Object] = {}
        self.allowed: set[tuple[str, str, str]] = set()
        self.tokens: dict[str, Object] = {}
        self.reviews: list[Object] = []
        self.calls: Counter[str] = Counter()
        self.authorizations: set[str] = set()
        self.down = False
        self.gone = False  # the next watch is told 410
        self._version = 1
        self._watchers: set[asyncio.Queue[Object | None]] = set()
        self._history: list[tuple[int, Object]] = []

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._gate])
        app.router.add_get("/api/v1/namespaces/{ns}/configmaps", self._list)
        app.router.add_get("/api/v1/namespaces/{ns}/configmaps/{name}", self._get)
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self._token_review)
        app.router.add_post("/apis/authorization.k8s.io/v1/subjectaccessreviews", self._access_review)
        return app

    def put(self, namespace: str, name: str, labels: dict[str, str], data: dict[str, str]) -> None:
        self._version += 1
        kind = "MODIFIED" if (namespace, name) in self.config_maps else "ADDED"
        metadata = {"name": name, "namespace": namespace, "labels": labels, "resourceVersion": str(self._version)}
        self.config_maps[namespace, name] = {"metadata": metadata, "data": data}
        self._tell(kind, namespace, name, self.config_maps[namespace, name])

    def delete(self, namespace: str, name: str) -> None:
        self._version += 1
        gone = self.config_maps.pop((namespace, name))
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell("DELETED", namespace, name, gone)

    def break_watches(self) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(None)

    def put_route(self, url: str, namespace: str = "team-a", service: str = "chat", **fields: Any) -> Route:
        uid = f"uid-{namespace}-{service}"
        made = {
            "namespace": namespace,
            "service": service,
            "uid": uid,
            "workload": f"InferenceService/{namespace}/{service}/{uid}",
            "url": url,
            "served_name": f"{namespace}-{service}",
            "ready": True,
            "created": 1_700_000_000,
            "context_length": 128,
            "model": "tiny",
            "digest": "d" * 64,
        }
        route = Route.model_validate({**made, **fields})
        self.put("system", f"route-{route.uid}", {wire.LABEL: "v1"}, {wire.KEY: route.to_json()})
        return route

    def put_key(
        self,
        namespace: str = "team-a",
        name: str = "alice",
        account: str = "reader",
        lifetime: timedelta = timedelta(days=1),
        labels: dict[str, str] | None = None,
    ) -> str:
        key = api_key.generate(namespace, name)
        data = {
            "sha256": hashlib.sha256(key.encode()).hexdigest(),
            "serviceAccount": account,
            "expires": (datetime.now(UTC) + lifetime).isoformat(),
        }
        self.put(namespace, name, {api_key.LABEL: "v1"} if labels is None else labels, data)
        return key

    def allow(self, account: str, namespace: str = "team-a", service: str = "chat", of: str = "team-a") -> None:
        self.allowed.add((f"system:serviceaccount:{of}:{account}", namespace, service))

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.authorizations.add(request.headers.get("Authorization", ""))
        if self.down:
            return web.Response(status=500, text="etcdserver: no leader")
        return await handler(request)

    async def _get(self, request: web.Request) -> web.Response:
        self.calls["get"] += 1
        found = self.config_maps.get((request.match_info["ns"], request.match_info["name"]))
        return web.json_response(found) if found else web.json_response({"kind": "Status", "code": 404}, status=404)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        namespace = request.match_info["ns"]
        assert request.query["labelSelector"] == f"{wire.LABEL}=v1"
        if request.query.get("watch") == "true":
            return await self._watch(request)
        self.calls["list"] += 1
        items = [each for (ns, _), each in self.config_maps.items() if ns == namespace and _is_route(each)]
        return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.calls["watch"] += 1
        response = web.StreamResponse()
        await response.prepare(request)
        if self.gone:
            self.gone = False
            await response.write(_line({"type": "ERROR", "object": {"kind": "Status", "code": 410}}))
            return response
        queue: asyncio.Queue[Object | None] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            for version, event in self._history:
                if version > int(request.query["resourceVersion"]):
                    queue.put_nowait(event)
            bookmark = {
                "type": "BOOKMARK",
                "object": {"metadata": {"resourceVersion": request.query["resourceVersion"]}},
            }
            await response.write(_line(bookmark))
            while (happened := await queue.get()) is not None:
                line = _line(happened)
                await response.write(line[:7])  # a line may arrive in pieces
                await response.write(line[7:])
        finally:
            self._watchers.discard(queue)
        return response

    async def _token_review(self, request: web.Request) -> web.Response:
        self.calls["token"] += 1
        spec = (await request.json())["spec"]
        assert spec["audiences"] == ["deepseek-gateway"]
        return web.json_response({"status": self.tokens.get(spec["token"], {"authenticated": False})}, status=201)

    async def _access_review(self, request: web.Request) -> web.Response:
        self.calls["access"] += 1
        spec = (await request.json())["spec"]
        self.reviews.append(spec)
        asked = spec["resourceAttributes"]
        assert (asked["verb"], asked["group"], asked["resource"]) == (
            "infer",
            "deepseek-operator.io",
            "inferenceservices",
        )
        allowed = (spec["user"], asked["namespace"], asked["name"]) in self.allowed
        return web.json_response({"status": {"allowed": allowed}}, status=201)

    def _tell(self, kind: str, namespace: str, name: str, config_map: Object) -> None:
        if namespace == "system" and _is_route(config_map):
            event = {"type": kind, "object": config_map}
            self._history.append((self._version, event))
            for watcher in self._watchers:
                watcher.put_nowait(event)


def _is_route(config_map: Object) -> bool:
    return bool(config_map["metadata"]["labels"].get(wire.LABEL) == "v1")


def _line(event: Object) -> bytes:
    return json.dumps(event).encode() + b"\n"
