"""From a configuration to an engine that has generated a token."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import torch

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.nodecache.reading import find
from deepseek_runtime.serve import runner as runners
from deepseek_runtime.serve.cache import BLOCK_SIZE
from deepseek_runtime.serve.chat import Chat
from deepseek_runtime.serve.engine import Delta, Engine, Request
from deepseek_runtime.serve.engine_thread import Loaded
from deepseek_runtime.serve.metrics import Metrics
from deepseek_runtime.serve.plan import Plan
from deepseek_runtime.serve.rank import meet
from deepseek_runtime.serve.sampler import SamplingParams
from deepseek_runtime.serve.scheduler import Scheduler
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.serve.team import Team
from deepseek_runtime.serve.tokenizer import Tokenizer
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.wire.serve import ServeConfig

LOG = logging.getLogger(__name__)

PREFILL_TOKENS = {"cpu": 96, "cuda": 2048}
"""Prompt tokens of one iteration, beside one of every running answer: more of them make those answers stutter."""

WARM_UP_TOKENS = 80
"""Long enough for both forms of prefill to have run before anybody waits for them."""


def load(config: ServeConfig, team: Team, metrics: Metrics, reporter: Reporter, beat: Callable[[], None]) -> Loaded:
    """Verify, read, warm up; on the thread that will run the engine. Errors: DataError, ConfigurationError."""
    began = time.monotonic()
    directory = _verified(config, reporter)
    config = config.model_copy(update={"model": str(directory)})
    runners.check(config)
    reporter.update("meeting ranks", unit="ranks", done=0, total=config.tensor_parallel)
    rendezvous = team.admit(directory)
    shard = Shard() if rendezvous is None else meet(0, config.tensor_parallel, rendezvous)
    runner = runners.start(
        config, shard, lambda done, total: reporter.update("reading weights", unit="layers", done=done, total=total)
    )
    model_config = load_config(directory)
    tokenizer = Tokenizer(directory, model_config)
    chat = Chat.load(directory, tokenizer.backend, tokenizer.end)
    device = runner.model.rotary.table.device

    def forward(plan: Plan) -> torch.Tensor:
        team.send(plan)
        return runner.forward(plan, beat)

    def engine(figures: Metrics) -> Engine:
        budget = config.max_sequences + PREFILL_TOKENS[device.type]
        scheduler = Scheduler(runners.blocks(config), BLOCK_SIZE, config.max_sequences, budget)
        return Engine(scheduler, forward, tokenizer, figures)

    length = runners.context_length(config)
    reporter.update("warming up", unit="tokens", done=0, total=2)
    _warm_up(engine(Metrics("warm-up")), min(WARM_UP_TOKENS, length - 2))
    reporter.update("serving", unit="tokens", done=2, total=2)
    LOG.info(
        "engine ready: model=%s weights=%s dtype=%s device=%s ranks=%d threads=%d context=%d bytes_per_token=%d "
        "seconds=%.1f",
        config.served_name,
        directory,
        str(runner.model.dtype).removeprefix("torch."),
        device.type,
        shard.world,
        torch.get_num_threads(),
        length,
        runner.cache.bytes_per_token,
        time.monotonic() - began,
    )
    return Loaded(engine(metrics), tokenizer, chat, length, model_config.vocab_size)


def _verified(config: ServeConfig, reporter: Reporter) -> Path:
    """The node's copy of the weights where it has one that is whole and intact, else their own volume."""
    own, digest = Path(config.model), config.model_digest
    if digest is None:
        return own
    copy = find(Path(config.cache), digest) if config.cache is not None else None
    if copy is not None:
        try:
            manifest.verify(copy.artifact, digest, reporter)
        except (DataError, OSError) as error:
            LOG.warning("the node's copy is not used: %s", error)
            copy.release()
        else:
            return copy.artifact  # held as long as this process lives, for weights may be mapped
    manifest.verify(own, digest, reporter)
    return own


def _warm_up(engine: Engine, prompt_tokens: int) -> None:
    """Generate two tokens, by a prefill and by a decode; raises what a request would have met."""
    deltas: list[Delta] = []
    engine.add(Request([0] * prompt_tokens, 2, SamplingParams(temperature=0), deltas.append, ignore_end=True))
    while engine.step():
        pass
    if not deltas or deltas[-1].completion_tokens != 2:
        raise RuntimeError("the model generated no token")
