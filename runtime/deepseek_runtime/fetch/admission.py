"""What a model that comes from outside must not bring, unless a person allows it; told before its weights come."""

from collections.abc import Collection
from pathlib import Path

from deepseek_runtime.chat import inspection
from deepseek_runtime.fetch import support, vocabulary
from deepseek_runtime.weights import safety
from deepseek_runtime.wire.verification import Allowed


def check(directory: Path, allow: Collection[Allowed], weight_bytes: int) -> None:
    """Of the small files, which tell about the model; `weight_bytes` is what the others have.

    Errors: DataError as `support.check`, `UnsafeModel`, `UnsafeTemplate`, `BadTokenizer`.
    """
    support.check(directory, weight_bytes)
    if "AutoMap" not in allow:
        safety.check_no_code(directory)
    if "UnsafeTemplate" not in allow:
        inspection.check(directory)
    vocabulary.check(directory)
