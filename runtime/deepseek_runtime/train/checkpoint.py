"""Checkpoints: weights and optimizer as safetensors, the rest as JSON, each whole or not there; nothing is pickled.

`checkpoints/<stage>/step-00000200/` holds `model.safetensors`, `optimizer.safetensors` (both moments of AdamW by
parameter name) and `state.json` with the digests of the two. The order of the data and every random number follow from
seed and step, so neither needs a place here.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from deepseek_runtime.train.team import Team

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
MOMENTS = ("exp_avg", "exp_avg_sq")
LOSSES_KEPT = 256
NONE = -1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """Where training stands after `step` steps. `losses` are those of the last steps, `seconds` of all pods so far."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    identity: str = ""
    digests: dict[str, str] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one stage; the first process writes, all read."""

    def __init__(self, directory: Path, identity: str, keep: int) -> None:
        self.directory, self.identity, self.keep = directory, identity, keep

    def save(self, state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write one, then remove those beyond `keep` and of other work. A crash leaves the earlier ones alone."""
        partial = self.directory / f"partial-{state.step:08d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_weights(model), partial / MODEL)
        save_file(_moments(model, optimizer), partial / OPTIMIZER)
        digests = {name: _digest(partial / name) for name in (MODEL, OPTIMIZER)}
        state = replace(state, losses=state.losses[-LOSSES_KEPT:], identity=self.identity, digests=digests)
        (partial / STATE).write_text(json.dumps(asdict(state)))
        for name in (MODEL, OPTIMIZER, STATE, "."):
            _sync(partial / name)
        target = self._path(state.step)
        shutil.rmtree(target, ignore_errors=True)  # one that was found damaged
        partial.rename(target)
        _sync(self.directory)
        kept = [step for step in self.steps() if self._is_ours(self._path(step))][-self.keep :]
        for step in set(self.steps()).difference(kept):
            shutil.rmtree(self._path(step))

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer, team: Team) -> State:
        """Take the newest undamaged checkpoint into model and optimizer; the initial state where there is none."""
        step = team.agree(self._newest() if team.first else NONE)
        if step == NONE:
            return State()
        path = self._path(step)
        with torch.no_grad():
            weights = load_file(path / MODEL)
            for name, tensor in _state_tensors(model).items():
                tensor.copy_(weights[name])
            moments = load_file(path / OPTIMIZER)
            for name, parameter in model.named_parameters():
                optimizer.state[parameter] = {"step": torch.tensor(float(step))} | {
                    moment: moments[f"{name}.{moment}"].to(parameter.device) for moment in MOMENTS
                }
        return _read(path)

    def steps(self) -> list[int]:
        """Of the checkpoints there are, oldest first."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.directory.glob("step-*"))

    def _newest(self) -> int:
        for step in reversed(self.steps()):
            if reason := self._damage(self._path(step)):
                log.warning("checkpoint of step %d is left out: %s", step, reason)
            else:
                return step
        return NONE

    def _damage(self, path: Path) -> str | None:
        try:
            state = _read(path)
            damaged = [name for name, digest in state.digests.items() if _digest(path / name) != digest]
        except (OSError, ValueError, TypeError) as error:
            return f"it cannot be read ({error})"
        if state.identity != self.identity:
            return f"it belongs to other work ({state.identity[:12]})"
        return f"{' and '.join(damaged)} changed since it was written" if damaged else None

    def _is_ours(self, path: Path) -> bool:
        try:
            return _read(path).identity == self.identity
        except (OSError, ValueError, TypeError):
            return False

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"


def _read(path: Path) -> State:
    return State(**json.loads((path / STATE).read_text()))


def _state_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters, shared ones once, and the buffers that a model is saved with."""
    kept = model.state_dict(keep_vars=True).keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in kept}
    return dict(model.named_parameters()) | buffers


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in _state_tensors(model).items()}


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{moment}": optimizer.state[parameter][moment].cpu().contiguous()
        for name, parameter in model.named_parameters()
        for moment in MOMENTS
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
