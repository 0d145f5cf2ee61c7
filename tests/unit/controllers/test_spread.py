"""A variant that several pods make: their Job, who of them is believed, and what of them is told."""

import json

import pytest
from deepseek_operator.api.names import MODEL, Label
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_runtime.wire.progress import Progress
from deepseek_runtime.wire.result import JobResult, encode

from tests.unit.controllers.builders import NAMESPACE, Builder, scratch
from tests.unit.controllers.world import World

SEED = Ref(MODEL, NAMESPACE, "seed")


def model(pods: int = 3) -> Builder:
    return scratch().variant("int8", parallelism=pods)


def quantizing() -> tuple[World, Object, list[Object]]:
    """A model whose variant three pods are at work on."""
    world = World()
    world.held = {"quantize"}
    world.apply(model()).settle()
    (job,) = world.jobs("quantize")
    pods = [*world._pods(job["metadata"]["name"]), world._new_pod(job), world._new_pod(job)]
    for index, pod in enumerate(pods):
        pod["metadata"]["labels"][Label.INDEX] = str(index)
    return world, job, pods


def condition(world: World) -> tuple[str, str, str]:
    world.reconcile(SEED)
    return world.condition(MODEL, "seed", "VariantsReady") or ("", "", "")


def identity_of(job: Object) -> str:
    (variable,) = (v for v in job["spec"]["template"]["spec"]["containers"][0]["env"] if v["name"] == "DEEPSEEK_JOB")
    return str(json.loads(variable["value"])["identity"])


def test_each_pod_has_an_index_and_no_name_and_of_one_node_all_share_it() -> None:
    _, job, _ = quantizing()
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    pod = spec["template"]["spec"]
    assert "subdomain" not in pod
    assert json.loads(next(v["value"] for v in pod["containers"][0]["env"] if v["name"] == "DEEPSEEK_JOB"))["pods"] == 3
    (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    shared = World().apply(model().having("storage.accessModes", ["ReadWriteMany"])).settle()
    (job,) = shared.jobs("quantize")
    assert "affinity" not in job["spec"]["template"]["spec"]


def test_one_pod_has_no_index_and_another_number_makes_nothing_again() -> None:
    world = World().apply(model(1)).settle()
    (job,) = world.jobs("quantize")
    assert "completionMode" not in job["spec"]
    world.apply(model(4)).settle()
    assert world.jobs("quantize") == [job]
    world.forget()
    world.settle()
    assert world.computed.count("quantize int8") == 1
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_the_result_is_that_of_the_first_pod(order: tuple[int, ...]) -> None:
    world, job, pods = quantizing()
    part = JobResult(kind="quantize", identity=identity_of(job), outcome="succeeded")
    sealed = world._work(job)
    for index in order:
        world._terminate(pods[index], 0, encode(part if index else sealed), "Completed")
    world._end_job(job, "Complete")
    world.settle()
    variant = next(each for each in world.status(MODEL, "seed")["artifacts"] if each["name"] == "int8")
    assert (variant["phase"], variant["digest"]) == ("Ready", sealed.artifact.digest)  # type: ignore[union-attr]
    assert len(world.jobs("quantize")) == 1


def test_where_the_first_pod_is_gone_another_job_finds_what_it_sealed() -> None:
    world, job, pods = quantizing()
    part = JobResult(kind="quantize", identity=identity_of(job), outcome="succeeded")
    world._work(job)
    for pod in pods[1:]:
        world._terminate(pod, 0, encode(part), "Completed")
    world.drop(Ref.of(pods[0]))
    world._end_job(job, "Complete")
    world.held = set()
    for _ in range(30):
        world.step()
    assert len(world.jobs("quantize")) == 2
    assert world.computed.count("quantize int8") == 1
    assert world.condition(MODEL, "seed", "Ready")[0] == "True"  # type: ignore[index]


def test_figures_are_those_of_the_first_pod_that_shows_some() -> None:
    world, job, pods = quantizing()
    for pod, done in zip(pods, (9, 4, 2), strict=True):
        figures = Progress(identity=identity_of(job), phase="quantizing", unit="bytes", done=done, total=10)
        world.progress[pod["metadata"]["name"]] = figures
    waiting = "waiting for the other pods"
    name = pods[0]["metadata"]["name"]
    world.progress[name] = world.progress[name].model_copy(update={"phase": waiting})
    world.reconcile(SEED)
    progress = world.status(MODEL, "seed")["progress"]
    assert (progress["phase"], progress["percent"]) == (waiting, 90)
    del world.progress[name]
    world.reconcile(SEED)
    assert world.status(MODEL, "seed")["progress"]["percent"] in {20, 40}


def test_a_pod_that_is_lost_is_told_until_all_are_at_work_and_one_that_makes_room_is_not() -> None:
    world, _, pods = quantizing()
    world._terminate(pods[1], 137, "", "OOMKilled")
    assert condition(world)[1] == "OutOfMemory"
    assert world.status(MODEL, "seed")["lastFailure"]["pod"] == pods[1]["metadata"]["name"]
    world.drop(Ref.of(pods[1]))
    world._terminate(pods[0], 75, "The other pods have written nothing.", "Error")
    assert condition(world)[1] == "Quantizing"


def test_bad_data_that_one_pod_finds_ends_the_job() -> None:
    world, job, pods = quantizing()
    failed = JobResult(
        kind="quantize", identity=identity_of(job), outcome="failed", reason="NotFinite", message="Tensor a has NaN."
    )
    world._terminate(pods[2], 65, encode(failed), "Error")
    world._end_job(job, "Failed")
    status, _, message = condition(world)
    assert status == "False"
    assert "Tensor a has NaN." in message
    assert (world.condition(MODEL, "seed", "Stalled") or ("",))[0] == "True"
