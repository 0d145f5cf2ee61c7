"""The quickstart: a model from scratch, a run that trains it on two pods, its published copy in int8, a service."""

from collections.abc import Mapping, Sequence

from deepseek_operator.api.base import ApiModel
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.inferenceservice import InferenceServiceSpec
from deepseek_operator.api.names import API_VERSION, MODEL, SERVICE, TRAINING
from deepseek_operator.api.trainingrun import TrainingRunSpec
from deepseek_operator.app import controllers
from deepseek_operator.controllers.decision import Controller, Object, Ref

from tests.faults.connection import Log
from tests.faults.process import Process, WatchFaults, settle
from tests.faults.simulators import Simulators
from tests.faults.world import World

TENANT = "team"
MODEL_REF = Ref(MODEL, TENANT, "seed")
RUN_REF = Ref(TRAINING, TENANT, "pretrain")
PUBLISHED_REF = Ref(MODEL, TENANT, "handbook")
SERVICE_REF = Ref(SERVICE, TENANT, "chat")
CONTROLLERS: Mapping[str, Controller] = controllers()

TEXT = [{"configMap": {"name": "text"}}]
INT8 = {"name": "int8", "quantization": {"scheme": "int8"}}
EDGE = {"name": "edge", "export": {"gguf": {"type": "q8_0"}}}
GATED = {**INT8, "gate": {"maxPerplexityIncrease": 0.02}}
_SHARED = {"accessModes": ["ReadWriteMany"]}
_SPECS: dict[str, type[ApiModel]] = {MODEL: DeepSeekModelSpec, TRAINING: TrainingRunSpec, SERVICE: InferenceServiceSpec}


def resource(ref: Ref, spec: Object) -> Object:
    """A resource as the API server stores it: with all defaults."""
    full = _SPECS[ref.kind].model_validate(spec).to_object()
    meta = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": API_VERSION, "kind": ref.kind, "metadata": meta, "spec": full}


CONFIG = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 512,
    "moe_intermediate_size": 128,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 96,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "max_position_embeddings": 1024,
}
SCRATCH = {"architecture": "DeepSeekV3", "config": CONFIG, "tokenizer": {"text": TEXT}}


def stage(name: str = "base", kind: str = "pretrain") -> Object:
    """A stage of a run."""
    return {"name": name, "type": kind, "data": TEXT, "until": {"steps": 100}}


def quickstart() -> list[Object]:
    """All that the user applies."""
    return [
        resource(MODEL_REF, {"source": {"scratch": SCRATCH}, "storage": _SHARED}),
        resource(
            RUN_REF,
            {
                "base": {"model": MODEL_REF.name},
                "stages": [stage()],
                "compute": {"nodes": 2},
                "checkpoint": {"storage": _SHARED},
                "publish": {"model": PUBLISHED_REF.name},
            },
        ),
        resource(
            PUBLISHED_REF,
            {
                "source": {"trainingRun": {"name": RUN_REF.name}},
                "variants": [GATED],
                "evaluation": {"text": TEXT},
            },
        ),
        resource(SERVICE_REF, {"model": {"name": PUBLISHED_REF.name, "variant": "int8"}}),
    ]


def cached() -> list[Object]:
    """A model with copies on nodes, the claim that they lie on, and a service that reads them."""
    meta = {"name": "disks", "namespace": TENANT}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": {}},
        resource(
            MODEL_REF,
            {
                "source": {"scratch": SCRATCH},
                "storage": _SHARED,
                "variants": [INT8],
                "cache": {"claimName": "disks", "capacity": "1Gi"},
            },
        ),
        resource(SERVICE_REF, {"model": {"name": MODEL_REF.name, "variant": "int8"}}),
    ]


def arranged(objects: Sequence[Object] | None = None) -> World:
    """A world with the quickstart's resources, or with others, and no operator yet."""
    world = World()
    Simulators(world)
    world.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}})
    for obj in quickstart() if objects is None else objects:
        world.create(obj)
    return world


async def started(
    log: Log, faults: WatchFaults | None = None, objects: Sequence[Object] | None = None
) -> tuple[World, Process]:
    """A world with the quickstart's resources, or with others, and an operator in it that has just started."""
    world = arranged(objects)
    process = Process(world, log, CONTROLLERS, faults)
    await process.start()
    return world, process


async def life(
    log: Log, faults: WatchFaults | None = None, step: float = 60.0, objects: Sequence[Object] | None = None
) -> tuple[World, Process]:
    """The quickstart, or what else is applied, until nothing changes any more."""
    world, process = await started(log, faults, objects)
    return world, await settle(world, log, CONTROLLERS, process, faults, step)


async def rest(world: World, log: Log, process: Process, step: float = 60.0) -> Process:
    """Until nothing changes any more."""
    return await settle(world, log, CONTROLLERS, process, step=step)
