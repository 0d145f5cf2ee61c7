"""Splitting a model over ranks changes no token; ranks are threads here, their sums are made at a barrier."""

import random
import shutil
import statistics
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.serve import runner as runners
from deepseek_runtime.serve import weights
from deepseek_runtime.serve.cache import BLOCK_SIZE
from deepseek_runtime.serve.checkpoint import Checkpoint
from deepseek_runtime.serve.engine import Engine, Request
from deepseek_runtime.serve.layers import bank, int8
from deepseek_runtime.serve.layers.linear import Linear
from deepseek_runtime.serve.metrics import Metrics
from deepseek_runtime.serve.plan import Plan
from deepseek_runtime.serve.sampler import SamplingParams
from deepseek_runtime.serve.scheduler import Scheduler, Sequence
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.serve.weights import check_supported
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_config, load_model
from safetensors.torch import load_file, save_file

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
        ("v3-bf16", 2), ("v3-int8experts", 1), ("v3-int8experts", 2),
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
    monkeypatch.setattr(Checkpoint, "matrix", Checkpoint.read)
    monkeypatch.setattr(bank, "Linear", Rounding)
    monkeypatch.setattr(weights, "_project", Rounding)
    assert outputs == [request.output for request in answered(models(name), world)]


@pytest.mark.skipif(not int8.multiplies_int8(torch.device("cpu")), reason="this machine has no VNNI")
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("name", ["v3-static", "v2-static", "llama-static"])
def test_static_w8a8_is_what_evaluation_computes(models: Callable[[str], Model], name: str, world: int) -> None:
    """The scales are fixed, so the parts of a token that ranks hold are rounded as the whole is."""
    model = models(name)
    assert distance(model, world) < 1e-4
    for request in answered(model, world):
        assert request.output == greedy(model.reference, request.prompt, 12)


@pytest.mark.skipif(not int8.multiplies_int8(torch.device("cpu")), reason="this machine has no VNNI")
@pytest.mark.parametrize("name", ["v3-static", "llama-static"])
def test_layers_that_are_one_product_keep_static_scales_of_their_own(
    models: Callable[[str], Model], tmp_path: Path, name: str
) -> None:
    """Calibration gives them one, for they see the same; others' checkpoints may not."""
    directory = tmp_path / "model"
    shutil.copytree(models(name).directory, directory)
    stored = load_file(directory / "model.safetensors")
    apart = ("up_proj.input_scale", "k_proj.input_scale", "kv_a_proj_with_mqa.input_scale")
    changed = {key: tensor * 0.6 for key, tensor in stored.items() if key.endswith(apart)}
    save_file({**stored, **changed}, directory / "model.safetensors", {"format": "pt"})
    assert distance(Model(directory, manifest.write(directory).digest), 1) < 1e-4


def distance(model: Model, world: int) -> float:
    """Of the engine's logits from evaluation's, beside what the rounding of activations changes: the median of prompts.

    Where a number lies just between two levels its last bit decides, and what comes after follows: not all are near.
    """
    unrounded, found = load_model(model.directory, torch.float32), []
    with ranks(model, world) as forward:
        for prompt in torch.randint(2, VOCABULARY, (8, 12), generator=torch.Generator().manual_seed(3)):
            logits = first_logits(model, forward, prompt.tolist())
            with torch.inference_mode():
                expected, plain = (each(prompt[None]).logits[0, -1] for each in (model.reference, unrounded))
            found.append(float((logits - expected).norm() / (plain - expected).norm()))
    return statistics.median(found)


Forward = Callable[[Plan], torch.Tensor]


@contextmanager
def ranks(model: Model, world: int) -> Iterator[Forward]:
    """So many of them, who must agree."""
    meeting = Meeting(world)
    config = model.config(tensor_parallel=world, context_length=256)
    started = [runners.start(config, ThreadShard(rank, world, meeting), lambda d, t: None) for rank in range(world)]
    with ThreadPoolExecutor(world) as pool:

        def forward(plan: Plan) -> torch.Tensor:
            answers = [pool.submit(rank.forward, plan, lambda: None) for rank in started]
            logits = [answer.result() for answer in answers]
            assert all(torch.equal(logits[0], other) for other in logits)
            return logits[0]

        yield forward


def first_logits(model: Model, forward: Forward, prompt: list[int]) -> torch.Tensor:
    scheduler = Scheduler(runners.blocks(model.config(context_length=256)), BLOCK_SIZE, 8, 64)
    scheduler.add(Sequence(prompt, 1))
    step = scheduler.schedule()
    assert step is not None
    return forward(step.plan)[0]


def answered(model: Model, world: int) -> list[Request]:
    """Three requests at once, of different lengths."""
    with ranks(model, world) as forward:
        scheduler = Scheduler(runners.blocks(model.config(context_length=256)), BLOCK_SIZE, 8, 64)
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
