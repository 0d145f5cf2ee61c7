"""The journeys of the product: what is applied, what people do on the way, and how it ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deepseek_operator.api.names import MODEL, PLURALS
from deepseek_operator.controllers.decision import Object, Ref

from tests.faults import secrets
from tests.faults.connection import Log
from tests.faults.process import Process, WatchFaults, settle
from tests.faults.scenario import (
    CONTROLLERS,
    EDGE,
    GATED,
    INT8,
    MODEL_REF,
    PUBLISHED_REF,
    RUN_REF,
    SCRATCH,
    SERVICE_REF,
    TENANT,
    TEXT,
    cached,
    quickstart,
    resource,
    stage,
)
from tests.faults.simulators import Simulators
from tests.faults.world import World

Act = Callable[[World, Simulators], object]
"""Something that happens once all is at rest."""

FETCHED, IMPORTED = Ref(MODEL, TENANT, "fetched"), Ref(MODEL, TENANT, "imported")


@dataclass(frozen=True, eq=False)
class Journey:
    """`end`: the phases at the end, of all resources that are left."""

    name: str
    resources: tuple[Object, ...]
    end: Mapping[Ref, str]
    acts: tuple[Act, ...] = ()
    held: frozenset[str] = frozenset()
    """Work whose pods go on until an act releases them."""
    perplexities: Mapping[str, float] = field(default_factory=dict)
    """What is measured of parts of models, where it is not the usual."""

    def __str__(self) -> str:
        return self.name


def patched(ref: Ref, spec: Object) -> Act:
    """Somebody edits a resource."""
    return lambda world, _: world.patch(ref, {"spec": spec})


def released(_: World, simulators: Simulators) -> None:
    """Pods that were held go on."""
    simulators.release()


def deleted(world: World, _: Simulators) -> None:
    """`kubectl delete --cascade=foreground` of everything."""
    for ref in [ref for ref in world.objects if ref.kind in PLURALS]:
        world.delete_in_foreground(ref)


def _object(kind: str, name: str, **more: Object) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": TENANT}, **more}


_SEED = resource(MODEL_REF, {"source": {"scratch": SCRATCH}})
_SERVED = resource(MODEL_REF, {"source": {"scratch": SCRATCH}, "variants": [INT8]})
_GATED = resource(MODEL_REF, {"source": {"scratch": SCRATCH}, "variants": [GATED], "evaluation": {"text": TEXT}})
_ON_BASE = resource(SERVICE_REF, {"model": {"name": MODEL_REF.name}})
_TO_INT8 = patched(SERVICE_REF, {"model": {"variant": "int8"}})
_WIDE_GATE = {**GATED, "gate": {"maxPerplexityIncrease": 9.0}}
_FILES = [{"path": "config.json", "sha256": "ab" * 32}, {"path": "model.safetensors", "sha256": "cd" * 32}]
_NEAR = {**INT8, "gate": {"maxKlDivergence": 0.01}}
_PROVEN = resource(
    FETCHED,
    {
        "source": {"huggingFace": {"repo": "tiny/model", "revision": "v1"}},
        "verification": {"files": _FILES},
        "signing": {"keySecretRef": {"name": "release"}},
        "variants": [_NEAR],
        "evaluation": {"text": TEXT, "compare": True, "benchmark": {}},
    },
)
_MUCH_WORSE = {"int8": 50.0}

JOURNEYS = (
    Journey(
        "quickstart",
        tuple(quickstart()),
        {MODEL_REF: "Ready", RUN_REF: "Complete", PUBLISHED_REF: "Ready", SERVICE_REF: "Ready"},
    ),
    Journey(
        "hub",
        (
            _object("Secret", "hub", stringData={"token": secrets.TOKEN}),
            resource(
                FETCHED,
                {
                    "source": {"huggingFace": {"repo": "tiny/model", "tokenSecretRef": {"name": "hub"}}},
                    "variants": [INT8],
                },
            ),
        ),
        {FETCHED: "Ready"},
    ),
    Journey(
        "existing-claim",
        (
            _object("PersistentVolumeClaim", "weights", spec={}),
            resource(
                IMPORTED,
                {"source": {"existingClaim": {"claimName": "weights", "path": "tiny"}}, "variants": [INT8]},
            ),
        ),
        {IMPORTED: "Ready"},
    ),
    Journey(
        "stages-and-publication",
        (
            _SEED,
            resource(
                RUN_REF,
                {
                    "base": {"model": MODEL_REF.name},
                    "stages": [stage("pretrain"), stage("answers", "sft")],
                    "publish": {"model": PUBLISHED_REF.name},
                },
            ),
        ),
        {MODEL_REF: "Ready", RUN_REF: "Complete", PUBLISHED_REF: "Ready"},
    ),
    Journey(
        "suspension",
        (_SEED, resource(RUN_REF, {"base": {"model": MODEL_REF.name}, "stages": [stage()]})),
        {MODEL_REF: "Ready", RUN_REF: "Complete"},
        (patched(RUN_REF, {"suspend": True}), patched(RUN_REF, {"suspend": False}), released),
        frozenset({"train"}),
    ),
    Journey(
        "rollout",
        (_SERVED, _ON_BASE),
        {MODEL_REF: "Ready", SERVICE_REF: "Ready"},
        (_TO_INT8, patched(SERVICE_REF, {"replicas": 2, "pods": {"nodeSelector": {"disk": "ssd"}}})),
    ),
    Journey(
        "blocked-gate",
        (_GATED, _ON_BASE),
        {MODEL_REF: "Blocked", SERVICE_REF: "RollingOut"},
        (_TO_INT8,),
        perplexities=_MUCH_WORSE,
    ),
    Journey(
        "opened-gate",
        (_GATED, _ON_BASE),
        {MODEL_REF: "Ready", SERVICE_REF: "Ready"},
        (_TO_INT8, patched(MODEL_REF, {"variants": [_WIDE_GATE]})),
        perplexities=_MUCH_WORSE,
    ),
    Journey(
        "proof",
        (_PROVEN,),
        {FETCHED: "Ready"},
        (patched(FETCHED, {"verification": {"files": _FILES[:1]}, "variants": [_NEAR, EDGE]}),),
    ),
    Journey(
        "succession",
        (_PROVEN, resource(SERVICE_REF, {"model": {"name": FETCHED.name, "variant": "int8"}})),
        {FETCHED: "Ready", SERVICE_REF: "Ready"},
        (patched(FETCHED, {"source": {"huggingFace": {"revision": "v2"}}}),),
    ),
    Journey(
        "node-cache",
        tuple(cached()),
        {MODEL_REF: "Ready", SERVICE_REF: "Ready"},
        (
            patched(MODEL_REF, {"cache": {"artifacts": ["base"]}}),
            patched(MODEL_REF, {"source": {"scratch": {"seed": 1}}}),
        ),
    ),
    Journey("foreground-deletion", tuple(quickstart()), {}, (deleted,)),
)


async def travel(
    journey: Journey, log: Log, faults: WatchFaults | None = None, step: float = 60.0
) -> tuple[World, Process]:
    """The whole journey, with an operator from its beginning on."""
    world = World()
    simulators = Simulators(world)
    simulators.held |= journey.held
    simulators.perplexities |= journey.perplexities
    world.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}})
    for obj in journey.resources:
        world.create(obj)
    process = Process(world, log, CONTROLLERS, faults)
    await process.start()
    process = await settle(world, log, CONTROLLERS, process, faults, step)
    for act in journey.acts:
        act(world, simulators)
        process = await settle(world, log, CONTROLLERS, process, faults, step)
    return world, process
