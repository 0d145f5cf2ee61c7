"""Whether the tokenizer that came with a model can be read, and is one of a model of this vocabulary."""

from pathlib import Path

from tokenizers import Tokenizer

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.weights import safety

TOKENIZER = "tokenizer.json"


def check(directory: Path) -> None:
    """DataError `BadTokenizer` naming the file; a model without one passes: not everything that is done needs it.

    config.json is one that `support.check` let pass. Every token must have its row of the embeddings, while rows
    without a token are common: vocabularies are padded.
    """
    path = directory / TOKENIZER
    if not path.exists():
        return
    try:
        tokens = Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
    except Exception as error:  # the library raises nothing narrower
        raise DataError(
            "BadTokenizer", f"{TOKENIZER} cannot be read: {str(error)[:200]}. Replace it by an intact copy."
        ) from error
    size, largest = safety.read_json(directory / safety.CONFIG)["vocab_size"], max(tokens.values(), default=-1)
    if largest < 0:
        raise DataError("BadTokenizer", f"{TOKENIZER} has no tokens. Replace it by an intact copy.")
    if largest >= size:
        raise DataError(
            "BadTokenizer",
            f"{TOKENIZER} has token {largest}; {safety.CONFIG} says that vocab_size is {size}, and a token from there "
            "on has no row in the embeddings. One of the two is of another model: put together the files of one.",
        )
