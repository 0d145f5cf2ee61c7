"""Resources as users write them."""

from dataclasses import dataclass, field
from typing import Any

from deepseek_operator.api.names import API_VERSION, MODEL, SERVICE, TRAINING

NAMESPACE = "team"
TINY: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "moe_intermediate_size": 64,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
    "max_position_embeddings": 256,
}
TEXT = [{"claim": {"claimName": "text", "path": "train.txt"}}]


@dataclass
class Builder:
    """A resource in the making; every method returns the builder."""

    kind: str
    name: str
    spec: dict[str, Any]
    namespace: str = NAMESPACE
    metadata: dict[str, Any] = field(default_factory=dict)

    def having(self, path: str, value: Any) -> "Builder":
        """Set one field, `compute.resources.limits` say."""
        *parents, last = path.split(".")
        at = self.spec
        for key in parents:
            at = at.setdefault(key, {})
        at[last] = value
        return self

    def variant(self, name: str, *, gate: float | dict[str, Any] | None = None, **quantization: Any) -> "Builder":
        """One int8 variant more; `gate`: how much higher its perplexity may be, or all of the gate."""
        made: dict[str, Any] = {"name": name, "quantization": {"scheme": "int8", **quantization}}
        if gate is not None:
            made["gate"] = gate if isinstance(gate, dict) else {"maxPerplexityIncrease": gate}
        self.spec.setdefault("variants", []).append(made)
        return self

    def export(self, name: str, kind: str = "f16") -> "Builder":
        """One variant more, a GGUF file."""
        self.spec.setdefault("variants", []).append({"name": name, "export": {"gguf": {"type": kind}}})
        return self

    def onnx(self, name: str, kind: str = "float32") -> "Builder":
        """One variant more, an ONNX file."""
        calibration = {"calibration": {"text": TEXT}} if kind == "int8" else {}
        self.spec.setdefault("variants", []).append({"name": name, "export": {"onnx": {"type": kind, **calibration}}})
        return self

    def cached(self, *artifacts: str, **settings: Any) -> "Builder":
        """Copies on nodes, of all that can be served where no artifact is named."""
        self.having("storage.accessModes", ["ReadWriteMany"])
        named = {"artifacts": list(artifacts)} if artifacts else {}
        return self.having("cache", {"claimName": "disks", "capacity": "1Gi", **named, **settings})

    def evaluated(self, **settings: Any) -> "Builder":
        """Perplexity on held-out text."""
        return self.having("evaluation", {"text": [{"configMap": {"name": "heldout", "key": "a.txt"}}], **settings})

    def build(self) -> dict[str, Any]:
        """The object to apply."""
        metadata = {"name": self.name, "namespace": self.namespace, **self.metadata}
        return {"apiVersion": API_VERSION, "kind": self.kind, "metadata": metadata, "spec": self.spec}


def scratch(name: str = "seed", architecture: str = "DeepSeekV3", **config: Any) -> Builder:
    """A new tiny model."""
    source = {
        "architecture": architecture,
        "config": {**TINY, **config} if architecture != "Llama" else config,
        "tokenizer": {"vocabSize": 512, "text": TEXT},
    }
    return Builder(MODEL, name, {"source": {"scratch": source}, "storage": {"size": "1Gi"}})


def imported(name: str = "own", claim: str = "weights", path: str | None = None) -> Builder:
    """A model that lies on a claim."""
    source = {"claimName": claim} | ({"path": path} if path is not None else {})
    return Builder(MODEL, name, {"source": {"existingClaim": source}, "storage": {"size": "1Gi"}})


def trained(name: str = "handbook", run: str = "pretrain", **source: Any) -> Builder:
    """The export of a run."""
    return Builder(MODEL, name, {"source": {"trainingRun": {"name": run, **source}}, "storage": {"size": "1Gi"}})


def fetched(name: str = "base", **source: Any) -> Builder:
    """A model of a hub."""
    spec = {"source": {"huggingFace": {"repo": "tiny/model", **source}}, "storage": {"size": "1Gi"}}
    return Builder(MODEL, name, spec)


def stored(name: str = "base", **source: Any) -> Builder:
    """A model in an object store."""
    spec = {"source": {"objectStore": {"url": "s3://models/tiny/", **source}}, "storage": {"size": "1Gi"}}
    return Builder(MODEL, name, spec)


def run(
    name: str = "pretrain", base: str = "seed", stages: tuple[str, ...] = ("pretrain",), steps: int = 40
) -> Builder:
    """A training run."""
    return Builder(
        TRAINING,
        name,
        {
            "base": {"model": base},
            "stages": [
                {
                    "name": stage,
                    "type": "pretrain",
                    "data": TEXT,
                    "hyperparameters": {"batchSize": 4},
                    "until": {"steps": steps},
                }
                for stage in stages
            ],
            "compute": {"processes": 2, "resources": {"limits": {"cpu": "4", "memory": "4Gi"}}},
            "checkpoint": {"storage": {"size": "1Gi"}},
        },
    )


def service(name: str = "chat", model: str = "seed", variant: str | None = None, tensor: int = 2) -> Builder:
    """A service."""
    reference = {"name": model} if variant is None else {"name": model, "variant": variant}
    return Builder(SERVICE, name, {"model": reference, "parallelism": {"tensor": tensor}})
