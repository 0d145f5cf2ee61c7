"""Journeys from nothing to an answer, in a cluster in memory that checks every object as Kubernetes would."""

import json

from deepseek_operator.api.names import MODEL, SERVICE, TRAINING, Label
from deepseek_operator.controllers.decision import Ref
from deepseek_runtime.wire.result import JobResult, encode

from tests.unit.controllers.builders import NAMESPACE, run, scratch, service, trained
from tests.unit.controllers.world import World, conditions


def whole_life() -> World:
    """The quickstart: a model from nothing, trained, published, quantized, measured and served."""
    world = World()
    world.apply(
        service(model="handbook", variant="int8"),
        trained().variant("int8").evaluated(),
        run(),
        scratch(),
    )
    return world


def test_the_quickstart_in_whatever_order_it_is_applied() -> None:
    world = whole_life().settle()
    assert world.computed == [
        "build base",
        "train pretrain",
        "publish base",
        "quantize int8",
        "evaluate base",
        "evaluate int8",
    ]
    for kind, name in ((MODEL, "seed"), (MODEL, "handbook"), (TRAINING, "pretrain"), (SERVICE, "chat")):
        assert world.condition(kind, name, "Ready")[0] == "True"  # type: ignore[index]
        assert not {"Stalled", "Reconciling"} & dict(conditions(world.status(kind, name))).keys()
    status = world.status(MODEL, "handbook")
    base, int8 = status["artifacts"]
    assert (base["phase"], int8["phase"], status["phase"]) == ("Ready", "Ready", "Ready")
    assert base["scores"]["perplexity"] == 20.5
    assert int8["quantization"]["weightBytesAfter"] == 40
    assert status["digest"] == base["digest"] != int8["digest"]
    assert status["lineage"]["source"] == "trainingRun/pretrain/pretrain"
    assert world.status(TRAINING, "pretrain")["stages"][0]["loss"] == 2.5
    chat = world.status(SERVICE, "chat")
    assert chat["serving"] == {"model": "handbook", "variant": "int8", "digest": int8["digest"], "claim": int8["claim"]}
    assert (chat["modelId"], chat["url"]) == ("team/chat", "https://models.example")
    route = json.loads(world.of_kind("ConfigMap")[0]["data"]["route.json"])
    assert route["ready"] is True
    assert route["digest"] == int8["digest"]
    assert route["url"] == "http://chat.team.svc.cluster.local:8000"


def test_lost_statuses_and_jobs_compute_nothing_again() -> None:
    world = whole_life().settle()
    before = {ref: world.objects[ref]["status"] for ref in world.resources()}
    computed, claims = list(world.computed), {c["metadata"]["uid"] for c in world.of_kind("PersistentVolumeClaim")}
    world.forget()
    world.settle()
    assert world.computed == computed
    assert {c["metadata"]["uid"] for c in world.of_kind("PersistentVolumeClaim")} == claims
    assert world.status(MODEL, "handbook")["artifacts"] == before[Ref(MODEL, NAMESPACE, "handbook")]["artifacts"]
    assert world.status(SERVICE, "chat")["serving"] == before[Ref(SERVICE, NAMESPACE, "chat")]["serving"]
    assert world.removed == []


def test_lost_jobs_alone_start_nothing() -> None:
    world = whole_life().settle()
    for job in world.of_kind("Job"):
        world.drop(Ref.of(job))
    world.settle()
    assert world.of_kind("Job") == []


def test_lost_statuses_alone_are_read_again_from_the_pods() -> None:
    world = whole_life().settle()
    jobs = {job["metadata"]["name"] for job in world.of_kind("Job")}
    for ref in world.resources():
        del world.objects[ref]["status"]
    world.settle()
    assert {job["metadata"]["name"] for job in world.of_kind("Job")} == jobs
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]


def test_an_upgrade_recomputes_nothing_and_rolls_the_engines() -> None:
    world = whole_life().settle()
    computed, jobs = list(world.computed), len(world.of_kind("Job"))
    world.settings = type(world.settings)(
        world.settings.namespace, "registry.example/runtime:2", world.settings.gateway_url, world.settings.master_key
    )
    world.settle()
    assert (world.computed, len(world.of_kind("Job"))) == (computed, jobs)
    (engine,) = world.of_kind("Deployment")
    assert engine["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/runtime:2"


def test_another_seed_moves_the_service_and_then_frees_the_old_volume() -> None:
    world = World().apply(scratch().variant("int8"), service(variant="int8")).settle()
    old = {artifact["name"]: artifact for artifact in world.status(MODEL, "seed")["artifacts"]}
    changed = scratch().variant("int8").having("source.scratch.seed", 1)
    world.held = {"quantize"}
    world.apply(changed)
    for _ in range(12):
        world.step()
    (engine,) = world.of_kind("Deployment")
    assert old["int8"]["claim"] in json.dumps(engine), "the old one serves until the new one is sealed"
    assert world.condition(SERVICE, "chat", "Ready")[0] == "True"  # type: ignore[index]
    assert world.removed == []
    world.held = set()
    world.settle()
    new = {artifact["name"]: artifact for artifact in world.status(MODEL, "seed")["artifacts"]}
    assert new["int8"]["digest"] != old["int8"]["digest"]
    assert world.status(SERVICE, "chat")["serving"]["digest"] == new["int8"]["digest"]
    claims = {claim["metadata"]["name"] for claim in world.of_kind("PersistentVolumeClaim")}
    assert claims == {artifact["claim"] for artifact in new.values()}


def test_a_variant_that_is_no_longer_declared_is_removed() -> None:
    world = World().apply(scratch().variant("int8").variant("other", ignore=["model.layers.0.*"])).settle()
    assert len(world.of_kind("PersistentVolumeClaim")) == 3
    world.apply(scratch().variant("int8")).settle()
    names = [claim["metadata"]["labels"][Label.SUBJECT] for claim in world.of_kind("PersistentVolumeClaim")]
    assert sorted(names) == ["base", "int8"]
    assert [artifact["name"] for artifact in world.status(MODEL, "seed")["artifacts"]] == ["base", "int8"]


def test_variants_of_the_same_recipe_have_jobs_and_volumes_of_their_own() -> None:
    world = World().apply(scratch().variant("one").variant("two").evaluated()).settle()
    assert len(world.jobs("quantize")) == 2
    assert len(world.jobs("evaluate")) == 3
    assert len({artifact["claim"] for artifact in world.status(MODEL, "seed")["artifacts"]}) == 3


def test_stages_follow_one_another_and_the_result_is_published_once() -> None:
    two = run(stages=("first", "second")).having("publish", {"model": "result"})
    world = World().apply(scratch(), two).settle()
    assert world.computed == ["build base", "train first", "train second", "publish base"]
    first, second = world.status(TRAINING, "pretrain")["stages"]
    assert first["digest"] != second["digest"]
    assert world.status(TRAINING, "pretrain")["publishedModel"] == "result"
    published = world.get(MODEL, "result")
    assert "ownerReferences" not in published["metadata"]
    assert world.status(MODEL, "result")["lineage"]["source"] == "trainingRun/pretrain/second"
    world.delete(MODEL, "result")
    world.settle()
    assert Ref(MODEL, NAMESPACE, "result") not in world.objects, "a user who deletes it wants it gone"


def test_a_later_stage_reads_the_export_of_the_one_before() -> None:
    world = World().apply(scratch(), run(stages=("first", "second"))).settle()
    second = next(job for job in world.jobs("train") if job["metadata"]["labels"][Label.SUBJECT] == "second")
    mounts = second["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    read = next(mount for mount in mounts if mount["mountPath"] == "/input")
    assert (read["subPath"], read["readOnly"]) == ("stages/first/artifact", True)


def test_a_model_that_is_there_already_is_never_edited() -> None:
    world = World().apply(scratch(), scratch("result"), run().having("publish", {"model": "result"})).settle()
    assert "scratch" in world.get(MODEL, "result")["spec"]["source"]
    status, reason, message = world.condition(TRAINING, "pretrain", "Stalled") or ("", "", "")
    assert (status, reason) == ("True", "NameTaken")
    assert "publish.model" in message
    assert world.status(TRAINING, "pretrain")["phase"] == "Complete"


def test_a_complete_run_stays_complete_without_base_and_jobs() -> None:
    world = World().apply(scratch(), run()).settle()
    before = world.status(TRAINING, "pretrain")
    for job in world.jobs("train"):
        world.drop(Ref.of(job))
    world.delete(MODEL, "seed")
    world.settle()
    assert world.status(TRAINING, "pretrain") == before
    assert world.jobs("train") == []


def test_a_published_model_outlives_its_run() -> None:
    world = World().apply(scratch(), run(), trained().variant("int8")).settle()
    world.delete(TRAINING, "pretrain")
    world.settle()
    assert world.condition(MODEL, "handbook", "Ready")[0] == "True"  # type: ignore[index]
    assert world.removed == []


def test_suspend_frees_the_machine_and_resume_goes_on_with_the_same_job() -> None:
    world = World().apply(scratch())
    world.settle()
    world.held = {"train"}
    world.apply(run()).settle()
    assert world.status(TRAINING, "pretrain")["phase"] == "Training"
    (job,) = world.jobs("train")
    world.apply(run().having("suspend", True)).settle()
    assert world.status(TRAINING, "pretrain")["phase"] == "Suspended"
    assert job["spec"]["suspend"] is True
    assert not [pod for pod in world.of_kind("Pod") if pod["status"]["phase"] == "Running"]
    world.held = set()
    world.apply(run()).settle()
    assert [found["metadata"]["uid"] for found in world.jobs("train")] == [job["metadata"]["uid"]]
    assert world.status(TRAINING, "pretrain")["phase"] == "Complete"


def test_a_model_in_use_waits_for_its_service() -> None:
    world = World().apply(scratch(), service()).settle()
    world.delete(MODEL, "seed")
    world.settle()
    status, reason, message = world.condition(MODEL, "seed", "DeletionBlocked") or ("", "", "")
    assert (status, reason) == ("True", "InUse")
    assert "chat" in message
    world.delete(SERVICE, "chat")
    world.settle()
    assert world.resources() == []
    assert world.of_kind("PersistentVolumeClaim") == []


def test_scaling_to_zero_is_ready_and_says_so() -> None:
    world = World().apply(scratch(), service().having("replicas", 0)).settle()
    assert world.condition(SERVICE, "chat", "Ready")[:2] == ("True", "ScaledToZero")  # type: ignore[index]
    route = json.loads(world.of_kind("ConfigMap")[0]["data"]["route.json"])
    assert route["ready"] is False


def test_a_lost_volume_is_filled_anew_where_its_job_is_deleted_or_not() -> None:
    world = World().apply(scratch()).settle()
    claim = world.status(MODEL, "seed")["artifacts"][0]["claim"]
    for _ in range(5):
        world.step()
    world.drop(Ref("PersistentVolumeClaim", NAMESPACE, claim))
    world.settle()
    assert world.computed == ["build base", "build base"]
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]


def test_more_storage_makes_a_volume_grow_that_needs_it_and_never_shrink() -> None:
    def sizes() -> list[str]:
        return [claim["spec"]["resources"]["requests"]["storage"] for claim in world.of_kind("PersistentVolumeClaim")]

    world = World().apply(scratch()).settle()
    world.held = {"quantize"}
    world.apply(scratch().variant("int8")).settle()
    world.apply(scratch().variant("int8").having("storage", {"size": "2Gi"})).settle()
    assert sizes() == ["1Gi", "2Gi"], "the base is sealed, and its class may not let it grow"
    world.apply(scratch().variant("int8").having("storage", {"size": "1Gi"})).settle()
    assert sizes() == ["1Gi", "2Gi"]


def test_a_sealed_volume_grows_where_what_is_measured_on_it_found_no_room() -> None:
    world = World()
    world.held = {"evaluate"}
    world.apply(scratch().evaluated()).settle()
    full = encode(JobResult(kind="evaluate", identity="", outcome="failed", reason="DiskFull", message="It is full."))
    world.end_pod(world.jobs("evaluate")[0]["metadata"]["name"], 65, full)
    world.settle().apply(scratch().evaluated().having("storage", {"size": "2Gi"})).settle()
    (claim,) = world.of_kind("PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"


def test_a_service_that_moves_to_another_model_holds_the_first_until_it_has_moved() -> None:
    world = World().apply(scratch(), service()).settle()
    world.held = {"build"}
    world.apply(scratch("other"), service(model="other"))
    for _ in range(5):
        world.step()
    assert world.status(SERVICE, "chat")["serving"]["model"] == "seed"
    world.delete(MODEL, "seed")
    world.step()
    assert world.condition(MODEL, "seed", "DeletionBlocked") is not None
    world.held = set()
    world.settle()
    assert world.status(SERVICE, "chat")["serving"]["model"] == "other"
    assert Ref(MODEL, NAMESPACE, "seed") not in world.objects
