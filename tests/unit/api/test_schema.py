"""The dialect of CustomResourceDefinitions, and what is generated from the models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from deepseek_operator.api import generate
from deepseek_operator.api.base import ApiModel
from deepseek_operator.api.crd import RESOURCES, Resource, schema
from deepseek_operator.api.schema import structural
from pydantic import Field

Schema = dict[str, Any]


class Inner(ApiModel):
    """An inner object."""

    size: int = 3
    names: list[str] = Field(default=[])


class Outer(ApiModel):
    """An outer object."""

    inner: Inner = Field(default=Inner(), description="Said here.")
    altered: Inner = Inner(size=4)
    maybe: Inner | None = None
    rate: float = Field(gt=0, lt=1)
    kind_of: Literal["one"]
    free: dict[str, Any] = Field(default={}, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    title: str = "a field may be called title"


class Loop(ApiModel):
    """Contains itself."""

    again: "Loop | None" = None


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema in a schema with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


def test_the_dialect() -> None:
    found = structural(Outer)
    inner = {
        "type": "object",
        "properties": {
            "size": {"type": "integer", "default": 3},
            "names": {"type": "array", "default": [], "items": {"type": "string"}},
        },
    }
    assert found == {
        "description": "An outer object.",
        "type": "object",
        "required": ["rate", "kindOf"],
        "properties": {
            "inner": {**inner, "default": {}, "description": "Said here."},
            "altered": {**inner, "default": {"size": 4}, "description": "An inner object."},
            "maybe": {**inner, "description": "An inner object."},
            "rate": {
                "type": "number",
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 1,
                "exclusiveMaximum": True,
            },
            "kindOf": {"type": "string", "enum": ["one"]},
            "free": {"type": "object", "default": {}, "x-kubernetes-preserve-unknown-fields": True},
            "title": {"type": "string", "default": "a field may be called title"},
        },
    }


def test_recursion_is_refused_with_the_way_round() -> None:
    with pytest.raises(ValueError, match="Loop contains itself"):
        structural(Loop)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
class TestResource:
    def test_every_field_is_explained(self, resource: Resource) -> None:
        for path, node in nodes(schema(resource)["properties"]["spec"], "spec"):
            assert node.get("description") or path.endswith("[]"), path
        for path, node in nodes(schema(resource)["properties"]["status"], "status"):
            assert node.get("description") or path.endswith("[]"), path

    def test_what_a_person_writes_is_bounded(self, resource: Resource) -> None:
        """CEL's cost and the object's size have a limit only where strings, lists and maps have one."""
        for path, node in nodes(schema(resource)["properties"]["spec"], "spec"):
            if node.get("type") == "string" and "enum" not in node:
                assert "maxLength" in node, path
            if node.get("type") == "array":
                assert "maxItems" in node, path
            if "additionalProperties" in node or "x-kubernetes-preserve-unknown-fields" in node:
                assert "maxProperties" in node, path

    def test_an_object_that_may_be_absent_has_the_defaults_of_its_fields(self, resource: Resource) -> None:
        """The server fills in defaults inside of an object only where the object is there."""
        for path, node in nodes(schema(resource)["properties"]["spec"], "spec"):
            for name, child in node.get("properties", {}).items():
                required = name in node.get("required", ())
                chosen = (resource.kind, f"{path}.{name}") in OPTIONAL
                if "properties" in child and not required and not chosen:
                    assert child.get("default") is not None, f"{path}.{name}"

    def test_it_never_grows_past_what_kubectl_apply_can_annotate(self, resource: Resource) -> None:
        assert len(generate.to_yaml(schema(resource))) < 200_000


OPTIONAL = {
    ("DeepSeekModel", "spec.cache"),
    ("DeepSeekModel", "spec.evaluation"),
    ("DeepSeekModel", "spec.evaluation.benchmark"),
    ("DeepSeekModel", "spec.signing"),
    ("DeepSeekModel", "spec.verification"),
    ("DeepSeekModel", "spec.verification.signature"),
    ("DeepSeekModel", "spec.evaluation.longContext"),
    ("DeepSeekModel", "spec.variants[].export"),
    ("DeepSeekModel", "spec.variants[].export.gguf"),
    ("DeepSeekModel", "spec.variants[].export.onnx"),
    ("DeepSeekModel", "spec.variants[].export.onnx.calibration"),
    ("DeepSeekModel", "spec.variants[].export.onnx.calibration.text[].claim"),
    ("DeepSeekModel", "spec.variants[].export.onnx.calibration.text[].configMap"),
    ("DeepSeekModel", "spec.variants[].quantization"),
    ("DeepSeekModel", "spec.evaluation.tasks[].source.claim"),
    ("DeepSeekModel", "spec.evaluation.tasks[].source.configMap"),
    ("DeepSeekModel", "spec.variants[].quantization.calibration"),
    ("DeepSeekModel", "spec.variants[].quantization.calibration.text[].claim"),
    ("DeepSeekModel", "spec.variants[].quantization.calibration.text[].configMap"),
    ("DeepSeekModel", "spec.variants[].gate"),
    ("DeepSeekModel", "spec.source.huggingFace"),
    ("DeepSeekModel", "spec.source.huggingFace.tokenSecretRef"),
    ("DeepSeekModel", "spec.source.existingClaim"),
    ("DeepSeekModel", "spec.source.http"),
    ("DeepSeekModel", "spec.source.http.archive"),
    ("DeepSeekModel", "spec.source.objectStore"),
    ("DeepSeekModel", "spec.source.oci"),
    ("DeepSeekModel", "spec.source.oci.pullSecretRef"),
    ("DeepSeekModel", "spec.source.objectStore.credentialsSecretRef"),
    ("DeepSeekModel", "spec.source.scratch"),
    ("DeepSeekModel", "spec.source.trainingRun"),
    ("DeepSeekModel", "spec.source.scratch.tokenizer.text[].claim"),
    ("DeepSeekModel", "spec.source.scratch.tokenizer.text[].configMap"),
    ("DeepSeekModel", "spec.evaluation.text[].claim"),
    ("DeepSeekModel", "spec.evaluation.text[].configMap"),
    ("TrainingRun", "spec.publish"),
    ("TrainingRun", "spec.stages[].data[].claim"),
    ("TrainingRun", "spec.stages[].data[].configMap"),
    ("TrainingRun", "spec.stages[].data[].huggingFace"),
    ("TrainingRun", "spec.stages[].data[].huggingFace.tokenSecretRef"),
}
"""Objects whose absence says something."""


def test_committed_files_are_what_would_be_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_check_names_a_changed_file_and_generate_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--root", str(tmp_path)]) == 0
    changed = next(tmp_path.glob("crds/*trainingruns*"))
    changed.write_text(changed.read_text() + "# by hand\n")
    capsys.readouterr()
    assert generate.main(["--root", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().out == "stale: crds/deepseek-operator.io_trainingruns.yaml\n"
    assert generate.main(["--root", str(tmp_path)]) == 0
    assert generate.main(["--root", str(tmp_path), "--check"]) == 0
