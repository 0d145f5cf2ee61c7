"""An operator drives the runtime before it, and what that runtime would not honour it refuses."""

import json
from typing import Any

import pytest
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.run import parse
from deepseek_runtime.wire.job import JOB, BuildJob, FetchJob, ImportJob, Job, QuantizeJob, Tokenizer, _Job
from deepseek_runtime.wire.verification import FileDigest, Verification
from pydantic import ValidationError

ASKED = {"identity": "i", "owner": "DeepSeekModel/team/seed"}
PROOF = Verification(files=(FileDigest(path="config.json", sha256="a" * 64),))
PLAIN = QuantizeJob(**ASKED, input_digest="d", scheme="int8")
FIRST_QUANTIZE = {
    "version",
    "identity",
    "owner",
    "credential",
    "output",
    "kind",
    "input",
    "inputDigest",
    "scheme",
    "ignore",
}
"""All that a runtime of version 1 knew of a quantization, and it took int8 alone."""
JOBS: list[Job] = [
    PLAIN,
    QuantizeJob(**ASKED, input_digest="d", scheme="int4", group_size=32, ignore=("lm_head",), credential="k"),
    BuildJob(**ASKED, architecture="Llama", config={"hidden_size": None}, tokenizer=Tokenizer(vocab_size=9, text=())),
    FetchJob(**ASKED, repo="a/b", endpoint="https://hub.example", verification=PROOF),
    ImportJob(**ASKED, verification=PROOF, output="/elsewhere"),
]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.kind)
def test_a_document_says_all_that_was_asked(job: Job) -> None:
    read = parse(job.to_json())
    assert read.model_copy(update={"version": 1}) == job


def test_what_is_at_its_default_is_left_out_so_that_the_runtime_before_is_driven_too() -> None:
    assert json.loads(PLAIN.to_json()) == {
        "version": 1, "kind": "quantize", "inputDigest": "d", "scheme": "int8", **ASKED,
    }  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"method": "dynamic"},
        {"scope": "experts"},
        {"pods": 2},
        {"method": "static", "calibration": {"text": ("t",)}},
    ],
)
def test_a_runtime_that_ignores_what_it_does_not_know_is_not_asked_for_it(more: dict[str, Any]) -> None:
    """Its version is below that of the document, and so it ends with 64 before it writes anything."""
    document = json.loads(QuantizeJob(**ASKED, input_digest="d", scheme="int8", **more).to_json())
    assert document["version"] == 2
    assert set(document) - FIRST_QUANTIZE == set(more)


@pytest.mark.parametrize("job", [each for each in JOBS if isinstance(each, FetchJob | ImportJob)], ids=type)
def test_a_proof_that_is_asked_for_is_not_ignored_either(job: FetchJob | ImportJob) -> None:
    assert json.loads(job.to_json())["version"] == 2
    assert json.loads(job.model_copy(update={"verification": None}).to_json())["version"] == 1


def test_fields_that_would_be_ignored_are_fields_with_defaults() -> None:
    kinds = [kind for kind in _Job.__subclasses__() if kind.UNHEARD]
    assert kinds
    for kind in kinds:
        assert not any(kind.model_fields[name].is_required() for name in kind.UNHEARD)


@pytest.mark.parametrize("kind", _Job.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_kind_refuses_a_field_that_it_does_not_have(kind: type[_Job]) -> None:
    document = {"kind": kind.model_fields["kind"].default, "novelty": 1}
    with pytest.raises(ConfigurationError, match="has novelty, which this runtime does not know") as caught:
        parse(json.dumps(document))
    assert caught.value.reason == "InvalidConfig"
    with pytest.raises(ValidationError):
        JOB.validate_python(document)
