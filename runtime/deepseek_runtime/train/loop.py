"""The training loop: next-token prediction, batch after batch."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from deepseek_runtime.train.balance import ExpertBalance
from deepseek_runtime.train.batch import Batches, loss
from deepseek_runtime.train.checkpoint import Checkpoints, State
from deepseek_runtime.train.distribute import distribute, whole
from deepseek_runtime.train.exchange import Outcome, Status
from deepseek_runtime.train.meter import Meter
from deepseek_runtime.train.optimizer import adamw
from deepseek_runtime.train.schedule import learning_rate
from deepseek_runtime.train.team import Team
from deepseek_runtime.wire.job import TrainJob

READ_EVERY = 10  # steps between two looks at the loss on an accelerator; on a CPU looking costs nothing
LOG_EVERY = 50

log = logging.getLogger(__name__)


def train(
    job: TrainJob,
    model: nn.Module,
    batches: Batches,
    team: Team,
    checkpoints: Checkpoints,
    *,
    show: Callable[[Status], None],
    stopping: Callable[[], bool],
) -> Outcome:
    """Train `model` (float32, on the team's device) in place on all batches, or until `stopping` says so.

    Starts from the newest checkpoint if there is one, and ends with one. The same run on another number of processes
    sees the same batches and gives the same losses but for rounding. DataError where the loss is not finite any more.
    """
    settings = job.hyperparameters
    balance = ExpertBalance(model)
    forward = distribute(model, team, job.strategy)
    optimizer = adamw(model, settings)
    start = checkpoints.resume(model, optimizer, team)
    saved = start.step
    meter = Meter(start.step, batches.tokens_per_step, start.seconds, start.losses)
    autocast = _autocast(settings.precision, team.device)
    read_every = READ_EVERY if team.device.type == "cuda" else 1
    model.train()
    if start.step:
        log.info("going on from the checkpoint of step %d", start.step)

    step, steps, stopped = start.step, batches.steps, False
    while step < steps and not stopped:
        torch.manual_seed(settings.seed * steps + step)  # dropout, where a model has it, then needs no saved state
        rate = learning_rate(step, steps, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate

        batch = batches.batch(step, team.rank, team.size).to(team.device)
        balance.counted = batch.filled
        with autocast:
            logits = forward(input_ids=batch.inputs, position_ids=batch.positions, use_cache=False).logits
        mean = loss(logits, batch, team.size)
        torch.autograd.backward(mean)
        norm = whole(nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        balance.step(team)
        meter.add(team.sum(mean.detach()) / team.size, norm)
        step += 1

        stopped = team.any(mine=team.speaks and stopping())
        save = step == steps or stopped or step % job.checkpoint_every_steps == 0
        if save or step % read_every == 0:
            meter.read()
        if save:
            checkpoints.save(State(step, meter.seconds, list(meter.losses)), model, optimizer, team)
            saved = step
        if save or step % read_every == 0:
            speed = meter.tokens_per_second
            show(Status("step", "step", step, steps, speed, meter.loss, rate, saved or None, batches.examples))
        if team.first and (step % LOG_EVERY == 0 or step == steps):
            log.info("step %d of %d: loss %.3f, %.0f tokens/s", step, steps, meter.loss, meter.tokens_per_second)

    return Outcome(
        finished=step == steps,
        steps=step,
        tokens=round(step * batches.tokens_per_step),
        loss=meter.loss,
        seconds=meter.seconds,
        resumed_from_step=start.step,
        examples=batches.examples,
    )


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in bfloat16; weights, gradients and optimizer stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
