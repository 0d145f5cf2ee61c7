"""How fast the builtin engine generates with a model in fp32, in bf16 and in both kinds of int8.

Each form is served by a process of its own, as in a pod, and they take turns; the others wait without spinning.
"""

import multiprocessing
import os
import time
from collections import abc
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from deepseek_runtime.serve import runner as runners
from deepseek_runtime.serve.cache import BLOCK_SIZE
from deepseek_runtime.serve.runner import Runner
from deepseek_runtime.serve.scheduler import Scheduler, Sequence
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.wire.serve import ServeConfig

from benchmarks.report import Measurement, at_least, at_most
from benchmarks.runtime.models import model
from benchmarks.runtime.rounds import ROUNDS, middle, ratios

BATCHES = (1, 8)
TOKENS = 32
_PROMPT = 32
_FORMS = {"fp32": "float32", "bf16": "bfloat16", "int8 weight-only": "bfloat16", "int8 dynamic": "bfloat16"}
_INT8 = ("int8 weight-only", "int8 dynamic")
_FASTER, _NOT_SLOWER, _SMALLER = 2.0, 1.0, 0.3


def run(scratch: Path) -> list[Measurement]:
    """Tokens in a second at each batch size, ratios round by round, and the memory that each form takes."""
    found: list[Measurement] = []
    with _engines(scratch) as engines:
        memory = {form: engine.recv() for form, engine in engines.items()}
        for batch in BATCHES:
            rates = _rates(engines, batch)
            for form, each in rates.items():
                found.append(Measurement(f"decode, batch {batch}, {form}", *_figure(each, "tokens/s")))
            best = max(_INT8, key=lambda form: sum(rates[form]))
            for other, bound in (("fp32", _FASTER), ("bf16", _NOT_SLOWER)):
                value, spread = middle(ratios(rates[best], rates[other]), "x")
                metric = f"decode, batch {batch}, best int8 ({best.removeprefix('int8 ')}) against {other}"
                found.append(Measurement(metric, value, "x", spread, at_least(bound)))
    for form, size in memory.items():
        found.append(Measurement(f"engine's memory for weights and cache, {form}", size, "MB"))
    worst = max(memory[form] for form in _INT8) / memory["fp32"]
    found.append(Measurement("engine's memory, int8 against fp32", worst, "x", "", at_most(_SMALLER)))
    return found


def _figure(values: abc.Sequence[float], unit: str) -> tuple[float, str, str]:
    value, spread = middle(values)
    return value, unit, spread


def _rates(engines: dict[str, Connection], batch: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {form: [] for form in engines}
    for number in range(ROUNDS + 1):
        for form, engine in engines.items():
            engine.send(batch)
            rate = engine.recv()
            if number:  # the first round warms up
                rates[form].append(rate)
    return rates


@contextmanager
def _engines(scratch: Path) -> Iterator[dict[str, Connection]]:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # as the operator starts engines
    context = multiprocessing.get_context("spawn")
    engines: dict[str, Connection] = {}
    processes = []
    try:
        for form, dtype in _FORMS.items():
            engines[form], theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, model(scratch, form), dtype), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
        yield engines
    finally:
        for engine in engines.values():
            engine.close()
        for process in processes:
            process.join()


def _serve(asked: Connection, directory: Path, dtype: str) -> None:
    """Tell the memory, then the rate at every batch size that is asked for, until nobody asks."""
    tokens = max(BATCHES) * (_PROMPT + TOKENS + 16)
    config = ServeConfig(owner="benchmark", served_name="model", model=str(directory), dtype=dtype, cache_tokens=tokens)
    before = _memory()
    runner = runners.start(config, Shard(), lambda done, total: None)
    asked.send(_memory() - before)
    while True:
        try:
            batch = asked.recv()
        except EOFError:
            return
        asked.send(_decode(runner, runners.blocks(config), batch))


def _decode(runner: Runner, blocks: int, batch: int) -> float:
    """Tokens in a second after the first of each sequence."""
    scheduler = Scheduler(blocks, BLOCK_SIZE, batch, batch * _PROMPT)
    sequences = [Sequence([2 + number] * _PROMPT, TOKENS) for number in range(batch)]
    for sequence in sequences:
        scheduler.add(sequence)
    began, generated = 0.0, 0
    while any(len(sequence.output) < TOKENS for sequence in sequences):
        step = scheduler.schedule()
        if step is None:
            raise RuntimeError("nothing to compute, and not everything is generated")
        logits = runner.forward(step.plan, lambda: None)
        for sequence, token in zip(step.emit, logits.argmax(-1).tolist(), strict=True):
            sequence.tokens.append(token)
        generated += len(step.emit)
        if not began:
            began, generated = time.perf_counter(), 0
    return generated / (time.perf_counter() - began)


def _memory() -> float:
    """MB of this process that no file stands behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1.024e-3
