"""What a working pod shows on port 9400 at /progress: pulled by the operator, at most 64 KB, never kept for long."""

from deepseek_runtime.wire.base import VERSION, WireModel

MAX_BYTES = 64 * 1024


class Examples(WireModel):
    """What was found in a fine-tuning stage's data."""

    total: int
    cut: int = 0  # longer than sequenceLength: they end with the last answer that fits
    left_out: int = 0  # not even their first answer fits


class Trouble(WireModel):
    """What keeps the work from going on for now, though it goes on trying: a reason in CamelCase, and a message."""

    reason: str
    message: str


class Progress(WireModel):
    """Live figures of one Job. `done` and `total` count `unit`s: steps, bytes, tokens, tensors."""

    version: int = VERSION
    identity: str
    phase: str  # what it does now, for people: "training tokenizer", "step", "writing checkpoint"
    unit: str
    done: int
    total: int
    remaining_seconds: float | None = None
    tokens_per_second: float | None = None
    bytes_per_second: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    checkpoint_step: int | None = None
    examples: Examples | None = None
    trouble: Trouble | None = None
