"""One API server over HTTP, as somebody: dicts in, status code and dict out."""

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from deepseek_operator.api.names import API_VERSION, PLURALS

Object = dict[str, Any]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Answer:
    """Status code and body."""

    code: int
    body: Object

    @property
    def message(self) -> str:
        """What a refusal says."""
        text: str = self.body.get("message", "")
        return text

    def ok(self) -> Object:
        """The body of a success; fails with the refusal otherwise."""
        assert self.code < 300, f"{self.code} {self.message}"
        return self.body


class Connection(http.client.HTTPSConnection):
    """Opened anew after a pause: the API server ends what was idle for 90 s, and tests between may take longer."""

    _PAUSE = 30.0

    def __init__(self, host: str, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, context=context, timeout=timeout)
        self._used = time.monotonic()

    def connected(self) -> "Connection":
        """Itself, fit for a request."""
        if time.monotonic() - self._used > self._PAUSE:
            self.close()
        self._used = time.monotonic()
        return self


class Api:
    """Requests on one connection."""

    def __init__(self, connection: Connection, headers: dict[str, str]) -> None:
        self._connection = connection
        self._headers = headers

    @classmethod
    def connect(cls, kubeconfig: Path) -> "Api":
        """As the user of a kubeconfig with a token."""
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trusted = ssl.create_default_context(cafile=cluster["certificate-authority"])
        host = cluster["server"].removeprefix("https://")
        connection = Connection(host, trusted, timeout=30)
        return cls(connection, {"Authorization": f"Bearer {user['token']}"})

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def acting(self, user: str) -> "Api":
        """The same server as another user, or as a ServiceAccount (`namespace:name`)."""
        if ":" in user:
            user = f"system:serviceaccount:{user}"
        return Api(self._connection, {**self._headers, "Impersonate-User": user})

    def request(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json", accept: str = "*/*"
    ) -> Answer:
        """One request."""
        headers = {**self._headers, "Content-Type": kind, "Accept": accept}
        try:
            self._connection.connected().request(method, path, None if body is None else json.dumps(body), headers)
            response = self._connection.getresponse()
            text = response.read()
        except BaseException:
            self._connection.close()  # half a request, as of a test that ran into its time limit, costs no other test
            raise
        try:
            content = json.loads(text)
        except ValueError:
            content = {"message": text.decode(errors="replace")}
        return Answer(response.status, content)

    def get(self, path: str, accept: str = "*/*") -> Answer:
        """GET."""
        return self.request("GET", path, accept=accept)

    def create(self, obj: Object, *, dry_run: bool = False) -> Answer:
        """POST of one of the three resources, judged strictly: an unknown field is refused."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.request("POST", collection(obj) + query, obj)

    def merge(self, obj: Object, patch: Object, subresource: str = "") -> Answer:
        """A JSON merge patch."""
        return self.request("PATCH", path(obj) + subresource, patch, MERGE)

    def apply(self, obj: Object, manager: str, subresource: str = "", *, force: bool = False) -> Answer:
        """Server-side apply."""
        query = f"?fieldManager={manager}&force={str(force).lower()}"
        return self.request("PATCH", path(obj) + subresource + query, obj, APPLY)


def collection(obj: Object) -> str:
    """The URL path of all objects of one of the three resources in a namespace."""
    return f"/apis/{API_VERSION}/namespaces/{obj['metadata']['namespace']}/{PLURALS[obj['kind']]}"


def path(obj: Object) -> str:
    """The URL path of one of the three resources."""
    return f"{collection(obj)}/{obj['metadata']['name']}"
