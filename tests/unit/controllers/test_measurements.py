"""What is asked for is measured once, one after another, whatever else is asked for, lost or changed."""

from typing import Any

from deepseek_operator.api.names import MODEL, Label
from deepseek_runtime.wire.job import JOB, TaskJob
from deepseek_runtime.wire.paths import BASE
from deepseek_runtime.wire.result import JobResult

from tests.unit.controllers.builders import Builder, scratch
from tests.unit.controllers.world import World


def artifacts(world: World) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in world.status(MODEL, "seed")["artifacts"]}


def test_every_variant_is_compared_with_the_base_after_it_was_measured() -> None:
    world = World()
    world.comparisons = {"int8": (0.0012345678, 0.98765), "other": (0.5, 0.5)}
    world.apply(
        scratch().variant("int8").variant("other", ignore=["model.layers.0.*"]).evaluated(compare=True)
    ).settle()
    found = artifacts(world)
    routing = {"layers": 1, "experts": 4, "maxToMean": 1.25, "meanMaxToMean": 1.25, "deadExperts": 0}
    assert found["base"]["scores"]["routing"] == routing
    assert found["int8"]["scores"] == {
        "routing": routing, "perplexity": 20.5, "bitsPerByte": 1.5, "tokens": 900,
        "klDivergence": 0.001235, "top1Agreement": 0.9877,
    }  # fmt: skip
    assert found["other"]["scores"]["klDivergence"] == 0.5
    assert "klDivergence" not in found["base"]["scores"]
    assert world.computed[-2:] == ["compare int8", "compare other"]
    assert world.condition(MODEL, "seed", "Evaluated")[0] == "True"  # type: ignore[index]
    computed = list(world.computed)
    world.forget()
    world.settle()
    assert artifacts(world) == found
    assert world.computed == computed


def test_the_comparison_reads_both_and_goes_where_either_is_read() -> None:
    world = World().apply(scratch().variant("int8").evaluated(compare=True)).settle()
    (job,) = world.jobs("compare")
    pod = job["spec"]["template"]["spec"]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts[BASE]["readOnly"]
    (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (expression,) = term["labelSelector"]["matchExpressions"]
    labels = job["spec"]["template"]["metadata"]["labels"]
    reading = world.jobs("quantize")[0]["spec"]["template"]["metadata"]["labels"][Label.VOLUME]
    assert expression == {"key": Label.VOLUME, "operator": "In", "values": [labels[Label.VOLUME], reading]}
    shared = World().apply(
        scratch().variant("int8").evaluated(compare=True).having("storage.accessModes", ["ReadWriteMany"])
    )
    assert "affinity" not in shared.settle().jobs("compare")[0]["spec"]["template"]["spec"]


def test_a_comparison_that_is_asked_for_later_measures_nothing_else_again() -> None:
    world = World().apply(scratch().variant("int8").evaluated()).settle()
    before = list(world.computed)
    assert before == ["build base", "quantize int8", "evaluate base", "evaluate int8"]
    world.apply(scratch().variant("int8").evaluated(compare=True)).settle()
    assert world.computed == [*before, "compare int8"]
    world.apply(scratch().variant("int8").evaluated(compare=True, contextLength=64)).settle()
    assert world.computed[len(before) + 1 :] == ["evaluate base", "evaluate int8", "compare int8"]


def test_without_an_evaluation_nothing_is_shown() -> None:
    world = World().apply(scratch().variant("int8").evaluated(compare=True)).settle()
    world.apply(scratch().variant("int8")).settle()
    for artifact in artifacts(world).values():
        assert artifact.keys().isdisjoint({"scores", "evaluationIdentity", "comparisonIdentity"})


def test_benchmarks_run_one_after_the_other_when_all_else_is_done() -> None:
    """Whatever runs beside them would be measured with them."""
    world = World()
    model = scratch().variant("int8").evaluated(compare=True, benchmark={"concurrency": 4})
    world.apply(model.having("signing", {"keySecretRef": {"name": "release"}}))
    for _ in range(60):
        running = [job["metadata"]["labels"][Label.WORK] for job in world.of_kind("Job") if not job.get("status")]
        assert "benchmark" not in running or running == ["benchmark"]
        if not world.step():
            break
    assert world.computed[-3:] == ["compare int8", "benchmark base", "benchmark int8"]
    for artifact in artifacts(world).values():
        assert artifact["benchmark"]["outputTokensPerSecond"] == 40.0
        assert artifact["benchmark"]["processor"] == "A CPU"
        assert artifact["benchmark"]["image"] == "registry.example/runtime:1"


def test_what_has_failed_holds_up_no_benchmark() -> None:
    world = World()
    world.held = {"longcontext", "sign"}
    model = scratch().variant("int8").evaluated(longContext={"tokens": 1024}, benchmark={})
    world.apply(model.having("signing", {"keySecretRef": {"name": "release"}})).settle()
    for work, left in (("longcontext", False), ("sign", True)):
        for job in world.jobs(work):
            assert not world.jobs("benchmark")
            world.end_pod(job["metadata"]["name"], 65)
            world.step()
        world.settle()
        assert bool(world.jobs("benchmark")) is left
    assert all("benchmark" in artifact for artifact in artifacts(world).values())
    assert world.condition(MODEL, "seed", "Evaluated")[:2] == ("False", "WorkFailed")  # type: ignore[index]


def test_a_benchmark_outlives_another_text_and_a_lost_status() -> None:
    world = World().apply(scratch().variant("int8").evaluated(benchmark={})).settle()
    before = list(world.computed)
    world.apply(scratch().variant("int8").evaluated(benchmark={}, contextLength=64)).settle()
    assert world.computed == [*before, "evaluate base", "evaluate int8"]
    assert artifacts(world)["int8"]["benchmark"]["threads"] == 2
    computed = list(world.computed)
    world.forget()
    world.settle()
    assert world.computed == computed
    world.apply(scratch().variant("int8").evaluated(benchmark={"concurrency": 2}, contextLength=64)).settle()
    assert world.computed == [*computed, "benchmark base", "benchmark int8"]


def test_a_long_context_is_measured_of_base_and_variants_and_by_itself() -> None:
    world = World().apply(scratch().variant("int8").evaluated()).settle()
    before = list(world.computed)
    world.apply(scratch().variant("int8").evaluated(longContext={"tokens": 1024})).settle()
    assert world.computed == [*before, "longcontext base", "longcontext int8"]
    found = artifacts(world)
    assert found["int8"]["longContext"] == {
        "tokens": 1024, "perplexity": 18.0, "shortTokens": 256, "shortPerplexity": 20.0, "ratio": 0.9, "scored": 2048,
    }  # fmt: skip
    world.forget()
    world.settle()
    assert artifacts(world) == found
    world.apply(scratch().variant("int8").evaluated()).settle()
    assert "longContext" not in artifacts(world)["int8"]
    assert world.computed == [*before, "longcontext base", "longcontext int8"]


def _tasks(*names: str, **changes: Any) -> dict[str, Any]:
    return {"tasks": [{"name": name, "source": {"configMap": {"name": name}}, **changes} for name in names]}


def test_every_task_is_measured_by_itself_and_once() -> None:
    """Another task, a rename, a lost status and an upgrade compute nothing that is known; a limit measures its own."""
    world = World().apply(scratch().variant("int8").evaluated(benchmark={})).settle()
    before = list(world.computed)
    world.apply(scratch().variant("int8").evaluated(benchmark={}, **_tasks("capitals"))).settle()
    assert world.computed == [*before, "task base", "task int8"]
    (found,) = artifacts(world)["int8"]["tasks"]
    assert found["name"] == "capitals"
    assert (found["documents"], found["fewShot"]) == (50, 2)
    assert found["metrics"] == [
        {"metric": "acc", "value": 0.54, "standardError": 0.0711}, {"metric": "acc_norm", "value": 0.6},
    ]  # fmt: skip
    assert "capitals acc: base 0.54, int8 0.54" in world.condition(MODEL, "seed", "Evaluated")[2]  # type: ignore[index]
    world.apply(scratch().variant("int8").evaluated(benchmark={}, **_tasks("capitals", "sums"))).settle()
    assert world.computed == [*before, *["task base", "task int8"] * 2]
    assert [task["name"] for task in artifacts(world)["base"]["tasks"]] == ["capitals", "sums"]
    computed, shown = list(world.computed), artifacts(world)
    world.forget()
    world.settle()
    assert (world.computed, artifacts(world)) == (computed, shown)
    renamed = _tasks("sums")
    renamed["tasks"][0]["name"] = "arithmetic"
    world.apply(scratch().variant("int8").evaluated(benchmark={}, **renamed)).settle()
    assert [task["name"] for task in artifacts(world)["base"]["tasks"]] == ["arithmetic"]
    assert world.computed == computed
    world.apply(scratch().variant("int8").evaluated(benchmark={}, **_tasks("sums", limit=5))).settle()
    assert world.computed == [*computed, "task base", "task int8"]


def test_a_task_that_cannot_be_read_is_said_and_holds_up_no_benchmark() -> None:
    world = World()
    world.held = {"task"}
    world.apply(scratch().evaluated(benchmark={}, **_tasks("capitals"))).settle()
    (job,) = world.jobs("task")
    message = JobResult(
        kind="task", identity="1", outcome="failed", reason="BadTask", message="key process_docs"
    ).to_json()
    world.end_pod(job["metadata"]["name"], 65, message)
    world.settle()
    status, reason, said = world.condition(MODEL, "seed", "Evaluated")  # type: ignore[misc]
    assert (status, reason) == ("False", "BadTask")
    assert "key process_docs" in said
    assert "benchmark" in artifacts(world)["base"]


def test_a_task_reads_its_folder_and_nothing_else() -> None:
    world = World().apply(scratch().evaluated(**_tasks("capitals", file="a.yaml", fewShot=0))).settle()
    (job,) = world.jobs("task")
    container = job["spec"]["template"]["spec"]["containers"][0]
    config = JOB.validate_json(next(each["value"] for each in container["env"] if each["name"] == "DEEPSEEK_JOB"))
    assert isinstance(config, TaskJob)
    assert (config.file, config.few_shot, config.limit) == ("a.yaml", 0, None)
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts[config.folder]["readOnly"]


def test_a_measurement_at_work_is_not_stopped_by_one_that_is_asked_for_before_it() -> None:
    def asked(*names: str) -> Builder:
        tasks = [{"name": name, "source": {"configMap": {"name": name}}, "file": f"{name}.yaml"} for name in names]
        return scratch().evaluated(tasks=tasks)

    world = World()
    world.held = {"task"}
    world.apply(asked("later")).settle()
    (job,) = world.jobs("task")
    world.apply(asked("earlier", "later")).settle()
    assert job in world.jobs("task")
    world.held = set()
    world.settle()
    assert sorted(world.computed) == ["build base", "evaluate base", "task base", "task base"]


def test_a_measurement_that_is_asked_for_no_more_is_stopped() -> None:
    world = World()
    world.held = {"evaluate"}
    world.apply(scratch().evaluated()).settle()
    assert len(world.jobs("evaluate")) == 1
    world.apply(scratch()).settle()
    assert world.jobs("evaluate") == []
    assert world.status(MODEL, "seed")["phase"] == "Ready"
