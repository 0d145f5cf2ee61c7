"""The pods of a run agree on rounds whatever happens to any of them, in whatever order."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.train import rendezvous
from deepseek_runtime.train.rendezvous import Leader, Member, Pods
from deepseek_runtime.wire.job import TrainJob
from hypothesis import given, settings
from hypothesis import strategies as st

from .pods import free_port

KEY, NODES = "run", 3
INDICES = st.integers(0, NODES - 1)


class Pod:
    """What a supervisor does: it starts what the others say, and ends it when they say so."""

    def __init__(self, index: int, port: int) -> None:
        self.pods: Pods = Leader(KEY, NODES, port) if index == 0 else Member(KEY, index, "127.0.0.1", port)
        self.started: str | None = None
        self.working = False

    def tick(self) -> None:
        round_ = self.pods.tick(self.started, working=self.working)
        if self.working and round_ != self.started:
            self.working = False
        elif not self.working and round_ not in (None, self.started):
            self.started, self.working = round_, True


class Run:
    """All pods of a run."""

    def __init__(self) -> None:
        self.port = free_port()
        self.pods = [Pod(index, self.port) for index in range(NODES)]

    def lose(self, index: int) -> None:
        """A pod is killed, and another one takes its place."""
        self.pods[index].pods.close()
        self.pods[index] = Pod(index, self.port)

    def settle(self, ticks: int = 12) -> None:
        for _ in range(ticks):
            for pod in self.pods:
                pod.tick()

    @property
    def rounds(self) -> set[str | None]:
        return {pod.started if pod.working else None for pod in self.pods}


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendezvous, "HERE_SECONDS", 0.0)
        yield


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("process", "pod")), INDICES, st.integers(0, 3)), max_size=6))
def test_all_work_in_one_round_again_after_any_losses(losses: list[tuple[str, int, int]]) -> None:
    run = Run()
    try:
        run.settle()
        seen = run.rounds
        assert len(seen) == 1
        assert None not in seen
        for what, index, ticks in losses:
            if what == "pod":
                run.lose(index)
            else:
                run.pods[index].working = False
            run.settle(ticks)
            assert len(run.rounds - {None}) <= 1, "two rounds at work at once"
        run.settle(16)
        assert len(run.rounds) == 1
        assert None not in run.rounds
        if losses:
            assert run.rounds.isdisjoint(seen), "what was started before a loss would wait for ever"
    finally:
        for pod in run.pods:
            pod.pods.close()


def test_nobody_starts_before_all_are_there() -> None:
    port = free_port()
    leader, first = Leader(KEY, NODES, port), Member(KEY, 1, "127.0.0.1", port)
    assert first.missing == (0,)
    for _ in range(5):
        assert first.tick(None, working=False) is None
        assert leader.tick(None, working=False) is None
    assert leader.missing == (2,)
    assert first.missing == ()
    first.close()
    leader.close()


def test_a_silent_pod_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    run.settle()
    monkeypatch.setattr(rendezvous, "SILENCE_SECONDS", -1.0)
    leader = run.pods[0]
    for _ in range(2):  # what was said before is still heard
        leader.tick()
    assert leader.pods.missing == (1, 2)
    assert not leader.working
    for pod in run.pods:
        pod.pods.close()


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"[]\n",
        b"x" * 5000,
        json.dumps({"key": "another attempt", "index": 1}).encode() + b"\n",
        json.dumps({"key": KEY, "index": 0}).encode() + b"\n",
        json.dumps({"key": KEY, "index": NODES}).encode() + b"\n",
        json.dumps({"key": KEY, "index": 1, "more": 1}).encode() + b"\n",
    ],
)
def test_strangers_are_hung_up_on(said: bytes) -> None:
    port = free_port()
    leader = Leader(KEY, NODES, port)
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(said)
        for _ in range(20):
            leader.tick(None, working=False)
        stranger.settimeout(5)
        with suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
    assert leader.missing == (1, 2)
    leader.close()


def test_several_pods_need_a_place_to_meet(job: TrainJob) -> None:
    with pytest.raises(ConfigurationError, match="host:port"):
        rendezvous.join(job.model_copy(update={"nodes": 2}), 1)
    assert rendezvous.join(job, 0).tick(None, working=False)
