"""Weights on a claim that a pod has written become a model; a gate holds back the variant that quantization spoils."""

from examples.quickstart.kube import kubectl
from examples.quickstart.target import target
from tests.e2e import journey
from tests.e2e.cluster import Object, apply, items, read, wait, wait_for_condition

CLAIM, NAME = "own-weights", "own"
SPOIL = """
import pathlib, shutil
from safetensors.torch import load_file, save_file

source, target = pathlib.Path("/from"), pathlib.Path("/to/v1")
shutil.copytree(source, target)
(target / "manifest.json").unlink()
(target / "optimizer.pt").write_bytes(b"no model's file")
weights = load_file(target / "model.safetensors")
for name, weight in weights.items():
    if name.endswith(("input_layernorm.weight", "post_attention_layernorm.weight")):
        weight[0] = 0
    if name.endswith(("q_a_proj.weight", "kv_a_proj_with_mqa.weight", "gate_proj.weight", "up_proj.weight")):
        weight[:, 0] = 1000
save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
"""
"""The first input of each layer becomes zero and its weights huge: nothing to the model, but int8 keeps only those."""


def claim(namespace: str) -> Object:
    """An empty volume of a user."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "256Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": _meta(namespace, CLAIM), "spec": spec}


def writer(namespace: str, weights: str) -> Object:
    """A user's pod that puts a model there, made from the base on another claim."""
    container = {
        "name": "writer",
        "image": target().image("runtime"),
        "command": ["/opt/venv/bin/python3", "-c", SPOIL],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "from", "mountPath": "/from", "subPath": "artifact", "readOnly": True},
            {"name": "to", "mountPath": "/to"},
        ],
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {**security, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "from", "persistentVolumeClaim": {"claimName": weights, "readOnly": True}},
            {"name": "to", "persistentVolumeClaim": {"claimName": CLAIM}},
        ],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _meta(namespace, "writer"), "spec": spec}


def own(namespace: str, limit: float, path: str = "v1", name: str = CLAIM) -> Object:
    """A model of those weights, with an int8 variant behind a gate.

    The gate limits the divergence: a model that has learned as little as this one may predict a text better by chance
    when it is spoilt.
    """
    variant = {"name": "int8", "quantization": {"scheme": "int8"}, "gate": {"maxKlDivergence": limit}}
    spec = {
        "source": {"existingClaim": {"claimName": name, "path": path}},
        "storage": journey.STORAGE,
        "variants": [variant],
        "evaluation": {"text": journey.data("heldout.txt"), "contextLength": 64},
        "jobs": journey.SMALL_POD,
    }
    return journey.resource("DeepSeekModel", namespace, NAME, spec)


def test_weights_on_a_claim_become_a_model_and_a_spoilt_variant_is_not_served(life: str) -> None:
    apply(own(life, 0.02, name="none-such"), journey.service(life, NAME, NAME, "int8"))
    missing = wait_for_condition("dsm", life, NAME, "Ready", "False", timeout=30, reason="VolumeMissing")
    assert "none-such" in missing["message"]

    base = read("dsm", life, "handbook")["status"]["artifacts"][0]
    apply(claim(life), writer(life, base["claim"]))
    wait("the weights", lambda: read("pod", life, "writer")["status"]["phase"] == "Succeeded", timeout=120)
    apply(own(life, 0.02))
    blocked = wait_for_condition("dsm", life, NAME, "Stalled", "True", timeout=240, reason="GateBlocked")
    assert "variant int8 is blocked" in blocked["message"]
    status = read("dsm", life, NAME)["status"]
    imported, int8 = status["artifacts"]
    assert status["lineage"] == {"source": f"existingClaim/{CLAIM}/v1", "digest": imported["digest"]}
    assert status["revision"] == imported["digest"] != base["digest"]
    assert int8["gate"]["phase"] == "Blocked"
    assert int8["scores"]["klDivergence"] > 0.02
    assert int8["scores"]["top1Agreement"] < 1
    refused = wait_for_condition("dsis", life, NAME, "Ready", "False", timeout=20, reason="GateBlocked")
    assert "KL divergence from the base" in refused["message"]
    owned = f"deepseek-operator.io/owner-kind=InferenceService,deepseek-operator.io/owner-name={NAME}"
    assert items("deployments", life, owned) == []

    jobs = [job["metadata"]["uid"] for job in items("jobs", life, f"deepseek-operator.io/owner-name={NAME}")]
    apply(own(life, 1000))
    wait_for_condition("dsm", life, NAME, "Ready", "True", timeout=20)
    wait_for_condition("dsis", life, NAME, "Ready", "True", timeout=120)
    apply(own(life, 0.02))
    wait_for_condition("dsis", life, NAME, "Stalled", "True", timeout=20, reason="GateBlocked")
    wait_for_condition("dsis", life, NAME, "Ready", "True", timeout=20)
    assert read("dsis", life, NAME)["status"]["serving"]["digest"] == int8["digest"], "what answered goes on"
    after = [job["metadata"]["uid"] for job in items("jobs", life, f"deepseek-operator.io/owner-name={NAME}")]
    assert after == jobs, "a gate computes nothing"

    apply(own(life, 1000, path="v2"))
    nowhere = wait_for_condition("dsm", life, NAME, "Stalled", "True", timeout=90)
    assert "has no v2 that is a folder or file; its root holds" in nowhere["message"]
    assert read("dsm", life, NAME)["status"]["lastFailure"]["reason"] == "PathNotFound"
    kubectl("delete", "dsis,dsm", NAME, "-n", life, "--timeout=60s")
    kubectl("delete", "pod/writer", f"pvc/{CLAIM}", "-n", life, "--timeout=60s")


def _meta(namespace: str, name: str) -> Object:
    return {"name": name, "namespace": namespace}
