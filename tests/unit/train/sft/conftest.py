"""Twenty questions with their answers, and the Job that learns them."""

import json
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.wire.job import TrainJob

from ..conftest import hyperparameters, make_job

PAIRS = [(f"Fox {number}?", f" jumps over {number * 7 % 20} dogs.") for number in range(20)]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"prompt": ask, "completion": say}) + "\n" for ask, say in PAIRS))
    return path


def sft_job(model: Path, data: Path, output: Path, settings: dict[str, Any], **changes: Any) -> TrainJob:
    """A stage of type sft."""
    fields = {"type": "sft", "stage": "sft", "hyperparameters": hyperparameters(sequence_length=48, **settings)}
    return make_job(model, data, output, **fields, **changes)
