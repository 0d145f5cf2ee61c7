"""How far a variant's predictions are from its base's: KL divergence and top-1 agreement.

The models are in memory one after the other. Between them the base's last hidden states, exact and far smaller than its
logits, lie in a file of the scratch volume: 4 bytes x hidden size for each token, 400 MB for 100,000 tokens of width
1024. The base's output layer stays in memory.
"""

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from deepseek_runtime.evaluate import perplexity
from deepseek_runtime.evaluate.perplexity import Document, batches, last_states
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.models import text
from deepseek_runtime.weights import seal
from deepseek_runtime.wire.job import CompareJob
from deepseek_runtime.wire.result import Comparison, JobResult


def run(job: CompareJob, reporter: Reporter) -> JobResult:
    """Compare two verified models and seal the figures."""
    directory, base = Path(job.input), Path(job.base)
    files = text.files(job.text)
    for model in (directory, base):
        perplexity.check_context(model, job.context_length)
    documents = perplexity.read_documents(perplexity.load_tokenizer(base), files, job.max_tokens)
    if perplexity.read_documents(perplexity.load_tokenizer(directory), files, job.max_tokens) != documents:
        raise DataError(
            "NotComparable",
            f"{directory} and {base} cut the text into other tokens. Compare a variant with the base it was made of.",
        )
    comparison = compare(directory, base, documents, job.context_length, reporter)
    result = JobResult(kind=job.kind, identity=job.identity, outcome="succeeded", comparison=comparison)
    return seal.seal(place(job), job.identity, result)


def compare(
    directory: Path, base: Path, documents: Sequence[Document], context_length: int, reporter: Reporter
) -> Comparison:
    """KL(base || variant) in nats, over each token's whole vocabulary in float64, and how often both agree on the best.

    Windows are those of the perplexity. Errors: DataError `NotComparable`, `NotFinite`.
    """
    began = time.monotonic()
    total = sum(len(document.tokens) for document in documents)
    with tempfile.TemporaryDirectory(prefix="states-") as scratch:
        kept, head = _base(Path(scratch) / "states", base, documents, context_length, reporter)
        model = perplexity.load(directory)
        if head.weight.shape[0] != model.lm_head.weight.shape[0]:
            raise DataError("NotComparable", f"{directory} and {base} have vocabularies of other sizes.")
        nats, agreed, done = 0.0, 0, 0
        for batch in batches(model, documents, context_length):
            states = last_states(model, batch)
            beside = kept[done : done + len(states)].to(head.weight.device, head.weight.dtype)
            more, same = divergence(head, beside, model.lm_head, states)
            nats, agreed, done = nats + more, agreed + same, done + len(states)
            speed = done / max(time.monotonic() - began, 1e-9)
            reporter.update("comparing", unit="tokens", done=done, total=total, tokens_per_second=speed)
            if not math.isfinite(nats):
                raise DataError("NotFinite", "The predictions are NaN or infinite. Train or copy the model again.")
    return Comparison(
        kl_divergence=max(nats, 0.0) / total,  # rounding alone can take it below
        top1_agreement=agreed / total,
        tokens=total,
        seconds=round(time.monotonic() - began, 3),
    )


@torch.inference_mode()
def divergence(
    head: nn.Module, states: torch.Tensor, other_head: nn.Module, other_states: torch.Tensor
) -> tuple[float, int]:
    """KL(first || other) in nats and equal likeliest tokens, summed over states (tokens, hidden).

    The vocabulary is worked through in slices of tokens, so that both sides' logits stay within perplexity.LOGITS.
    """
    vocabulary: int = head.weight.shape[0]  # type: ignore[assignment, index]
    at_once = max(1, perplexity.LOGITS // (4 * vocabulary))  # two sides, of twice the bytes
    nats = torch.zeros((), dtype=torch.float64, device=states.device)
    agreed = torch.zeros((), dtype=torch.int64, device=states.device)
    for begin in range(0, len(states), at_once):
        logits = head(states[begin : begin + at_once]).double()
        other = other_head(other_states[begin : begin + at_once]).double()
        agreed += (logits.argmax(-1) == other.argmax(-1)).sum()
        expected, found = logits.log_softmax(-1), other.log_softmax(-1)
        nats += (expected.exp() * (expected - found)).sum()
    return float(nats), int(agreed)


def _base(
    file: Path, directory: Path, documents: Sequence[Document], context_length: int, reporter: Reporter
) -> tuple[torch.Tensor, nn.Linear]:
    """The base's last hidden states (tokens, hidden) in a file, and its output layer."""
    model = perplexity.load(directory)
    width: int = model.config.hidden_size
    total = sum(len(document.tokens) for document in documents)
    kept = torch.from_file(str(file), shared=True, size=total * width, dtype=torch.float32).view(total, width)
    done = 0
    for batch in batches(model, documents, context_length):
        states = last_states(model, batch)
        kept[done : done + len(states)] = states
        done += len(states)
        reporter.update("reading the base", unit="tokens", done=done, total=total)
    head: nn.Linear = model.lm_head
    return kept, head
