"""Checkpoints: whole or not there, damaged ones left out."""

import shutil
from pathlib import Path

import pytest
import torch
from deepseek_runtime.train import shards
from deepseek_runtime.train.checkpoint import STATE, Checkpoints, State
from deepseek_runtime.train.optimizer import adamw
from deepseek_runtime.train.team import Team
from torch import nn

from .conftest import hyperparameters

ALONE = Team(0, 1, torch.device("cpu"))


def trained(steps: int) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(steps)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = adamw(model, hyperparameters())
    for _ in range(steps):
        torch.autograd.backward(model(torch.randn(8, 3)).square().mean())
        optimizer.step()
    return model, optimizer


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    kept = Checkpoints(tmp_path, "work", keep=2)
    for step in (1, 2, 3):
        kept.save(State(step, seconds=10.0 * step, losses=[0.5] * step), *trained(step), ALONE)
    return kept


def test_the_newest_comes_back_with_weights_buffers_and_both_moments(checkpoints: Checkpoints) -> None:
    assert checkpoints.steps() == [2, 3]
    expected, expected_optimizer = trained(3)
    model, optimizer = trained(0)
    state = checkpoints.resume(model, optimizer, ALONE)
    assert (state.step, state.seconds, state.losses) == (3, 30.0, [0.5] * 3)
    for name, tensor in expected.state_dict().items():
        if name != "1.num_batches_tracked":
            assert torch.equal(tensor, model.state_dict()[name]), name
    torch.testing.assert_close(
        optimizer.state_dict()["state"], expected_optimizer.state_dict()["state"], rtol=0, atol=0
    )


def test_steps_are_counted_on_the_device_that_a_fused_optimizer_computes_on(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "read", lambda *_: None)  # there is nothing to read into: these tensors have no memory
    model = nn.Linear(3, 2, device="meta")
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoints.resume(model, optimizer, ALONE)
    states = optimizer.state.values()
    assert {(name, one.device.type) for state in states for name, one in state.items()} == {
        ("step", "meta"),
        ("exp_avg", "meta"),
        ("exp_avg_sq", "meta"),
    }


@pytest.mark.parametrize("name", ["rank-00000.safetensors", STATE])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_one_is_left_out_and_written_over(
    checkpoints: Checkpoints, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = checkpoints.directory / "step-00000003" / name
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-7] if damage == "cut" else content[:1] + bytes([content[1] ^ 1]) + content[2:])
    assert checkpoints.resume(*trained(0), ALONE).step == 2
    assert "step 3 is left out" in caplog.text
    checkpoints.save(State(3), *trained(3), ALONE)
    assert checkpoints.resume(*trained(0), ALONE).step == 3


def test_what_a_crash_left_half_written_is_not_taken(checkpoints: Checkpoints) -> None:
    shutil.copytree(checkpoints.directory / "step-00000003", checkpoints.directory / "partial-00000004")
    assert checkpoints.resume(*trained(0), ALONE).step == 3


def test_other_works_checkpoints_are_not_taken(checkpoints: Checkpoints) -> None:
    other = Checkpoints(checkpoints.directory, "other work", keep=2)
    assert other.resume(*trained(0), ALONE) == State()
    other.save(State(1), *trained(1), ALONE)
    assert other.steps() == [1], "the newest is this work's own, however far the other one was"
    assert other.resume(*trained(0), ALONE).step == 1
