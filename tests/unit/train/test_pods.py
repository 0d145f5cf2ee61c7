"""A run over several pods: whatever is killed, it learns what one process would have."""

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from deepseek_runtime.weights import seal
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import TrainJob

from .conftest import hyperparameters
from .pods import Pod, descendants, running, wait
from .test_loop import losses_of, run

AGENT, WORKER = "deepseek_runtime.train.group", "deepseek_runtime.train.worker"


def kill_a_process(pod: Pod) -> None:
    os.kill(descendants(pod.process.pid, WORKER)[0], signal.SIGKILL)


def kill_the_agent(pod: Pod) -> None:
    os.kill(descendants(pod.process.pid, AGENT)[0], signal.SIGKILL)


def kill_the_pod(pod: Pod) -> None:
    agents = descendants(pod.process.pid, AGENT)
    for process in (pod.process.pid, *agents):  # the others of a container die with its first
        os.kill(process, signal.SIGKILL)


def stop_the_pod(pod: Pod) -> None:
    pod.process.terminate()


ENDS: dict[Callable[[Pod], None], int] = {
    kill_a_process: ExitCode.INTERNAL,
    kill_the_agent: ExitCode.INTERNAL,
    kill_the_pod: -signal.SIGKILL,
    stop_the_pod: ExitCode.INTERRUPTED,
}


@pytest.mark.timeout(300)  # processes that import torch, on a machine with other work
def test_killed_somewhere_two_sharded_pods_learn_what_one_process_does(job: TrainJob, tmp_path: Path) -> None:
    victim, kill = random.randrange(2), random.choice(list(ENDS))
    print(f"{kill.__name__} {victim}")
    settings = hyperparameters(learning_rate=1e-4)
    job = job.model_copy(update={"steps": 120, "checkpoint_every_steps": 10, "hyperparameters": settings})
    several = job.model_copy(update={"nodes": 2, "strategy": "fsdp", "output": str(tmp_path / "several")})
    with running(several, tmp_path / "pods") as pods:
        lost, other = pods[victim], pods[1 - victim]
        wait("a checkpoint", pods, lambda: lost.step() >= 10)
        kill(lost)
        wait("the end of the pod", pods, lambda: lost.process.poll() is not None, 60)
        assert lost.process.returncode == ENDS[kill], lost.log.read_text()[-2000:]
        wait("no process left", pods, lambda: not descendants(other.process.pid, AGENT), 30)
        assert other.process.poll() is None, "the others wait for its successor"
        lost.start()
        for pod in pods:
            wait("the end", pods, lambda pod=pod: pod.process.poll() is not None)  # type: ignore[misc]
        assert [pod.process.returncode for pod in pods] == [0, 0], pods[0].log.read_text()[-2000:]
        results = [pod.result() for pod in pods]
    assert results[0]["artifact"] == results[1]["artifact"]
    assert results[0]["training"]["resumedFromStep"] >= 10
    assert seal.sealed(Path(several.output, "stages", "pretrain"), job.identity)
    run(job)
    newest = max(Path(several.output, "checkpoints", "pretrain").glob("step-*"))
    assert sorted(path.name for path in newest.glob("*.safetensors")) == [
        "rank-00000.safetensors",
        "rank-00001.safetensors",
    ]
    assert json.loads((newest / "state.json").read_text())["losses"] == pytest.approx(losses_of(job), rel=1e-3)
