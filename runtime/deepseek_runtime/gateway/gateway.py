"""The gateway's parts, put together; every handler gets them as one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from deepseek_runtime.gateway.access.authenticate import Authenticator
from deepseek_runtime.gateway.access.authorize import Authorizer
from deepseek_runtime.gateway.access.keys import KeyAuthenticator
from deepseek_runtime.gateway.access.tokens import TokenAuthenticator
from deepseek_runtime.gateway.audit.log import AuditLog
from deepseek_runtime.gateway.files import MasterKey
from deepseek_runtime.gateway.forward import EngineClient
from deepseek_runtime.gateway.kube.client import KubernetesClient
from deepseek_runtime.gateway.kube.routes import RouteTable
from deepseek_runtime.gateway.metrics import Metrics
from deepseek_runtime.gateway.settings import Settings


@dataclass(slots=True)
class Gateway:
    """`in_flight` are the tasks of requests being answered; `draining` once the process is told to stop."""

    settings: Settings
    kubernetes: KubernetesClient
    routes: RouteTable
    authenticator: Authenticator
    authorizer: Authorizer
    audit: AuditLog
    engines: EngineClient
    master_key: MasterKey
    metrics: Metrics = field(default_factory=Metrics)
    in_flight: set[asyncio.Task[object]] = field(default_factory=set)
    draining: bool = False


GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def assemble(settings: Settings) -> AsyncIterator[Gateway]:
    """All parts with their connections open, nothing running yet."""
    stale = settings.stale_allow_seconds
    async with AsyncExitStack() as stack:
        kubernetes = await stack.enter_async_context(
            KubernetesClient(settings.kubernetes_url, settings.kubernetes_token_file, settings.kubernetes_ca_file)
        )
        master_key = MasterKey(settings.master_key_file)
        engines = await stack.enter_async_context(
            EngineClient(master_key, settings.connect_timeout_seconds, settings.idle_timeout_seconds)
        )
        yield Gateway(
            settings=settings,
            kubernetes=kubernetes,
            routes=RouteTable(),
            authenticator=Authenticator(
                KeyAuthenticator(kubernetes, stale, _utc_now), TokenAuthenticator(kubernetes, stale)
            ),
            authorizer=Authorizer(kubernetes, stale),
            audit=AuditLog(settings.replica_directory, settings.audit_segment_bytes),
            engines=engines,
            master_key=master_key,
        )
