"""One tiny model and its int8 variant for all tests of this room."""

from pathlib import Path

import pytest
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.job import EvaluateJob

from tests.unit.tiny import TEXT, Reports, build_job, quantize_job


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    scratch.run(build_job(directory), Reports())
    return directory / "volume" / "artifact"


@pytest.fixture(scope="session")
def variant(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("variant")
    quantize.run(quantize_job(model, manifest.read(model).digest, output), Reports())
    return output / "artifact"


@pytest.fixture
def evaluate_job(model: Path, tmp_path: Path) -> EvaluateJob:
    """Of the tiny model, on all of the text."""
    (tmp_path / "heldout.txt").write_text(TEXT, "utf-8")
    return EvaluateJob(
        identity="4" * 64,
        owner="DeepSeekModel/test/tiny",
        output=str(tmp_path),
        input=str(model),
        input_digest=manifest.read(model).digest,
        text=(str(tmp_path / "heldout.txt"),),
        context_length=32,
    )
