"""Perplexity of a model on text, and bits per byte, which can be compared across tokenizers and with compressors."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Encoding, Tokenizer
from torch.nn import functional
from transformers import PreTrainedModel

from deepseek_runtime.evaluate import routing
from deepseek_runtime.evaluate.windows import Window, windows
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.models import text
from deepseek_runtime.quantize import activations
from deepseek_runtime.train.tokens import special_token
from deepseek_runtime.weights import seal
from deepseek_runtime.weights.load import load_config, load_model
from deepseek_runtime.wire.job import EvaluateJob
from deepseek_runtime.wire.result import JobResult, Scores

BATCH_TOKENS = 8192
"""Tokens that go through the model at once."""
LOGITS = 1 << 24
"""Logits in memory at once (64 MiB in float32): a large vocabulary is worked through in slices."""


@dataclass(frozen=True, slots=True)
class Document:
    """The tokens that are scored, and how many bytes of text they stand for."""

    tokens: list[int]
    bytes: int


def run(job: EvaluateJob, reporter: Reporter) -> JobResult:
    """Measure a verified model and seal the scores."""
    directory = Path(job.input)
    check_context(directory, job.context_length)
    documents = read_documents(load_tokenizer(directory), text.files(job.text), job.max_tokens)
    model = load(directory)
    meter = routing.RoutingMeter(model)
    scores = measure(model, documents, job.context_length, reporter, meter)
    if loads := meter.loads():
        seal.attach(place(job), routing.FILE, routing.table(loads))
        scores = scores.model_copy(update={"routing": routing.summary(loads)})
    result = JobResult(kind=job.kind, identity=job.identity, outcome="succeeded", scores=scores)
    return seal.seal(place(job), job.identity, result)


def check_context(directory: Path, length: int, field: str = "contextLength") -> None:
    """Errors: ConfigurationError `ContextTooLong` where the model's positions do not reach so far."""
    longest: int = load_config(directory).max_position_embeddings
    if length > longest:
        raise ConfigurationError("ContextTooLong", f"evaluation.{field} is {length}; the model has {longest}.")


def load(directory: Path) -> PreTrainedModel:
    """The model where it is measured: on the GPU as it is stored, else on the CPU in float32.

    Where its config.json names no token before a text, it has the one of training. Errors: ConfigurationError
    `InvalidConfig` where the tokenizer names none either.
    """
    model = load_model(directory, None if torch.cuda.is_available() else torch.float32)
    activations.install(model, directory)
    if model.config.bos_token_id is None:
        model.config.bos_token_id = special_token(directory, "bos")
    if torch.cuda.is_available():
        torch.nn.Module.cuda(model)
    return model


def load_tokenizer(directory: Path) -> Tokenizer:
    """The model's tokenizer; special tokens written out in a text are text, other added ones are themselves."""
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    except Exception as error:  # tokenizers raises plain Exceptions
        raise DataError("BadFile", f"{directory / 'tokenizer.json'} is no tokenizer: {error}.") from error
    tokenizer.encode_special_tokens = True
    return tokenizer


def read_documents(tokenizer: Tokenizer, files: Sequence[Path], max_tokens: int | None) -> list[Document]:
    """Each file as a document, the last cut where `max_tokens` are reached.

    A byte-level token is spelled with one character for each of its bytes, and an added one as in the text, so the
    bytes of any run of tokens are known.
    Errors: DataError `LossyTokenizer` where the tokens do not stand for the text, byte for byte.
    """
    documents: list[Document] = []
    left = math.inf if max_tokens is None else max_tokens
    for file in files:
        content = text.read(file)
        encoding = tokenizer.encode(content, add_special_tokens=False)
        lengths = _lengths(tokenizer, content, encoding)
        if sum(lengths) != len(content.encode()):
            raise DataError("LossyTokenizer", f"The tokens of {file} are not its bytes. Use a byte-level tokenizer.")
        count = int(min(left, len(lengths)))
        if count:
            documents.append(Document(encoding.ids[:count], sum(lengths[:count])))
        left -= count
    return documents


def _lengths(tokenizer: Tokenizer, content: str, encoding: Encoding) -> list[int]:
    """Bytes of each token."""
    lengths = [len(token) for token in encoding.tokens]
    added = tokenizer.get_added_tokens_decoder().items()
    spelled = {number: token.content for number, token in added if not (token.special or token.content.isascii())}
    if not spelled.keys().isdisjoint(encoding.ids):
        for at, (number, (first, last)) in enumerate(zip(encoding.ids, encoding.offsets, strict=True)):
            # The letter of a single byte may be an added token too, and has its number then.
            if spelled.get(number) == content[first:last]:
                lengths[at] = len(spelled[number].encode())
    return lengths


def measure(
    model: PreTrainedModel,
    documents: Sequence[Document],
    context_length: int,
    reporter: Reporter,
    meter: routing.RoutingMeter | None = None,
) -> Scores:
    """Perplexity over the documents; losses are summed in float64, in one order, so the result is repeatable."""
    began = time.monotonic()
    total = sum(len(document.tokens) for document in documents)
    nats, done = 0.0, 0
    for batch in batches(model, documents, context_length):
        if meter is not None:
            meter.expect(batch)
        nats += loss(model, batch)
        done += sum(window.scored for window in batch)
        speed = done / max(time.monotonic() - began, 1e-9)
        reporter.update("scoring", unit="tokens", done=done, total=total, tokens_per_second=speed, loss=nats / done)
        if not math.isfinite(nats):
            raise DataError("NotFinite", "The model's predictions are NaN or infinite. Train or copy the model again.")
    size = sum(document.bytes for document in documents)
    return Scores(
        perplexity=math.exp(min(nats / total, 700.0)),
        bits_per_byte=nats / math.log(2) / size,
        tokens=total,
        bytes=size,
        seconds=round(time.monotonic() - began, 3),
    )


def batches(model: PreTrainedModel, documents: Sequence[Document], context_length: int) -> Iterator[list[Window]]:
    """The windows of all documents, in groups."""
    bos: int = model.config.bos_token_id
    every = (window for document in documents for window in windows(document.tokens, bos, context_length))
    yield from grouped(every, context_length)


def grouped(every: Iterator[Window], context_length: int) -> Iterator[list[Window]]:
    """Windows of at most `context_length` tokens, as many at once as BATCH_TOKENS allows."""
    while batch := list(islice(every, max(1, BATCH_TOKENS // context_length))):
        yield batch


@torch.inference_mode()
def last_states(model: PreTrainedModel, batch: Sequence[Window]) -> torch.Tensor:
    """What the output layer sees at the batch's scored positions: (scored, hidden), in the model's dtype.

    Shorter windows are padded at their end, where a causal model's earlier predictions cannot see it.
    """
    longest = max(len(window.tokens) for window in batch)
    rows = [[*window.tokens, *[0] * (longest - len(window.tokens))] for window in batch]
    tokens = torch.tensor(rows, device=model.device)
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state
    return torch.cat([hidden[row, window.first : len(window.tokens)] for row, window in enumerate(batch)])


@torch.inference_mode()
def loss(model: PreTrainedModel, batch: Sequence[Window]) -> float:
    """Negative log-likelihood of the batch's scored tokens in nats."""
    states = last_states(model, batch)
    targets = torch.tensor([target for window in batch for target in window.targets[window.first :]]).to(model.device)
    rows_at_once = max(1, LOGITS // model.config.vocab_size)
    nats = torch.zeros((), dtype=torch.float64, device=model.device)
    for begin in range(0, len(targets), rows_at_once):
        logits = model.lm_head(states[begin : begin + rows_at_once]).float()
        wanted = targets[begin : begin + rows_at_once]
        nats += functional.cross_entropy(logits, wanted, reduction="none").double().sum()
    return float(nats)
