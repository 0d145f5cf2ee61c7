"""What a variant's quantization says is what its Job is told, and other words for the same make nothing again."""

from typing import Any

import pytest
from deepseek_runtime.wire.job import JOB, QuantizeJob

from tests.unit.controllers.builders import scratch
from tests.unit.controllers.world import World

INT4 = {"scheme": "int4"}


def told(world: World) -> QuantizeJob:
    container = world.jobs("quantize")[-1]["spec"]["template"]["spec"]["containers"][0]
    job = JOB.validate_json(next(item["value"] for item in container["env"] if item["name"] == "DEEPSEEK_JOB"))
    assert isinstance(job, QuantizeJob)
    return job


@pytest.mark.parametrize(
    ("quantization", "field", "value"),
    [
        *(({"method": method}, "method", method) for method in ("weightOnly", "dynamic")),
        ({**INT4, "method": "roundToNearest"}, "method", "roundToNearest"),
        *(({"scope": scope}, "scope", scope) for scope in ("all", "experts")),
        *(({**INT4, "groupSize": size}, "group_size", size) for size in (32, 64, 128)),
        ({"ignore": ["lm_head", "model.layers.0.*"]}, "ignore", ("lm_head", "model.layers.0.*")),
        *(({"scheme": scheme}, "scheme", scheme) for scheme in ("int4", "fp8", "fp8Block", "bf16")),
    ],
)
def test_every_field_arrives_in_the_job(quantization: dict[str, Any], field: str, value: object) -> None:
    plain = told(World().apply(scratch().variant("made")).settle())
    job = told(World().apply(scratch().variant("made", **quantization)).settle())
    assert getattr(job, field) == value
    unlike = {name for name, said in job if said != getattr(plain, name)}
    assert unlike <= {"identity", "input_digest", "credential", "scheme", "version", field}


@pytest.mark.parametrize(
    ("short", "long"),
    [({}, {"method": "weightOnly", "scope": "all"}), (INT4, {**INT4, "method": "roundToNearest", "groupSize": 128})],
)
def test_a_default_that_is_written_out_makes_nothing_again(short: dict[str, Any], long: dict[str, Any]) -> None:
    world = World().apply(scratch().variant("made", **short)).settle()
    world.apply(scratch().variant("made", **long)).settle()
    assert world.computed == ["build base", "quantize made"]
    world.apply(scratch().variant("made", **{**long, "scope": "experts"})).settle()
    assert world.computed == ["build base", "quantize made", "quantize made"]
