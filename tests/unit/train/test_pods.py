"""A run over several pods: the same result, and every loss survived."""

import json
import os
import signal
from pathlib import Path

import pytest
from deepseek_runtime.weights import seal
from deepseek_runtime.wire.job import TrainJob

from .conftest import hyperparameters
from .pods import descendants, running, wait
from .test_loop import losses_of, run

SMALL_RATE = hyperparameters(learning_rate=1e-4)


def losses(job: TrainJob) -> list[float]:
    newest = max(Path(job.output, "checkpoints", "pretrain").glob("step-*"))
    found: list[float] = json.loads((newest / "state.json").read_text())["losses"]
    return found


@pytest.mark.timeout(300)  # processes that import torch, on a machine with other work
@pytest.mark.parametrize("strategy", ["fsdp"])
def test_two_pods_learn_what_one_process_does(job: TrainJob, tmp_path: Path, strategy: str) -> None:
    job = job.model_copy(update={"hyperparameters": SMALL_RATE})
    several = job.model_copy(update={"nodes": 2, "strategy": strategy, "output": str(tmp_path / "several")})
    with running(several, tmp_path / "pods") as pods:
        for pod in pods:
            wait("the end", pods, lambda pod=pod: pod.process.poll() is not None)  # type: ignore[misc]
        assert [pod.process.returncode for pod in pods] == [0, 0], pods[0].log.read_text()[-3000:]
        results = [pod.result() for pod in pods]
    assert results[0]["artifact"] == results[1]["artifact"]
    assert seal.sealed(Path(several.output, "stages", "pretrain"), job.identity)
    run(job)
    assert losses(several) == pytest.approx(losses_of(job), rel=1e-3)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("victim", "what"), [(1, "worker"), (0, "supervisor")])
def test_whatever_is_killed_they_go_on_from_the_checkpoint(
    job: TrainJob, tmp_path: Path, victim: int, what: str
) -> None:
    job = job.model_copy(update={"nodes": 2, "steps": 4000, "checkpoint_every_steps": 10})
    with running(job, tmp_path / "pods") as pods:
        wait("a checkpoint", pods, lambda: pods[0].step() >= 10)
        lost = pods[victim]
        agents = descendants(lost.process.pid, "deepseek_runtime.train.group")
        if what == "worker":
            os.kill(descendants(lost.process.pid, "deepseek_runtime.train.worker")[0], signal.SIGKILL)
        else:
            os.kill(lost.process.pid, signal.SIGKILL)
            for agent in agents:  # the container's other processes die with its first
                os.kill(agent, signal.SIGKILL)
        took = wait("the end of the pod", pods, lambda: lost.process.poll() is not None, 20)
        assert lost.process.returncode == (70 if what == "worker" else -signal.SIGKILL)
        other = pods[1 - victim]
        took += wait(
            "no process left", pods, lambda: not descendants(other.process.pid, "deepseek_runtime.train.group"), 20
        )
        before = pods[0].step()
        lost.start()
        again = wait("another step", pods, lambda: pods[0].step() > before)
        print(
            f"\n{what} of pod {victim}: all ended after {took:.1f} s, further checkpoint {again:.1f} s after its start"
        )
        assert other.process.poll() is None
