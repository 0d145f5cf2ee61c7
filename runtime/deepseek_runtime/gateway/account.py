"""What the audit log says of one request: the intent before it is forwarded, the completion before it ends."""

import asyncio
import time
from typing import Any

from deepseek_runtime.gateway.access.authorize import Decision
from deepseek_runtime.gateway.access.caller import Caller
from deepseek_runtime.gateway.audit.log import AuditLog, AuditUnavailableError
from deepseek_runtime.gateway.metrics import Metrics
from deepseek_runtime.gateway.openai.answer import Answer
from deepseek_runtime.gateway.openai.errors import ApiError, unavailable
from deepseek_runtime.gateway.openai.request import SamplingRequest
from deepseek_runtime.wire.route import Route

COMPLETED = "completed"
FAILED = "failed"  # the engine refused, failed, or took too long
CANCELLED = "cancelled"  # the caller went away
INTERRUPTED = "interrupted"  # the gateway was told to stop


def audit_unavailable() -> ApiError:
    """503: what cannot be written down is not done."""
    return unavailable("The audit log cannot be written; nothing is forwarded until it can.", "audit_unavailable", 10)


class Account:
    """Errors of all methods: ApiError 503 where the record is not durable."""

    def __init__(self, audit: AuditLog, metrics: Metrics, request_id: str, caller: Caller) -> None:
        self._audit = audit
        self._metrics = metrics
        self._started = time.perf_counter()
        self._intent: int | None = None
        self.request_id = request_id
        self.caller = caller
        self.decision = Decision(allowed=False)

    async def denied(self, namespace: str, service: str) -> None:
        """A caller asked for something that is not theirs."""
        await self._append("denied", namespace=namespace, service=service, **self._who())

    async def intent(self, route: Route, wanted: SamplingRequest) -> None:
        """What is about to be forwarded; no content of it."""
        before = time.perf_counter()
        record = asyncio.ensure_future(
            self._append(
                "intent",
                endpoint=wanted.endpoint,
                namespace=route.namespace,
                service=route.service,
                uid=route.uid,
                model=route.model,
                variant=route.variant,
                digest=route.digest,
                parameters=wanted.parameters(),
                **self._who(),
            )
        )
        try:
            self._intent = await asyncio.shield(record)
        except asyncio.CancelledError:
            self._intent = await record  # it will be in the log, so its completion must be, too
            raise
        self._metrics.intent_seconds.observe(time.perf_counter() - before)
        if self.decision.stale:
            self._metrics.stale_allows.inc()

    async def completion(self, outcome: str, status: int, answer: Answer, error: str | None = None) -> None:
        """How it ended, if it was let through. Written even when the request's own task is being cancelled."""
        if self._intent is None:
            return
        self._metrics.count_tokens(answer.usage)
        record = self._append(
            "completion",
            intent=self._intent,
            requestId=self.request_id,
            outcome=outcome,
            status=status,
            error=error,
            finishReason=answer.finish_reason,
            usage=answer.usage,
            answer={"events": answer.events, "characters": answer.characters},
            latencyMs=round((time.perf_counter() - self._started) * 1000, 3),
        )
        await asyncio.shield(asyncio.ensure_future(record))

    def _who(self) -> dict[str, Any]:
        decision = self.decision
        return {
            "requestId": self.request_id,
            "user": self.caller.user,
            "key": self.caller.key,
            "decision": {"allowed": decision.allowed, "cached": decision.cached, "stale": decision.stale},
        }

    async def _append(self, kind: str, **fields: Any) -> int:
        try:
            return (await self._audit.append(kind, **fields)).seq
        except AuditUnavailableError:
            raise audit_unavailable() from None
