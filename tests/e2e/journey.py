"""The quickstart in small: the same resources over a tiny model and a short text, a minute or two in all."""

from pathlib import Path

from tests.e2e.cluster import Object, wait_for_condition

API = "deepseek-operator.io/v1alpha1"
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 128,
    "moe_intermediate_size": 64,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
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
SMALL_POD = {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "3Gi"}}}
STORAGE = {"size": "256Mi"}


def resource(kind: str, namespace: str, name: str, spec: Object) -> Object:
    """A resource of the operator."""
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def text(namespace: str) -> Object:
    """A ConfigMap of text: this project's own documentation, which is the right length and nobody else's.

    Every 24th paragraph is held out, so that it is of the same kind as the others.
    """
    root = Path(__file__).resolve().parents[2]
    words = (root / "README.md").read_text() + "".join(sorted(p.read_text() for p in root.glob("docs/**/*.md")))
    paragraphs = words[:400_000].split("\n\n")
    heldout = paragraphs[::24]
    del paragraphs[::24]
    data = {"train.txt": "\n\n".join(paragraphs), "heldout.txt": "\n\n".join(heldout)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "text", "namespace": namespace}, "data": data}


def data(key: str = "train.txt") -> list[Object]:
    """A data source of that ConfigMap."""
    return [{"configMap": {"name": "text", "key": key}}]


def scratch(namespace: str, name: str, architecture: str = "DeepSeekV3", **config: int) -> Object:
    """A new tiny model."""
    source = {
        "architecture": architecture,
        "config": {**TINY, **config},
        "tokenizer": {"vocabSize": 512, "text": data()},
    }
    spec = {"source": {"scratch": source}, "storage": STORAGE, "jobs": SMALL_POD}
    return resource("DeepSeekModel", namespace, name, spec)


def training(namespace: str, name: str, steps: int = 60, every: int = 20) -> Object:
    """A short run on two processes."""
    stage = {
        "name": "pretrain",
        "type": "pretrain",
        "data": data(),
        "hyperparameters": {"learningRate": 0.003, "warmupSteps": 5, "batchSize": 4, "sequenceLength": 64},
        "until": {"steps": steps},
    }
    spec = {
        "base": {"model": "seed"},
        "stages": [stage],
        "compute": {"processes": 2, **SMALL_POD},
        "checkpoint": {"everySteps": every, "storage": STORAGE},
    }
    return resource("TrainingRun", namespace, name, spec)


def trained(namespace: str, name: str, run: str) -> Object:
    """What a run made, with an int8 variant, measured."""
    spec = {
        "source": {"trainingRun": {"name": run}},
        "storage": STORAGE,
        "variants": [{"name": "int8", "quantization": {"scheme": "int8"}}],
        "evaluation": {"text": data("heldout.txt"), "contextLength": 64},
        "jobs": SMALL_POD,
    }
    return resource("DeepSeekModel", namespace, name, spec)


def service(namespace: str, name: str, model: str, variant: str | None = None, tensor: int = 1) -> Object:
    """A service on a model."""
    reference = {"name": model} | ({"variant": variant} if variant else {})
    spec = {
        "model": reference,
        "parallelism": {"tensor": tensor},
        "engine": {"cacheTokens": 2048},
        "pods": SMALL_POD,
    }
    return resource("InferenceService", namespace, name, spec)


def access(namespace: str) -> list[Object]:
    """`reader` may use every service of the namespace; `stranger` none."""
    rules = [{"apiGroups": ["deepseek-operator.io"], "resources": ["inferenceservices"], "verbs": ["infer"]}]
    meta = {"name": "ask", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    accounts = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        for name in ("reader", "stranger")
    ]
    return [
        *accounts,
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "ask"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
        },
    ]


def everything(namespace: str) -> Object:
    """All of it in one list, in no particular order: the operator finds the order."""
    objects = [
        service(namespace, "chat", "handbook", "int8", tensor=2),
        trained(namespace, "handbook", "pretrain"),
        training(namespace, "pretrain"),
        scratch(namespace, "seed"),
        text(namespace),
        *access(namespace),
    ]
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def wait_until_served(namespace: str) -> None:
    """Until a token can be generated."""
    wait_for_condition("trainingruns", namespace, "pretrain", "Ready", "True", timeout=300)
    wait_for_condition("deepseekmodels", namespace, "handbook", "Ready", "True", timeout=180)
    wait_for_condition("inferenceservices", namespace, "chat", "Ready", "True", timeout=120)
