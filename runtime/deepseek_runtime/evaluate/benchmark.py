"""How fast the builtin engine is with a model, and how much memory it takes, on the machine where this runs."""

import platform
import random
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.serve import loading
from deepseek_runtime.serve.cache import BLOCK_SIZE
from deepseek_runtime.serve.engine import Delta, Engine, Request
from deepseek_runtime.serve.metrics import Metrics
from deepseek_runtime.serve.runner import pick_device
from deepseek_runtime.serve.sampler import SamplingParams
from deepseek_runtime.serve.scheduler import WATERMARK
from deepseek_runtime.serve.team import Team
from deepseek_runtime.serve.weights import choose_dtype
from deepseek_runtime.weights import seal
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.wire.job import BenchmarkJob
from deepseek_runtime.wire.result import Benchmark, JobResult
from deepseek_runtime.wire.serve import ServeConfig

ROUNDS = 3
"""Each with all requests at once, after one that is not counted. The median is reported, and the range of the speed."""


@dataclass(frozen=True, slots=True)
class _Round:
    """One round's figures: tokens per second of all answers together, seconds to each answer's first token."""

    speed: float
    first: Sequence[float]


def run(job: BenchmarkJob, reporter: Reporter) -> JobResult:
    """Measure a verified model and seal the figures with the conditions they were measured under."""
    length, longest = job.prompt_tokens + job.output_tokens, load_config(job.input).max_position_embeddings
    if length > longest:
        raise ConfigurationError(
            "ContextTooLong",
            f"evaluation.benchmark asks for {job.prompt_tokens} + {job.output_tokens} tokens; the model has {longest}.",
        )
    config = ServeConfig(
        owner=job.owner,
        served_name="benchmark",
        model=job.input,
        context_length=length,
        max_sequences=job.concurrency,
        cache_tokens=_cache_tokens(length, job.concurrency),
    )
    loaded = loading.load(config, Team(config), Metrics("benchmark"), reporter, lambda: None)
    try:
        rounds = []
        for number in range(1 + ROUNDS):
            rounds.append(_round(loaded.engine, job, loaded.vocab_size, seed=number))
            reporter.update("benchmarking", unit="rounds", done=len(rounds), total=1 + ROUNDS)
    finally:
        loaded.chat.close()
    result = JobResult(
        kind=job.kind, identity=job.identity, outcome="succeeded", benchmark=_figures(job, config, rounds[1:])
    )
    return seal.seal(place(job), job.identity, result)


def _cache_tokens(length: int, concurrency: int) -> int:
    """Room for all requests at once and the scheduler's reserve, so that none waits and none is computed twice."""
    whole = -(-length // BLOCK_SIZE) * BLOCK_SIZE * concurrency
    return int(whole * (1 + 2 * WATERMARK)) + 2 * BLOCK_SIZE


def _round(engine: Engine, job: BenchmarkJob, vocabulary: int, seed: int) -> _Round:
    """All requests at once: random prompts, and answers of exactly the tokens that are asked for."""
    source = random.Random(seed)
    deltas: list[Delta] = []
    prompts = [[source.randrange(vocabulary) for _ in range(job.prompt_tokens)] for _ in range(job.concurrency)]
    began = time.monotonic()
    requests = [
        Request(prompt, job.output_tokens, SamplingParams(temperature=0), deltas.append, ignore_end=True)
        for prompt in prompts
    ]
    for request in requests:
        engine.add(request)
    firsts: dict[int, float] = {}
    while engine.step():
        now = time.monotonic()
        for index, request in enumerate(requests):
            if request.output:
                firsts.setdefault(index, now - began)  # a delta waits for a whole character, a token does not
    produced = sum(len(request.output) for request in requests)
    if produced != job.concurrency * job.output_tokens:
        raise RuntimeError(f"{produced} tokens were generated, not {job.concurrency} x {job.output_tokens}")
    return _Round(produced / max(time.monotonic() - began, 1e-9), list(firsts.values()))


def _figures(job: BenchmarkJob, config: ServeConfig, rounds: Sequence[_Round]) -> Benchmark:
    device = pick_device(0, 1)
    gpu = device.type == "cuda"
    return Benchmark(
        output_tokens_per_second=statistics.median(each.speed for each in rounds),
        slowest=min(each.speed for each in rounds),
        fastest=max(each.speed for each in rounds),
        time_to_first_token_ms=1000 * statistics.median(first for each in rounds for first in each.first),
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        gpu_memory_bytes=torch.cuda.max_memory_allocated(device) if gpu else None,
        prompt_tokens=job.prompt_tokens,
        output_tokens=job.output_tokens,
        concurrency=job.concurrency,
        processor=torch.cuda.get_device_name(device) if gpu else processor(),
        threads=torch.get_num_threads(),
        dtype=str(choose_dtype(config.dtype, device)).removeprefix("torch."),
        torch=torch.__version__,
    )


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's name, or its architecture where the kernel does not say."""
    try:
        lines = cpuinfo.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
