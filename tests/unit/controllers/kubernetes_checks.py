"""What an API server and the restricted Pod Security profile would say of a built object."""

from typing import Any

from deepseek_operator.api.names import Label
from kubernetes import client

MODELS: dict[str, Any] = {
    "Job": client.V1Job,
    "PersistentVolumeClaim": client.V1PersistentVolumeClaim,
    "Deployment": client.V1Deployment,
    "DaemonSet": client.V1DaemonSet,
    "Service": client.V1Service,
    "ConfigMap": client.V1ConfigMap,
    "NetworkPolicy": client.V1NetworkPolicy,
}


def check(manifest: dict[str, Any]) -> None:
    """Raises where Kubernetes does not know a field, or a pod would be refused."""
    model = MODELS.get(manifest["kind"])
    if model is not None:
        model.model_validate(manifest)
    name = manifest["metadata"]["name"]
    assert len(name) <= (63 if manifest["kind"] in {"Job", "Service", "Deployment", "DaemonSet"} else 253), name
    for value in manifest["metadata"].get("labels", {}).values():
        assert len(value) <= 63, value
    if manifest["kind"] in {"Job", "Deployment", "DaemonSet"}:
        check_restricted(manifest["spec"]["template"])


def check_restricted(template: dict[str, Any]) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and more."""
    spec = template["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "serviceAccountName"} & spec.keys()
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == 65532
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    trusted = template["metadata"]["labels"].get(Label.WORK) in ("fetch", "sign")
    kinds = {"emptyDir", "persistentVolumeClaim", "configMap", *(["secret"] if trusted else [])}
    assert all(volume.keys() & kinds for volume in spec["volumes"])
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert len(volumes) == len(spec["volumes"])
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert len({mount["mountPath"] for mount in container["volumeMounts"]}) == len(container["volumeMounts"])
    assert not any("valueFrom" in variable for variable in container["env"])
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
