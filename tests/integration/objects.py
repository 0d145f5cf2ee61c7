"""The smallest valid objects of the three kinds."""

import uuid
from typing import Any

from deepseek_operator.api.names import API_VERSION, MODEL, SERVICE, TRAINING

Object = dict[str, Any]

TEXT = [{"configMap": {"name": "text"}}]


def resource(kind: str, namespace: str, spec: Object, name: str | None = None) -> Object:
    """An object with a name of its own where none is given."""
    metadata = {"name": name or f"x{uuid.uuid4().hex[:8]}", "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def scratch() -> Object:
    """A source: a model that fits into the default volume."""
    widths = {"hidden_size": 64, "intermediate_size": 128, "moe_intermediate_size": 64}
    experts = {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
    config = {**widths, **experts, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}
    return {"scratch": {"architecture": "DeepSeekV3", "config": config, "tokenizer": {"text": TEXT}}}


def model(namespace: str, name: str | None = None, **spec: Any) -> Object:
    """A DeepSeekModel from scratch."""
    return resource(MODEL, namespace, {"source": scratch(), **spec}, name)


def training(namespace: str, name: str | None = None, **spec: Any) -> Object:
    """A TrainingRun of one stage."""
    stage = {"name": "one", "type": "pretrain", "data": TEXT, "until": {"steps": 10}}
    return resource(TRAINING, namespace, {"base": {"model": "seed"}, "stages": [stage], **spec}, name)


def service(namespace: str, name: str | None = None, **spec: Any) -> Object:
    """An InferenceService."""
    return resource(SERVICE, namespace, {"model": {"name": "seed"}, **spec}, name)


MAKERS = {MODEL: model, TRAINING: training, SERVICE: service}
