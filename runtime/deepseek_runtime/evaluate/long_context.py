"""Whether a model uses a long context: perplexity of the same tokens after much text, and after little."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from deepseek_runtime.evaluate import perplexity
from deepseek_runtime.evaluate.windows import Window, windows
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.models import text
from deepseek_runtime.weights import seal
from deepseek_runtime.wire.job import LongContextJob
from deepseek_runtime.wire.result import JobResult, LongContext


def run(job: LongContextJob, reporter: Reporter) -> JobResult:
    """Measure a verified model and seal the figures."""
    directory = Path(job.input)
    perplexity.check_context(directory, job.tokens, "longContext.tokens")
    if job.tokens < 2 * job.context_length:
        raise ConfigurationError(
            "InvalidConfig",
            f"evaluation.longContext.tokens is {job.tokens}; it must be at least twice the short context of "
            f"{job.context_length}.",
        )
    documents = perplexity.read_documents(perplexity.load_tokenizer(directory), text.files(job.text), None)
    tokens = [token for document in documents for token in document.tokens]
    if len(tokens) < job.tokens:
        raise DataError(
            "TextTooShort",
            f"The text has {len(tokens)} tokens; evaluation.longContext.tokens is {job.tokens}. Give it more text.",
        )
    model = perplexity.load(directory)
    found = measure(model, tokens, job.tokens, job.context_length, job.windows, reporter)
    result = JobResult(kind=job.kind, identity=job.identity, outcome="succeeded", long_context=found)
    return seal.seal(place(job), job.identity, result)


def measure(
    model: PreTrainedModel, tokens: Sequence[int], length: int, short: int, most: int, reporter: Reporter
) -> LongContext:
    """Perplexity of the second half of each of the text's first windows of `length` tokens, at most `most` of them.

    Once with all of the window before it, so with `length` / 2 tokens of context or more; once with at most `short`,
    by windows that overlap by half, as the perplexity is measured.
    """
    began = time.monotonic()
    bos: int = model.config.bos_token_id
    count = min(most, len(tokens) // length)
    scored = count * (length - length // 2)
    nats, done = {"long": 0.0, "short": 0.0}, 0
    for number in range(count):
        before = tokens[number * length - 1] if number else bos
        part = tokens[number * length : (number + 1) * length]
        groups = [("long", [long_window(part, before)])]
        groups += [("short", group) for group in perplexity.grouped(short_windows(part, before, short), short)]
        for which, group in groups:
            nats[which] += perplexity.loss(model, group)
            done += sum(window.scored for window in group)
            speed = done / max(time.monotonic() - began, 1e-9)
            reporter.update("scoring", unit="tokens", done=done, total=2 * scored, tokens_per_second=speed)
    if not all(map(math.isfinite, nats.values())):
        raise DataError("NotFinite", "The model's predictions are NaN or infinite. Train or copy the model again.")
    return LongContext(
        tokens=length,
        perplexity=math.exp(min(nats["long"] / scored, 700.0)),
        short_tokens=short,
        short_perplexity=math.exp(min(nats["short"] / scored, 700.0)),
        ratio=math.exp(min((nats["long"] - nats["short"]) / scored, 700.0)),
        scored=scored,
        seconds=round(time.monotonic() - began, 3),
    )


def long_window(tokens: Sequence[int], before: int) -> Window:
    """All tokens at once, the second half scored."""
    return Window([before, *tokens[:-1]], tokens, len(tokens) // 2)


def short_windows(tokens: Sequence[int], before: int, context: int) -> Iterator[Window]:
    """Windows of at most `context` tokens that score the second half, each token after at least half of them."""
    begin = len(tokens) // 2 - context // 2
    for window in windows(tokens[begin:], tokens[begin - 1] if begin else before, context):
        yield Window(window.tokens, window.targets, window.first or context // 2)
