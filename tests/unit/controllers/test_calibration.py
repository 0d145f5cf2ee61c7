"""A calibrated variant's Job sees its text, read-only, and what it shows is part of what the variant is."""

from deepseek_operator.api.names import MODEL

from tests.unit.controllers.builders import scratch
from tests.unit.controllers.test_imported import claims_of
from tests.unit.controllers.world import World

CALIBRATION = {"text": [{"claim": {"claimName": "prompts", "path": "chat"}}], "samples": 32}


def test_its_text_is_mounted_and_told_to_the_job() -> None:
    world = World().apply(scratch().variant("w8a8", method="static", calibration=CALIBRATION)).settle()
    assert world.computed == ["build base", "quantize w8a8"]
    (job,) = world.jobs("quantize")
    assert claims_of(job)["prompts"] is True
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"/data/0", "/input", "/output"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    document = next(one["value"] for one in container["env"] if one["name"] == "DEEPSEEK_JOB")
    assert '"calibration":{"text":["/data/0/chat"],"samples":32}' in document


def test_other_calibration_makes_the_variant_anew() -> None:
    world = World().apply(scratch().variant("w8a8", method="static", calibration=CALIBRATION)).settle()
    first = world.status(MODEL, "seed")["artifacts"][1]
    world.apply(scratch().variant("w8a8", method="static", calibration={**CALIBRATION, "samples": 33})).settle()
    second = world.status(MODEL, "seed")["artifacts"][1]
    assert world.computed == ["build base", "quantize w8a8", "quantize w8a8"]
    assert first["identity"] != second["identity"]
