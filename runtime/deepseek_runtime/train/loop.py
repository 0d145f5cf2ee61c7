"""The training loop: next-token prediction on windows of text."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from deepseek_runtime.train.balance import ExpertBalance
from deepseek_runtime.train.checkpoint import Checkpoints, State
from deepseek_runtime.train.exchange import Outcome, Status
from deepseek_runtime.train.meter import Meter
from deepseek_runtime.train.optimizer import adamw
from deepseek_runtime.train.schedule import learning_rate
from deepseek_runtime.train.team import Team
from deepseek_runtime.train.windows import Windows
from deepseek_runtime.wire.job import TrainJob

READ_EVERY = 10  # steps between two looks at the loss on an accelerator; on a CPU looking costs nothing
LOG_EVERY = 50

log = logging.getLogger(__name__)


def train(
    job: TrainJob,
    model: nn.Module,
    windows: Windows,
    team: Team,
    checkpoints: Checkpoints,
    *,
    show: Callable[[Status], None],
    stopping: Callable[[], bool],
) -> Outcome:
    """Train `model` (float32, on the team's device) in place up to `job.steps`, or until `stopping` says so.

    Starts from the newest checkpoint if there is one, and ends with one. The same run on another number of processes
    sees the same batches and gives the same losses but for rounding. DataError where the loss is not finite any more.
    """
    settings = job.hyperparameters
    optimizer = adamw(model, settings)
    start = checkpoints.resume(model, optimizer, team)
    saved = start.step
    meter = Meter(start.step, settings.batch_size * settings.sequence_length, start.seconds, start.losses)
    balance = ExpertBalance(model)
    forward = model if team.size == 1 else _distributed(model, team)
    autocast = _autocast(settings.precision, team.device)
    read_every = READ_EVERY if team.device.type == "cuda" else 1
    model.train()
    if start.step:
        log.info("going on from the checkpoint of step %d", start.step)

    step, stopped = start.step, False
    while step < job.steps and not stopped:
        torch.manual_seed(settings.seed * job.steps + step)  # dropout, where a model has it, then needs no saved state
        rate = learning_rate(step, job.steps, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate

        rows = torch.from_numpy(windows.rows(step, team.rank, team.size)).to(team.device)
        with autocast:
            logits = forward(input_ids=rows[:, :-1], use_cache=False).logits
        loss = cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        balance.step(team)
        meter.add(team.sum(loss.detach()) / team.size, norm)
        step += 1

        stopped = bool(team.agree(int(team.first and stopping())))
        save = step == job.steps or stopped or step % job.checkpoint_every_steps == 0
        if save or step % read_every == 0:
            meter.read()
        if save:
            if team.first:
                checkpoints.save(State(step, meter.seconds, list(meter.losses)), model, optimizer)
            saved = step
        if team.first and (save or step % read_every == 0):
            show(Status("step", "step", step, job.steps, meter.tokens_per_second, meter.loss, rate, saved or None))
        if team.first and (step % LOG_EVERY == 0 or step == job.steps):
            log.info("step %d of %d: loss %.3f, %.0f tokens/s", step, job.steps, meter.loss, meter.tokens_per_second)

    return Outcome(
        finished=step == job.steps,
        steps=step,
        tokens=step * settings.batch_size * settings.sequence_length,
        loss=meter.loss,
        seconds=meter.seconds,
        resumed_from_step=start.step,
    )


def _distributed(model: nn.Module, team: Team) -> DistributedDataParallel:
    """Gradients averaged over the team as they come; buffers are kept equal by what changes them."""
    devices = [team.device] if team.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=False, gradient_as_bucket_view=True)


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in bfloat16; weights, gradients and optimizer stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
