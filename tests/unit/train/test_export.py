"""What is exported is the base's but for its weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from deepseek_runtime.models.ends import end_tokens
from deepseek_runtime.train.checkpoint import Checkpoints
from deepseek_runtime.train.export import export
from deepseek_runtime.weights.load import load_config


def test_a_trained_model_stops_where_its_base_does(
    seed_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, target = tmp_path / "base", tmp_path / "export"
    shutil.copytree(seed_model, base)
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 9], "temperature": 0.5}))
    target.mkdir()
    checkpoints = Checkpoints(tmp_path, "work", keep=1)
    monkeypatch.setattr(checkpoints, "read_weights", lambda model: torch.nn.init.zeros_(model.lm_head.weight))
    made = export(checkpoints, base, target)
    assert end_tokens(target, load_config(target)) == end_tokens(base, load_config(base)) == {1, 9}
    assert (target / "generation_config.json").read_bytes() == (base / "generation_config.json").read_bytes()
    assert made.files == len([*target.iterdir()]) - 1
