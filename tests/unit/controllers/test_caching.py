"""Copies on nodes: which are made, how they are counted and told of, what serves from them, and how they go."""

import json
from typing import Any

import pytest
from deepseek_operator.api.names import MODEL, SERVICE, Label
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_operator.controllers.decision import Warning as WarningEvent
from deepseek_runtime.wire.result import JobResult, encode

from tests.unit.controllers.builders import NAMESPACE, Builder, fetched, scratch, service
from tests.unit.controllers.world import World, conditions

SEED = Ref(MODEL, NAMESPACE, "seed")


def model(*artifacts: str, **settings: Any) -> Builder:
    """A model with every kind of artifact, of which the named ones are cached."""
    return scratch().variant("int8").export("edge").cached(*artifacts, **settings)


def subjects(world: World) -> list[str]:
    """The artifacts that are kept."""
    return sorted(obj["metadata"]["labels"][Label.SUBJECT] for obj in world.of_kind("DaemonSet"))


def keeper(world: World, subject: str) -> Object:
    (found,) = (each for each in world.of_kind("DaemonSet") if each["metadata"]["labels"][Label.SUBJECT] == subject)
    return found


def config(obj: Object, variable: str = "DEEPSEEK_CACHE") -> Object:
    (container,) = obj["spec"]["template"]["spec"]["containers"]
    return json.loads(next(each["value"] for each in container["env"] if each["name"] == variable))  # type: ignore[no-any-return]


def claims(obj: Object) -> dict[str, tuple[str, bool]]:
    """By the path where each is mounted: the claim, and whether only to be read."""
    spec = obj["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume.get("persistentVolumeClaim", {}).get("claimName") for volume in spec["volumes"]}
    mounts = spec["containers"][0]["volumeMounts"]
    return {m["mountPath"]: (volumes[m["name"]], m.get("readOnly", False)) for m in mounts if volumes[m["name"]]}


def cached(world: World) -> tuple[str, str, str]:
    found = world.condition(MODEL, "seed", "Cached")
    assert found is not None
    return found


def test_base_and_quantized_variants_are_kept_and_exports_are_not() -> None:
    world = World().apply(model()).settle()
    assert subjects(world) == ["base", "int8"]
    base, int8 = world.status(MODEL, "seed")["artifacts"][:2]
    assert config(keeper(world, "int8")) | {"credential": ""} == {
        "version": 1,
        "keeper": "DeepSeekModel/team/seed int8",
        "digest": int8["digest"],
        "capacity": 2**30,
        "input": "/input",
        "cache": "/cache",
        "statusPort": 9400,
        "credential": "",
    }
    assert claims(keeper(world, "base")) == {"/input": (base["claim"], True), "/cache": ("disks", False)}


def test_only_what_is_named_is_kept() -> None:
    assert subjects(World().apply(model("int8")).settle()) == ["int8"]


def test_the_pods_are_as_the_user_says() -> None:
    pods = {"nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    world = World().apply(model(pods={**pods, "resources": {"limits": {"memory": "1Gi"}}})).settle()
    spec = keeper(world, "base")["spec"]["template"]["spec"]
    assert (spec["nodeSelector"], spec["tolerations"]) == (pods["nodeSelector"], pods["tolerations"])
    assert spec["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}


def test_copies_are_counted_and_ready_waits_for_none() -> None:
    world = World().apply(model())
    world.copied = False
    world.settle()
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]
    assert not {"Stalled", "Reconciling"} & dict(conditions(world.status(MODEL, "seed"))).keys()
    assert cached(world) == ("False", "Caching", "base: 0 of 2 nodes have a copy; int8: 0 of 2 nodes have a copy.")
    assert world.status(MODEL, "seed")["cache"]["copies"] == "0/4"
    world.copied = True
    world.settle()
    assert cached(world)[:2] == ("True", "Complete")
    status = world.status(MODEL, "seed")
    each = {artifact["name"]: artifact for artifact in status["artifacts"]}
    assert status["cache"] == {
        "claim": "disks",
        "copies": "4/4",
        "bytes": each["base"]["bytes"] + each["int8"]["bytes"],
        "artifacts": [
            {"name": name, "digest": each[name]["digest"], "bytes": each[name]["bytes"], "wanted": 2, "ready": 2}
            for name in ("base", "int8")
        ],
    }
    world.nodes = 3
    world.settle()
    assert world.status(MODEL, "seed")["cache"]["copies"] == "6/6"


def test_counts_of_before_a_change_are_not_taken_for_ready_ones() -> None:
    world = World().apply(model()).settle()
    world.apply(model(capacity="2Gi"))
    world.reconcile(SEED)
    world.reconcile(SEED)
    assert cached(world)[:2] == ("False", "Caching")
    world.settle()
    assert cached(world)[0] == "True"
    assert config(keeper(world, "base"))["capacity"] == 2**31


def test_a_cache_of_no_node_says_so() -> None:
    world = World().apply(model())
    world.nodes = 0
    world.settle()
    assert cached(world)[:2] == ("False", "NoCacheNodes")
    assert "cache.pods.nodeSelector" in cached(world)[2]


def end_keeper(world: World, code: int, reason: str, message: str) -> None:
    """One pod that keeps the base has ended, and is going to be started again."""
    labels = keeper(world, "base")["spec"]["template"]["metadata"]["labels"]
    pod = next(pod for pod in world.of_kind("Pod") if pod["metadata"]["labels"] == labels)
    said = encode(JobResult(kind="cache", identity="", outcome="failed", reason=reason, message=message))
    ended = {"exitCode": code, "message": said, "reason": "Error", "finishedAt": "2026-01-01T00:01:00Z"}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    pod["status"]["containerStatuses"] = [{"ready": False, "state": waiting, "lastState": {"terminated": ended}}]


def test_a_full_cache_is_told_with_its_remedy_and_nothing_else_suffers() -> None:
    world = World().apply(model(), service(variant="int8"))
    world.copied = False
    world.settle()
    end_keeper(world, 64, "CacheFull", "No room. Raise cache.capacity.")
    world.settle()
    assert cached(world) == ("False", "CacheFull", "No room. Raise cache.capacity.")
    failure = world.status(MODEL, "seed")["lastFailure"]
    assert (failure["reason"], failure["exitCode"]) == ("CacheFull", 64)
    assert failure["component"] == f"DaemonSet/{keeper(world, 'base')['metadata']['name']}"
    for kind, name in ((MODEL, "seed"), (SERVICE, "chat")):
        assert world.condition(kind, name, "Ready")[0] == "True"  # type: ignore[index]
    world.copied = True
    world.settle()
    assert "lastFailure" not in world.status(MODEL, "seed")
    assert cached(world)[0] == "True"


@pytest.mark.parametrize(
    ("message", "reason", "remedy"),
    [
        ('persistentvolumeclaim "disks" not found', "VolumeMissing", "Create what is named"),
        ("1 node(s) didn't match PersistentVolume's node affinity", "NotACacheNode", "cache.pods.nodeSelector"),
    ],
)
def test_a_pod_that_no_node_can_run_is_told(message: str, reason: str, remedy: str) -> None:
    world = World().apply(model("base"))
    world.copied = False
    world.settle()
    pod = next(pod for pod in world.of_kind("Pod") if Label.DIGEST in pod["metadata"]["labels"])
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod["status"] = {"phase": "Pending", "conditions": [condition]}
    world.settle()
    assert cached(world)[1] == reason
    assert message in cached(world)[2]
    assert remedy in cached(world)[2]


def test_pods_that_are_refused_are_told() -> None:
    world = World().apply(model("base"))
    world.nodes = 1
    world.copied = False
    world.settle()
    refused = WarningEvent("FailedCreate", "pods are forbidden: exceeded quota: few", "2026-01-01T00:00:00Z")
    world.warnings = {keeper(world, "base")["metadata"]["uid"]: (refused,)}
    world.settle()
    assert cached(world)[1] == "QuotaExceeded"


def test_a_volume_of_one_node_is_not_copied_from() -> None:
    world = World().apply(scratch().variant("int8")).settle()
    world.apply(model("base").having("variants", [{"name": "int8", "quantization": {"scheme": "int8"}}])).settle()
    assert subjects(world) == []
    status, reason, message = cached(world)
    assert (status, reason) == ("False", "NeedsSharedVolume")
    assert world.status(MODEL, "seed")["artifacts"][0]["claim"] in message
    assert world.condition(MODEL, "seed", "Stalled")[:2] == ("True", "NeedsSharedVolume")  # type: ignore[index]
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]
    world.apply(scratch().variant("int8")).settle()
    assert world.condition(MODEL, "seed", "Stalled") is None
    assert world.condition(MODEL, "seed", "Cached") is None


def test_a_service_reads_from_the_copies_and_prefers_their_nodes() -> None:
    world = World().apply(model("int8"), service(variant="int8"), service("plain")).settle()
    engines = {each["metadata"]["name"]: each for each in world.of_kind("Deployment")}
    int8 = world.status(MODEL, "seed")["artifacts"][1]
    assert claims(engines["chat"]) == {"/model": (int8["claim"], True), "/cache": ("disks", True)}
    assert config(engines["chat"], "DEEPSEEK_SERVE")["cache"] == "/cache"
    (term,) = engines["chat"]["spec"]["template"]["spec"]["affinity"]["podAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    labels = keeper(world, "int8")["spec"]["template"]["metadata"]["labels"]
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= labels.items()
    assert "/cache" not in claims(engines["plain"])
    assert "cache" not in config(engines["plain"], "DEEPSEEK_SERVE")


def test_a_service_does_not_wait_for_a_copy() -> None:
    world = World().apply(model(), service(variant="int8"))
    world.copied = False
    world.settle()
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]


def test_what_runs_keeps_its_copies_while_the_model_cannot_be_read() -> None:
    world = World().apply(model(), service(variant="int8")).settle()
    before = json.dumps(world.of_kind("Deployment")[0]["spec"])
    world.get(MODEL, "seed")["status"] = {}
    world.reconcile(Ref(SERVICE, NAMESPACE, "chat"))
    assert json.dumps(world.of_kind("Deployment")[0]["spec"]) == before


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (model("base"), ["base"]),
        (scratch().export("edge").cached(), ["base"]),
        (scratch().variant("int8").export("edge").having("storage.accessModes", ["ReadWriteMany"]), []),
    ],
)
def test_what_is_no_longer_cached_is_let_go(change: Builder, left: list[str]) -> None:
    world = World().apply(model(), service()).settle()
    world.apply(change).settle()
    assert subjects(world) == left
    assert ("cache" in world.status(MODEL, "seed")) == bool(left)
    (engine,) = world.of_kind("Deployment")
    assert ("/cache" in claims(engine)) == bool(left)


def test_a_volume_that_is_being_deleted_is_let_go() -> None:
    world = World().apply(model("base")).settle()
    claim = world.status(MODEL, "seed")["artifacts"][0]["claim"]
    world.get("PersistentVolumeClaim", claim)["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.reconcile(SEED)
    assert subjects(world) == []
    world.drop(Ref("PersistentVolumeClaim", NAMESPACE, claim))
    world.settle()
    assert subjects(world) == ["base"]


def test_copies_of_another_source_replace_those_of_before_once_it_is_proven() -> None:
    world = World().apply(fetched("seed", revision="v1").evaluated().cached()).settle()
    before = keeper(world, "base")["metadata"]["name"]
    world.held = {"evaluate"}
    world.apply(fetched("seed", revision="v2").evaluated().cached()).settle()
    assert world.status(MODEL, "seed")["phase"] == "Updating"
    assert keeper(world, "base")["metadata"]["name"] == before
    assert world.status(MODEL, "seed")["cache"]["artifacts"][0]["digest"] == world.status(MODEL, "seed")["digest"]
    world.held = set()
    world.settle()
    assert keeper(world, "base")["metadata"]["name"] != before
    assert len(world.of_kind("PersistentVolumeClaim")) == 1, "the old volume is free, for no pod copies from it"


def test_nothing_is_copied_that_has_not_proven_what_is_asked_and_what_is_kept_stays() -> None:
    world = World().apply(model("base")).settle()
    world.held = {"verify"}
    world.apply(model("base").having("verification", {"digest": "f" * 64}))
    world.step()
    assert subjects(world) == ["base"]
    fresh = World()
    fresh.held = {"verify"}
    fresh.apply(model("base").having("verification", {"digest": "f" * 64}))
    for _ in range(8):
        fresh.step()
    assert fresh.status(MODEL, "seed")["artifacts"][0]["phase"] == "Ready"
    assert subjects(fresh) == []


def test_the_cache_computes_nothing_again() -> None:
    world = World().apply(scratch().variant("int8").having("storage.accessModes", ["ReadWriteMany"])).settle()
    computed = list(world.computed)
    world.apply(scratch().variant("int8").cached()).settle()
    world.apply(scratch().variant("int8").cached("base", capacity="2Gi")).settle()
    assert world.computed == computed
