"""Byte-level BPE (Sennrich et al., 2016, arXiv 1508.07909; over bytes as in GPT-2): no text is unknown."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from deepseek_runtime.chat import template
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.models import text

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
USER, ASSISTANT = "<|user|>", "<|assistant|>"
SPECIAL = (BOS, EOS, PAD, USER, ASSISTANT)
"""Their ids are 0 to 4; the chat template (chat/default.jinja) is written with them."""

SMALLEST = 256 + len(SPECIAL)


def train(vocab_size: int, paths: Sequence[str], reporter: Reporter) -> Tokenizer:
    """A tokenizer of at most `vocab_size` tokens (fewer where the text has not enough pairs); equal text, equal result.

    Errors: ConfigurationError for a size that does not hold all bytes; DataError of the text.
    """
    if vocab_size < SMALLEST:
        raise ConfigurationError(
            "InvalidConfig", f"tokenizer.vocabSize is {vocab_size}; 256 bytes and special tokens need {SMALLEST}."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_pieces(text.files(paths), reporter), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def save(tokenizer: Tokenizer, directory: Path, context_length: int) -> None:
    """Write what transformers' AutoTokenizer loads: the tokenizer, its configuration and its chat template."""
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=context_length,
        chat_template=template.default(),
    ).save_pretrained(directory)


def _pieces(files: Sequence[Path], reporter: Reporter) -> Iterator[str]:
    total, done = sum(file.stat().st_size for file in files), 0
    for file in files:
        for piece in text.chunks(file):
            yield piece
            done += len(piece.encode())
            reporter.update("training tokenizer", unit="bytes", done=done, total=total)
