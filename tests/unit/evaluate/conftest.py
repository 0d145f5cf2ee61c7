"""One tiny model and its int8 variant for all tests of this room."""

from pathlib import Path

import pytest
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import int8
from deepseek_runtime.weights import manifest

from tests.unit.tiny import Reports, build_job, quantize_job


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    scratch.run(build_job(directory), Reports())
    return directory / "volume" / "artifact"


@pytest.fixture(scope="session")
def variant(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("variant")
    int8.run(quantize_job(model, manifest.read(model).digest, output), Reports())
    return output / "artifact"
