"""One of the processes that train: `python -m deepseek_runtime.train.worker DIRECTORY`, started by torchrun's agent."""

import ctypes
import logging
import os
import signal
import sys
import time
from pathlib import Path

import torch

from deepseek_runtime.job.errors import JobError
from deepseek_runtime.job.failures import explain
from deepseek_runtime.train.checkpoint import Checkpoints
from deepseek_runtime.train.data import prepare
from deepseek_runtime.train.exchange import CONTACT_LOST, Assignment, Exchange, Failure, Status
from deepseek_runtime.train.export import export
from deepseek_runtime.train.loop import train
from deepseek_runtime.train.team import Team, lost_contact
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.paths import CHECKPOINTS

EXPERTS_ON_GPUS = "eager"
"""transformers' loop over experts, which autocast takes to bfloat16.

On a CPU its grouped product stays: that keeps routed experts in float32. In bfloat16 oneDNN compiles and keeps a kernel
of some 0.8 MB for each count of tokens that an expert ever gets: half the speed, and a gigabyte in each process.
"""


def work(exchange: Exchange, assignment: Assignment, team: Team) -> None:
    """Prepare the data, train, export; the first process writes, the others wait where they need what it wrote."""
    job, model_path = assignment.job, Path(assignment.job.input)

    def show(status: Status) -> None:
        if team.speaks:
            exchange.show(status)

    show(Status("loading", total=job.steps or 0))
    model = load_model(model_path, torch.float32)
    if team.device.type == "cuda":
        model.set_experts_implementation(EXPERTS_ON_GPUS)
    torch.nn.Module.to(model, team.device)
    directory = Path(job.output) / CHECKPOINTS / job.stage
    batches = prepare(job, model.config, directory, team, show)
    checkpoints = Checkpoints(directory, job.identity, job.keep_checkpoints)
    outcome = train(
        job,
        model,
        batches,
        team,
        checkpoints,
        show=show,
        stopping=lambda: exchange.stopping(assignment.supervisor),
    )
    if outcome.finished:
        total = outcome.steps
        show(Status("exporting", done=total, total=total, loss=outcome.loss, checkpoint_step=total))
        if team.first:
            exchange.deliver(export(checkpoints, model_path, assignment.export))
    if team.speaks:
        exchange.end(outcome)


def main() -> None:
    """Work, and leave a word about any error for the supervisor before dying of it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _die_with_parent()
    exchange = Exchange(Path(sys.argv[1]))
    assignment = exchange.assignment()
    try:
        team = Team.join(exchange.directory, assignment)
        work(exchange, assignment, team)
        team.leave()
    except BaseException as error:
        failure = explain(error, Path(assignment.job.output))
        if lost_contact(error):
            failure = JobError(CONTACT_LOST, f"Another process was lost or cannot be reached: {error}")
        rank = assignment.index * assignment.job.processes + int(os.environ["RANK"])
        exchange.fail(Failure(time.time(), rank, failure.code, failure.reason, failure.message))
        raise


def _die_with_parent() -> None:
    """Have the kernel kill this process when torchrun's agent dies, however it dies (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    main()
