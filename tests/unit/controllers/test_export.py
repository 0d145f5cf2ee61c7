"""A variant that is exported is made and shown like the others, and is neither measured, sized nor served."""

from typing import Any

from deepseek_operator.api.names import MODEL, SERVICE, Condition, Label, Reason
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_runtime.wire.job import JOB, ExportJob

from tests.unit.controllers.builders import NAMESPACE, fetched, scratch, service
from tests.unit.controllers.world import World

CHAT = Ref(SERVICE, NAMESPACE, "chat")


def artifact(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in world.status(MODEL, "seed")["artifacts"] if each["name"] == name)
    return found


def export_job(world: World) -> Object:
    return next(job for job in world.of_kind("Job") if job["metadata"]["labels"][Label.WORK] == "export")


def condition(world: World, kind: str, name: str, type_: str) -> dict[str, Any] | None:
    return next((each for each in world.status(kind, name)["conditions"] if each["type"] == type_), None)


def test_it_is_made_by_a_job_of_its_own_and_shown() -> None:
    world = World()
    world.apply(scratch().variant("int8").export("edge", "q8_0").evaluated(compare=True, benchmark={}))
    world.settle()
    edge = artifact(world, "edge")
    assert (edge["phase"], edge["export"]["format"], edge["export"]["type"]) == ("Ready", "gguf", "q8_0")
    assert edge["export"]["file"] == "model.gguf"
    assert edge["digest"]
    assert edge["bytes"]
    assert "quantization" not in edge
    assert world.status(MODEL, "seed")["phase"] == "Ready"
    assert [work for work in world.computed if work.endswith(" edge")] == ["export edge"], "nothing is measured of it"
    job = export_job(world)
    environment = {each["name"]: each["value"] for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    config = JOB.validate_json(environment["DEEPSEEK_JOB"])
    assert isinstance(config, ExportJob)
    assert (config.type, config.input_digest) == ("q8_0", artifact(world, "base")["digest"])


def test_while_it_is_made_the_phase_says_so() -> None:
    world = World()
    world.held = {"export"}
    world.apply(scratch().export("edge"))
    for _ in range(8):
        world.step()
    assert world.status(MODEL, "seed")["phase"] == "Exporting"
    ready = condition(world, MODEL, "seed", Condition.VARIANTS_READY)
    assert ready is not None
    assert ready["reason"] == Reason.EXPORTING


def test_no_gpu_is_told_to_hold_it() -> None:
    world = World()
    world.apply(scratch().variant("int8").export("edge"))
    world.settle()
    sized = [each["name"] for each in world.status(MODEL, "seed")["sizing"]["artifacts"]]
    assert sized == ["base", "int8"]


def test_a_service_on_it_is_refused_with_the_way_out() -> None:
    world = World()
    world.apply(scratch().export("edge"))
    world.apply(service(variant="edge"))
    world.settle()
    stalled = condition(world, SERVICE, "chat", Condition.STALLED)
    assert stalled is not None
    assert stalled["reason"] == Reason.VARIANT_NOT_SERVED
    assert "variant edge of DeepSeekModel seed is an export" in stalled["message"]
    assert "leave model.variant out" in stalled["message"]
    assert not world.of_kind("Deployment")


def test_another_type_is_another_file_and_what_was_is_removed() -> None:
    world = World()
    world.apply(scratch().export("edge", "f16"))
    world.settle()
    before = artifact(world, "edge")["claim"]
    world.apply(scratch().export("edge", "q4_0"))
    world.settle()
    assert world.computed.count("export edge") == 2
    assert before in {ref.name for ref in world.removed}
    assert artifact(world, "edge")["claim"] != before


def test_what_the_runtime_refuses_is_told_with_its_reason() -> None:
    world = World()
    world.held = {"export"}
    world.apply(scratch().export("edge"))
    for _ in range(8):
        world.step()
    job = export_job(world)["metadata"]["name"]
    failed = (
        '{"kind": "export", "identity": "x", "outcome": "failed", "reason": "UnsupportedExport", '
        '"message": "The tokenizer cuts text in a way that llama.cpp has no name for: x."}'
    )
    world.end_pod(job, 65, failed)
    world.settle()
    stalled = condition(world, MODEL, "seed", Condition.STALLED)
    assert stalled is not None
    assert stalled["reason"] == Reason.UNSUPPORTED_EXPORT
    assert "no name for: x" in stalled["message"]


def test_an_onnx_file_is_made_by_a_job_with_its_calibration_and_shows_how_it_answered() -> None:
    world = World()
    world.apply(scratch(architecture="Llama", hidden_size=64, num_hidden_layers=2).onnx("desk").onnx("phone", "int8"))
    world.settle()
    desk, phone = artifact(world, "desk")["export"], artifact(world, "phone")["export"]
    assert (desk["format"], desk["type"], desk["file"]) == ("onnx", "float32", "model.onnx")
    assert "calibration" not in desk
    assert phone["calibration"]["sequences"] == 128
    assert phone["proof"] == {
        "engine": "onnxruntime 1.32.0",
        "tokens": 1024,
        "klDivergence": 0.004,
        "top1Agreement": 0.97,
        "largestDifference": 0.02,
    }
    jobs = {
        job["metadata"]["labels"][Label.SUBJECT]: job["spec"]["template"]["spec"]
        for job in world.of_kind("Job")
        if job["metadata"]["labels"][Label.WORK] == "export"
    }
    told = next(each["value"] for each in jobs["phone"]["containers"][0]["env"] if each["name"] == "DEEPSEEK_JOB")
    config = JOB.validate_json(told)
    assert isinstance(config, ExportJob)
    assert config.calibration is not None
    read = [mount["mountPath"] for mount in jobs["phone"]["containers"][0]["volumeMounts"]]
    assert all(any(path.startswith(place) for place in read) for path in config.calibration.text)


def test_onnx_of_a_mixture_of_experts_is_refused_by_name_and_the_rest_is_made() -> None:
    world = World()
    world.apply(fetched("seed").onnx("desk").export("edge").variant("int8"))
    world.settle()
    stalled = condition(world, MODEL, "seed", Condition.STALLED)
    assert stalled is not None
    assert stalled["reason"] == Reason.UNSUPPORTED_EXPORT
    assert "export.onnx of variant desk" in stalled["message"]
    assert "DeepseekV3ForCausalLM is a mixture of experts" in stalled["message"]
    assert "Take export.gguf" in stalled["message"]
    assert not any(work.endswith(" desk") for work in world.computed), "no pod finds out"
    assert {each["name"] for each in world.status(MODEL, "seed")["artifacts"]} == {"base", "edge", "int8"}
    world.apply(fetched("seed").export("edge").variant("int8"))
    world.settle()
    assert condition(world, MODEL, "seed", Condition.STALLED) is None
    assert world.status(MODEL, "seed")["phase"] == "Ready"
