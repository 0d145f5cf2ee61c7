"""How to reach the API server: in the cluster by the ServiceAccount, outside by kubeconfig."""

import asyncio
import os
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import kopf

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECTIONS = 64
_TOKEN_AGE = 60.0
"""Seconds after which a projected token is read again; the kubelet renews it at 80 % of its life of an hour."""


class RotatingToken:
    """A bearer token in a file that the kubelet renews, set on every request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = float("-inf")
        self._header = ""

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """The client middleware."""
        if time.monotonic() - self._read_at > _TOKEN_AGE:
            text = await asyncio.to_thread(self._path.read_text)
            self._header = f"Bearer {text.strip()}"
            self._read_at = time.monotonic()
        request.headers["Authorization"] = self._header
        return await handler(request)


@dataclass(frozen=True)
class Connection:
    """Address and credentials; `session()` gives a new session with its own connections."""

    server: str
    tls: ssl.SSLContext
    namespace: str | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    token: RotatingToken | None = field(default=None, repr=False)

    def session(self, limit: int) -> aiohttp.ClientSession:
        """At most `limit` connections; 0 for as many as are asked for, which watches need."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limit, ssl=self.tls, keepalive_timeout=60),
            headers={
                "User-Agent": "deepseek-operator",
                "Accept-Encoding": "identity",  # in one data centre, compressing lists costs more than sending them
                **self.headers,
            },
            middlewares=(self.token,) if self.token else (),
        )


def in_cluster(account: Path = ACCOUNT) -> Connection | None:
    """The connection of a pod, or None outside a cluster."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (account / "token").exists():
        return None
    host = f"[{host}]" if ":" in host else host
    return Connection(
        server=f"https://{host}:{port}",
        tls=ssl.create_default_context(cafile=account / "ca.crt"),
        namespace=(account / "namespace").read_text().strip(),
        token=RotatingToken(account / "token"),
    )


def from_kubeconfig() -> Connection | None:
    """The current context of `$KUBECONFIG` or `~/.kube/config`, or None where there is none."""
    info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    if info is None:
        return None
    return Connection(
        server=info.server,
        tls=info.as_ssl_context(),
        namespace=info.default_namespace,
        headers=info.as_http_headers(),
    )


def discover() -> Connection:
    """KUBECONFIG wins where it is set, then the pod's ServiceAccount, then `~/.kube/config`."""
    connection = (None if os.environ.get("KUBECONFIG") else in_cluster()) or from_kubeconfig()
    if connection is None:
        raise RuntimeError("no cluster to talk to: run in a pod with a ServiceAccount, or set KUBECONFIG")
    return connection
