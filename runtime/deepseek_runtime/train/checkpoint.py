"""Checkpoints: weights and optimizer as safetensors, the rest as JSON, each whole or not there; nothing is pickled.

`checkpoints/<stage>/step-00000200/` holds `rank-00000.safetensors` and so on, one file from each process that had
something to write (weights, and both moments of AdamW by parameter name), and `state.json` with the digest of each,
written last: no byte of the others is looked at before it is known to be the one that was written. The order of the
data and every random number follow from seed and step, so neither needs a place here.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from deepseek_runtime.train import shards
from deepseek_runtime.train.team import Team

STATE = "state.json"
MOMENTS = ("exp_avg", "exp_avg_sq")
LOSSES_KEPT = 256
NONE = -1
NOTHING = "00" * 32
"""Stands for the digest of a process that had nothing to write."""

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
    """The checkpoints of one stage. All processes call `save` and `resume` at the same step."""

    def __init__(self, directory: Path, identity: str, keep: int) -> None:
        self.directory, self.identity, self.keep = directory, identity, keep

    def save(self, state: State, model: nn.Module, optimizer: torch.optim.Optimizer, team: Team) -> None:
        """Write one, then remove those beyond `keep` and of other work. A crash leaves the earlier ones alone."""
        partial = self.directory / f"partial-{state.step:08d}"
        tensors = _state_tensors(model) | _moments(model, optimizer)
        if team.first:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        if sharded := shards.is_sharded(tensors):
            team.meet()  # the directory is empty now
        if not (team.first or sharded):
            return
        written = shards.write(tensors, partial, team.rank)
        digest = _digest(written) if written else NOTHING
        if written:
            _sync(written)
        found = team.collect(bytes.fromhex(digest)) if sharded else [bytes.fromhex(digest)]
        if team.first:
            digests = {shards.name(rank): one.hex() for rank, one in enumerate(found) if one.hex() != NOTHING}
            self._seal(partial, replace(state, identity=self.identity, digests=digests))

    def _seal(self, partial: Path, state: State) -> None:
        (partial / STATE).write_text(json.dumps(asdict(replace(state, losses=state.losses[-LOSSES_KEPT:]))))
        for name in (STATE, "."):
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
        for parameter in model.parameters():
            # A fused optimizer counts its steps where it computes: one kernel reads them with the moments.
            optimizer.state[parameter] = {"step": torch.tensor(float(step), device=parameter.device)} | {
                moment: torch.zeros_like(parameter) for moment in MOMENTS
            }
        shards.read(_state_tensors(model) | _moments(model, optimizer), path)
        return _read(path)

    def read_weights(self, model: nn.Module) -> None:
        """Take the weights of the newest checkpoint alone."""
        shards.read(_state_tensors(model), self._path(self.steps()[-1]))

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


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{moment}": optimizer.state[parameter][moment]
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
