"""The chart's rules allow what the operator does."""

import asyncio

from deepseek_operator.api.permissions import OPERATOR_NAMESPACE, OPERATOR_TENANTS
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine.kinds import KINDS

from tests.faults import virtual_time
from tests.faults.connection import NAMESPACE, Log
from tests.faults.scenario import MODEL_REF, PUBLISHED_REF, RUN_REF, SERVICE_REF, life, rest

_VERBS = {"create": ("create",), "apply": ("patch", "create"), "apply status": ("patch",), "patch": ("patch",)}


def needed(verb: str, ref: Ref) -> set[tuple[str, str, str]]:
    kind = KINDS[ref.kind]
    plural = f"{kind.plural}/status" if verb == "apply status" else kind.plural
    return {(name, kind.group, plural) for name in _VERBS.get(verb, (verb,))}


def test_every_write_of_a_whole_life_is_granted() -> None:
    async def run() -> None:
        log = Log()
        world, process = await life(log)
        world.delete(PUBLISHED_REF)
        await asyncio.sleep(10)
        for ref in (SERVICE_REF, MODEL_REF, RUN_REF):
            world.delete(ref)
        process = await rest(world, log, process)
        await process.end()
        granted = {
            where: {
                (verb, grant.group, plural) for grant in grants for plural in grant.resources for verb in grant.verbs
            }
            for where, grants in ((True, OPERATOR_NAMESPACE), (False, OPERATOR_TENANTS))
        }
        wanted = {(ref.namespace == NAMESPACE, need) for verb, ref in log.writes for need in needed(verb, ref)}
        assert {(own, need) for own, need in wanted if need not in granted[own] | granted[False]} == set()
        assert (True, ("delete", "", "configmaps")) in wanted, "the route's removal is part of it"

    virtual_time.run(run())
