"""Leader election with a Lease of coordination.k8s.io, as client-go does it.

Other processes' clocks are not trusted: a lease has run out when it has not changed for its duration by our own clock.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime

from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.engine import errors
from deepseek_operator.engine.api import Api

log = logging.getLogger(__name__)

DURATION = 15.0
"""Seconds after which another process may take over a lease that is not renewed."""
DEADLINE = 10.0
"""Seconds without a renewal after which this process must no longer act as the leader."""
RENEWAL = 4.0
RETRY = 2.0


class LeaseLostError(Exception):
    """This process may no longer lead, and has to end."""


class Lease:
    """One lease, held by one process at a time."""

    def __init__(self, api: Api, namespace: str, name: str, identity: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._ref = Ref("Lease", namespace, name)
        self._identity = identity
        self._now = now
        self._seen: tuple[str, float] = ("", 0.0)
        self._renewed = 0.0

    async def acquire(self, stand_by: Callable[[], None] = lambda: None) -> None:
        """Wait until this process holds the lease; `stand_by` is called when another does."""
        waiting_for = None
        while True:
            holder: str | None = None
            try:
                holder = await self._try()
            except errors.ApiError as error:
                log.warning("lease %s cannot be taken yet: %s", self._ref.name, error)
            if holder == self._identity:
                return
            if holder is not None and holder != waiting_for:
                log.info("waiting for the lease that %s holds", holder)
                waiting_for = holder
                stand_by()
            await asyncio.sleep(RETRY)

    async def renew(self) -> None:
        """Keep the lease for ever; raises LeaseLostError when that fails."""
        delay = RENEWAL
        while True:
            await asyncio.sleep(delay)
            delay = RENEWAL
            holder: str | None = self._identity
            left = self._renewed + DEADLINE - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    holder = await self._try()
            except (errors.ApiError, TimeoutError) as error:
                log.warning("lease %s is not renewed: %s", self._ref.name, error)
                delay = RETRY
            if holder != self._identity:
                raise LeaseLostError(f"lease {self._ref.name} is held by {holder}")
            if asyncio.get_running_loop().time() - self._renewed >= DEADLINE:
                raise LeaseLostError(f"lease {self._ref.name} has not been renewed for {DEADLINE:.0f} s")

    async def release(self) -> None:
        """Let another process take over at once."""
        with contextlib.suppress(errors.ApiError):
            lease = await self._api.get(self._ref)
            if lease["spec"].get("holderIdentity") == self._identity:
                await self._patch(lease, {"holderIdentity": None, "leaseDurationSeconds": 1})

    async def _try(self) -> str | None:
        """One attempt; who holds the lease after it, or None where that is open."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            lease = await self._api.get(self._ref)
        except errors.NotFoundError:
            await self._api.create(self._new())
            self._renewed = started
            return self._identity
        spec, version = lease["spec"], lease["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = (version, started)
        holder = spec.get("holderIdentity")
        expired = started - self._seen[1] >= float(spec.get("leaseDurationSeconds") or DURATION)
        if holder and holder != self._identity and not expired:
            return str(holder)
        try:
            await self._patch(lease, self._claim(spec))
        except errors.ConflictError:
            return None if holder != self._identity else await self._holder()
        self._renewed = started
        return self._identity

    async def _holder(self) -> str | None:
        holder: str | None = (await self._api.get(self._ref))["spec"].get("holderIdentity")
        return holder

    def _claim(self, spec: Object) -> Object:
        time = self._micro_time()
        claim: Object = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION),
            "renewTime": time,
        }
        if spec.get("holderIdentity") != self._identity:
            claim |= {"acquireTime": time, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        return claim

    def _new(self) -> Object:
        time = self._micro_time()
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._ref.name, "namespace": self._ref.namespace},
            "spec": {**self._claim({}), "acquireTime": time, "leaseTransitions": 0},
        }

    async def _patch(self, lease: Object, spec: Object) -> None:
        version = lease["metadata"]["resourceVersion"]
        await self._api.patch(self._ref, {"metadata": {"resourceVersion": version}, "spec": spec})

    def _micro_time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
