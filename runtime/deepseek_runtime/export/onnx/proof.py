"""What an exported file must answer before it is sealed: the model's own logits, in onnxruntime."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.wire.result import ExportProof

ROWS, LENGTH = 8, 128
"""Sequences and tokens of each, at most: what is compared has `ROWS * LENGTH * vocabulary` logits on either side."""
STEPS = 8
"""Tokens at the end of a row that are answered one by one, with keys and values of those before them."""
TOLERANCE = 1e-4
"""Of float32: how far a logit may be off, as a share of the largest.

Sums of thousands of products in another order, through tens of layers, lose two of float32's seven digits; one more is
left. A frequency, a scale or a mask that is read otherwise shows in the first digits.
"""
MOST_NATS = 0.5
"""Of int8: KL(model || file) that is a loss of quality no more, but another model: scales are to cost a hundredth."""


def made_up(model: PreTrainedModel) -> torch.Tensor:
    """Tokens (rows, length) of no text: equal ones for equal models, the last of them those that it finds likeliest."""
    length = min(LENGTH, model.config.max_position_embeddings)
    seed = torch.Generator().manual_seed(0)
    tokens = torch.randint(model.config.vocab_size, (ROWS, length - STEPS), generator=seed)
    for _ in range(STEPS):
        tokens = torch.cat([tokens, _logits(model, tokens)[:, -1:].argmax(-1)], dim=1)
    return tokens


def excerpt(sequences: torch.Tensor) -> torch.Tensor:
    """Of a calibration's sequences (sequences, length) as many as are compared, spread over them all."""
    chosen = [index * len(sequences) // min(ROWS, len(sequences)) for index in range(min(ROWS, len(sequences)))]
    return sequences[chosen, :LENGTH]


def remember(model: PreTrainedModel, tokens: torch.Tensor, file: Path) -> None:
    """Write the model's logits (rows, length, vocabulary), for it will have left the memory."""
    shape = (*tokens.shape, model.config.vocab_size)
    kept = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
    for row, line in zip(tokens, kept, strict=True):
        line[:] = _logits(model, row[None])[0].numpy()
    kept.flush()


def compare(expected: Path, found: Path, engine: str) -> ExportProof:
    """The file's logits beside the model's, both as `remember` writes them."""
    model, file = _opened(expected), _opened(found)
    nats, agreed, difference, largest = 0.0, 0, 0.0, 0.0
    for wanted, answered in zip(model, file, strict=True):
        more, same = _divergence(torch.tensor(wanted).double(), torch.tensor(answered).double())
        nats, agreed = nats + more, agreed + same
        difference = max(difference, float(np.abs(wanted - answered).max()))
        largest = max(largest, float(np.abs(wanted).max()))
    count = model.shape[0] * model.shape[1]
    return ExportProof(
        engine=engine,
        tokens=count,
        kl_divergence=max(nats, 0.0) / count,  # rounding alone can take it below
        top1_agreement=agreed / count,
        largest_difference=difference / largest if largest else difference,
    )


def check(kind: str, proof: ExportProof) -> None:
    """DataError `UnfaithfulExport` for a file that does not answer as the model does."""
    figures = (proof.kl_divergence, proof.largest_difference)
    if not all(map(math.isfinite, figures)):
        raise DataError("NotFinite", "The logits are NaN or infinite. Train or copy the model again.")
    if kind == "float32" and proof.largest_difference > TOLERANCE:
        raise DataError(
            "UnfaithfulExport",
            f"In {proof.engine} a logit is off by {proof.largest_difference:.2g} of the largest, float32 allows "
            f"{TOLERANCE:g}: the graph computes something else than the model. It is not sealed.",
        )
    if proof.kl_divergence > MOST_NATS:
        raise DataError(
            "UnfaithfulExport",
            f"In {proof.engine} the int8 file's predictions are {proof.kl_divergence:.2g} nats from the model's, more "
            f"than {MOST_NATS:g}: the scales do not fit. Calibrate with more text, or export float32.",
        )


@torch.inference_mode()
def _logits(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits


def _divergence(expected: torch.Tensor, found: torch.Tensor) -> tuple[float, int]:
    agreed = int((expected.argmax(-1) == found.argmax(-1)).sum())
    wanted, answered = expected.log_softmax(-1), found.log_softmax(-1)
    return float((wanted.exp() * (wanted - answered)).sum()), agreed


def _opened(file: Path) -> NDArray[Any]:
    opened: NDArray[Any] = np.load(file, mmap_mode="r")
    return opened
