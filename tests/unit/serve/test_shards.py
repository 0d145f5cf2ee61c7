"""Splitting a model over ranks changes no token; ranks are threads here, their sums are made at a barrier."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.serve import checkpoint, weights
from deepseek_runtime.serve import runner as runners
from deepseek_runtime.serve.cache import BLOCK_SIZE
from deepseek_runtime.serve.engine import Engine, Request
from deepseek_runtime.serve.layers import bank, int8
from deepseek_runtime.serve.layers.linear import Linear
from deepseek_runtime.serve.metrics import Metrics
from deepseek_runtime.serve.plan import Plan
from deepseek_runtime.serve.sampler import SamplingParams
from deepseek_runtime.serve.scheduler import Scheduler
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.serve.weights import check_supported
from deepseek_runtime.weights.load import load_config

from tests.unit.serve.conftest import Model
from tests.unit.serve.models import VOCABULARY, greedy


class Meeting:
    """Collectives of threads."""

    def __init__(self, world: int) -> None:
        self.barrier = threading.Barrier(world)
        self.parts: list[torch.Tensor | None] = [None] * world

    def exchange(self, rank: int, x: torch.Tensor) -> list[torch.Tensor]:
        self.parts[rank] = x.clone()
        self.barrier.wait(timeout=30)
        parts = [part for part in self.parts if part is not None]
        self.barrier.wait(timeout=30)
        return parts


@dataclass(frozen=True)
class ThreadShard(Shard):
    meeting: Meeting = None  # type: ignore[assignment]

    def all_reduce(self, x: torch.Tensor) -> torch.Tensor:
        return x.copy_(torch.stack(self.meeting.exchange(self.rank, x)).sum(0))

    def all_gather(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.meeting.exchange(self.rank, x), -1)


@pytest.mark.parametrize(
    ("name", "world"),
    [
        ("v3", 2), ("v2", 2), ("llama", 2), ("llama", 4), ("v3", 4), ("v3-int8", 1), ("v3-int8", 2), ("llama-int8", 2),
        *((f"{family}-{scheme}", world) for family in ("v3", "v2", "llama") for world in (1, 2)
          for scheme in ("int4", "fp8", "fp8block")),
        ("v3-bf16", 2),
    ],
)  # fmt: skip
def test_tokens_are_those_of_the_whole_model(models: Callable[[str], Model], name: str, world: int) -> None:
    """On four ranks llama has fewer key-value heads than ranks; quantized weights are compared with themselves."""
    model = models(name)
    for request in answered(model, world):
        assert request.output == greedy(model.reference, request.prompt, 12)


@pytest.mark.skipif(not int8.multiplies_int8(torch.device("cpu")), reason="this machine has no VNNI")
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("name", ["v3-w8a8", "v2-w8a8", "llama-w8a8"])
def test_w8a8_tokens_are_those_of_rounded_activations(
    models: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch, name: str, world: int
) -> None:
    """Bytes times bytes give the tokens of plain products whose inputs each rank has rounded."""

    class Rounding(Linear):
        def __call__(self, x: torch.Tensor, add: torch.Tensor | None = None) -> torch.Tensor:
            scale = x.abs().amax(-1, keepdim=True) / 127
            return super().__call__((x / scale).round() * scale, add)

    outputs = [request.output for request in answered(models(name), world)]
    monkeypatch.setattr(checkpoint, "multiplies_int8", lambda device: False)
    monkeypatch.setattr(bank, "Linear", Rounding)
    monkeypatch.setattr(weights, "_project", Rounding)
    assert outputs == [request.output for request in answered(models(name), world)]


def answered(model: Model, world: int) -> list[Request]:
    """Three requests at once, of different lengths, by so many ranks that must agree."""
    meeting = Meeting(world)
    config = model.config(tensor_parallel=world, context_length=256)
    ranks = [runners.start(config, ThreadShard(rank, world, meeting), lambda d, t: None) for rank in range(world)]
    with ThreadPoolExecutor(world) as pool:

        def forward(plan: Plan) -> torch.Tensor:
            answers = [pool.submit(rank.forward, plan, lambda: None) for rank in ranks]
            logits = [answer.result() for answer in answers]
            assert all(torch.equal(logits[0], other) for other in logits)
            return logits[0]

        scheduler = Scheduler(runners.blocks(config), BLOCK_SIZE, 8, 64)
        engine = Engine(scheduler, forward, model.tokenizer, Metrics("tiny"))
        rnd = random.Random(5)
        requests = [
            Request([rnd.randrange(2, VOCABULARY) for _ in range(n)], 12, SamplingParams(temperature=0),
                    lambda delta: None, ignore_end=True)
            for n in (1, 30, 75)
        ]  # fmt: skip
        for request in requests:
            engine.add(request)
        while engine.step():
            pass
    return requests


@pytest.mark.parametrize(("name", "world"), [("v3", 3), ("llama", 8), ("v3", 8)])
def test_heads_that_do_not_divide_are_refused_with_the_numbers_that_do(
    models: Callable[[str], Model], name: str, world: int
) -> None:
    with pytest.raises(ConfigurationError, match="one of 1, 2, 4") as refused:
        check_supported(load_config(models(name).directory), world, torch.device("cpu"))
    assert refused.value.reason == "HeadsNotDivisible"
    assert refused.value.code == 64


@pytest.mark.parametrize(("size", "world"), [(96, 2), (32, 4), (33, 2), (7, 3), (1408, 6), (16, 3)])
def test_bounds_cover_everything_once(size: int, world: int) -> None:
    bounds = [Shard(rank, world).bounds(size) for rank in range(world)]
    assert [first for first, _ in bounds] == [0] + [last for _, last in bounds[:-1]]
    assert bounds[-1][1] == size
    assert all(last > first for first, last in bounds)
