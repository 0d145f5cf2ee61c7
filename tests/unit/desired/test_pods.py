"""Built objects: what the user may say of pods, and what is the same in all of them."""

from decimal import Decimal
from typing import Any

import pytest
from deepseek_operator.api.base import DataSource, PodSettings, Storage
from deepseek_operator.api.inferenceservice import InferenceServiceSpec, ServedModel
from deepseek_operator.api.names import Annotation, Label
from deepseek_operator.desired.deployment import deployment
from deepseek_operator.desired.job import job, job_container, job_name
from deepseek_operator.desired.labels import Owner
from deepseek_operator.desired.pod import Image, Mount, data_mounts, data_paths, threads
from deepseek_operator.desired.quantity import amount, human_bytes
from deepseek_runtime.wire.job import Hyperparameters, PublishJob, TrainJob
from deepseek_runtime.wire.serve import ServeConfig
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity
from pydantic import TypeAdapter

from tests.unit.controllers.kubernetes_checks import check

OWNER = Owner("deepseek-operator.io/v1alpha1", "DeepSeekModel", "team", "m" * 40, "uid-1")
IMAGE = Image("registry.example/runtime:1")
PUBLISH = PublishJob(identity="ab" * 32, owner=OWNER.path, input_digest="cd" * 32)
TRAIN = TrainJob(
    identity="ab" * 32,
    owner=OWNER.path,
    stage="pretrain",
    input_digest="cd" * 32,
    data=("/data/0",),
    hyperparameters=Hyperparameters(
        learning_rate=1e-3, min_learning_rate_ratio=0.1, warmup_steps=1, batch_size=4, sequence_length=8,
        weight_decay=0, gradient_clip=1, beta1=0.9, beta2=0.95, precision="float32", seed=0,
    ),
    steps=10,
    processes=4,
    checkpoint_every_steps=5,
)  # fmt: skip
MOUNTS = (
    Mount("/input", claim="shared", sub_path="artifact"),
    Mount("/output", claim="shared", sub_path="evaluations", read_only=False),
    Mount("/data/0", config_map="text", key="a.txt"),
)


def built(config: Any = PUBLISH, settings: PodSettings | None = None, **more: Any) -> dict[str, Any]:
    pods = settings or PodSettings()
    manifest = job(
        OWNER, work=config.kind, subject="base", identity=config.identity, attempt=2,
        container=job_container(config, MOUNTS, pods), image=IMAGE, pods=pods, **{"storage": Storage(), **more},
    )  # fmt: skip
    check(manifest)
    return manifest


def test_the_failure_policy_knows_every_exit_code() -> None:
    spec = built()["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (3, "Failed")
    assert "ttlSecondsAfterFinished" not in spec
    rules = [(rule["action"], rule.get("onExitCodes", {}).get("values")) for rule in spec["podFailurePolicy"]["rules"]]
    assert rules == [("FailJob", [64, 65]), ("Ignore", [75]), ("Ignore", None)]


def test_names_fit_whatever_the_owner_is_called() -> None:
    longest = job_name("m" * 40, "longcontext", "base", "ab" * 32, 99)
    assert len(longest) == 63
    assert longest.startswith("m" * 39 + "-longcontext-")


def test_the_template_hash_changes_with_the_template_and_not_with_the_attempt() -> None:
    def template_hash(manifest: dict[str, Any]) -> str:
        return str(manifest["metadata"]["annotations"][Annotation.TEMPLATE_HASH])

    assert template_hash(built()) == template_hash(built(backoff_limit=6))
    bigger = PodSettings.model_validate({"resources": {"limits": {"memory": "8Gi"}}})
    assert template_hash(built()) != template_hash(built(settings=bigger))
    assert template_hash(built()) != template_hash(built(storage=Storage(size="20Gi")))
    shared = Storage(access_modes=["ReadWriteMany"])
    assert template_hash(built()) == template_hash(built(storage=shared)), "a volume that is there keeps its modes"


def test_one_claim_at_two_places_is_one_volume_that_can_be_written() -> None:
    spec = built()["spec"]["template"]["spec"]
    claims = [volume["persistentVolumeClaim"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    assert claims == [{"claimName": "shared", "readOnly": False}]
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert (mounts["/input"]["readOnly"], mounts["/output"]["readOnly"]) == (True, False)


def test_what_the_user_says_of_pods_is_what_they_are() -> None:
    said = {
        "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "4Gi", "nvidia.com/gpu": "1"}},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
        "imagePullSecrets": ["pull"],
    }
    spec = built(settings=PodSettings.model_validate(said))["spec"]["template"]["spec"]
    resources = spec["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert resources["limits"] == {"memory": "4Gi", "nvidia.com/gpu": "1"}
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("high", "nvidia")
    assert spec["imagePullSecrets"] == [{"name": "pull"}]


def test_readers_of_a_read_write_once_claim_meet_on_one_node() -> None:
    template = built(reads="shared")["spec"]["template"]
    (term,) = template["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert list(term["labelSelector"]["matchLabels"]) == [Label.VOLUME]
    assert "affinity" not in built(reads="shared", one_node=False)["spec"]["template"]["spec"]


def test_a_training_pod_shares_its_cores_and_may_write_its_checkpoint() -> None:
    pods = PodSettings.model_validate({"resources": {"limits": {"cpu": "6"}}})
    spec = built(TRAIN, pods)["spec"]["template"]["spec"]
    environment = {variable["name"]: variable["value"] for variable in spec["containers"][0]["env"]}
    assert (environment["OMP_NUM_THREADS"], environment["OMP_WAIT_POLICY"]) == ("1", "passive")
    assert spec["terminationGracePeriodSeconds"] == 120
    assert TypeAdapter(TrainJob).validate_json(environment["DEEPSEEK_JOB"]) == TRAIN


def test_an_engine_rolls_without_a_gap_and_is_ready_by_its_own_word() -> None:
    spec = InferenceServiceSpec.model_validate({"model": {"name": "seed"}, "replicas": 3})
    serve = ServeConfig(owner="x", served_name="team/chat", tensor_parallel=2)
    owner = Owner("deepseek-operator.io/v1alpha1", "InferenceService", "team", "chat", "uid-2")
    manifest = deployment(owner, spec, serve, ServedModel(model="seed", digest="d"), "claim", IMAGE, one_node=True)
    check(manifest)
    assert manifest["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["serve"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert (
        manifest["spec"]["selector"]["matchLabels"].items()
        <= manifest["spec"]["template"]["metadata"]["labels"].items()
    )


def test_data_is_found_where_it_is_mounted() -> None:
    sources = TypeAdapter(list[DataSource]).validate_python(
        [
            {"claim": {"claimName": "a", "path": "x/y.txt"}},
            {"claim": {"claimName": "a"}},
            {"configMap": {"name": "b", "key": "k"}},
            {"configMap": {"name": "b"}},
        ]
    )
    assert data_paths(sources) == ("/data/0/x/y.txt", "/data/1", "/data/2/k", "/data/3")
    assert [mount.path for mount in data_mounts(sources)] == ["/data/0", "/data/1", "/data/2", "/data/3"]
    assert all(mount.read_only for mount in data_mounts(sources))


@pytest.mark.parametrize(
    ("resources", "processes", "expected"),
    [
        ({}, 2, 1),
        ({"limits": {"cpu": "8"}}, 2, 4),
        ({"limits": {"cpu": "500m"}}, 1, 1),
        ({"requests": {"cpu": "3"}}, 2, 1),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "4"}}, 1, 4),
    ],
)
def test_threads(resources: dict[str, Any], processes: int, expected: int) -> None:
    assert threads(PodSettings.model_validate({"resources": resources}), processes) == expected


@given(
    st.decimals(0, 10**6, places=3),
    st.sampled_from(
        ["", "n", "u", "m", "k", "Ki", "M", "Mi", "G", "Gi", "T", "Ti", "P", "Pi", "E", "Ei", "e3", "E3", "e-3", "E+9"]
    ),
)
def test_quantities_are_what_kubernetes_reads(number: Decimal, suffix: str) -> None:
    exponent = suffix[1:] if suffix[:1] in "eE" and suffix[1:].strip("+-").isdigit() else None
    expected = number * Decimal(10) ** int(exponent) if exponent else parse_quantity(f"{number:f}{suffix}")
    assert amount(f"{number:f}{suffix}") == expected


def test_bytes_for_people() -> None:
    assert [human_bytes(n) for n in (512, 9_332_000, 1_400_000_000)] == ["512 B", "8.9 MiB", "1.3 GiB"]
    with pytest.raises(ValueError, match="for example"):
        amount("lots")
