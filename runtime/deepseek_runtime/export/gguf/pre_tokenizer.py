"""How a text is cut before its pieces are merged: which of llama.cpp's ways is the tokenizer's own.

llama.cpp does not read expressions from a file, it has them built in under names. So a tokenizer is exported only when
its steps are, one for one, those of a name; what merely resembles them would split some texts in other ways.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from deepseek_runtime.export.gguf.unsupported import unsupported

Json = Mapping[str, Any]

BYTE_LEVEL = "ByteLevel"
DIGITS = "Digits"

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼ"
    "ℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
_IDEOGRAPHS = "[一-龥ࠀ-一가-퟿]+"
_DEEPSEEK_V3 = (
    "\\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)

_NAMES: dict[tuple[str, ...], str] = {
    (BYTE_LEVEL,): "gpt-2",
    (_LLAMA3,): "smaug-bpe",
    _DEEPSEEK_V3: "deepseek-v3",
    ("[\r\n]", rf"\s?[{_LETTERS}]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", _IDEOGRAPHS, DIGITS): "deepseek-llm",
    ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _IDEOGRAPHS, DIGITS): "deepseek-coder",
}
_WHOLE_WORDS = {"smaug-bpe": "llama-bpe"}
"""Names of the same steps where a piece that is a token is taken whole, however its merges would go."""


def name(tokenizer: Json) -> str:
    """llama.cpp's name of a tokenizer.json's steps. Errors: DataError `UnsupportedExport` with the steps."""
    if (normalizer := tokenizer.get("normalizer")) not in (None, {"type": "Sequence", "normalizers": []}):
        raise unsupported(
            f"The tokenizer normalizes text ({_kind(normalizer)}), and llama.cpp's byte-level ones do not."
        )
    steps = _steps(tokenizer.get("pre_tokenizer"))
    known = _NAMES.get(steps or ())
    if known is not None and tokenizer["model"].get("ignore_merges"):
        known = _WHOLE_WORDS.get(known)
    if known is None or (DIGITS in (steps or ()) and _merges_digits(tokenizer["model"]["merges"])):
        told = " | ".join(steps) if steps else _kind(tokenizer.get("pre_tokenizer"))
        raise unsupported(f"The tokenizer cuts text in a way that llama.cpp has no name for: {told}.")
    return known


def _steps(pre: Json | None) -> tuple[str, ...] | None:
    """An expression for each split; None where a step is of another kind."""
    parts: Sequence[Json] = (pre.get("pretokenizers") or ()) if pre and pre["type"] == "Sequence" else [pre or {}]
    found = [_step(part) for part in parts]
    steps = tuple(step for step in found if step)
    last = parts[-1].get("type") if parts else None
    return steps if None not in found and last == BYTE_LEVEL and BYTE_LEVEL not in steps[:-1] else None


def _step(part: Json) -> str | None:
    """Empty for the step that only turns bytes into letters."""
    if part.get("type") == BYTE_LEVEL and not part.get("add_prefix_space", True):
        return BYTE_LEVEL if part.get("use_regex", True) else ""
    if part.get("type") == DIGITS and part.get("individual_digits"):
        return DIGITS
    if part.get("type") == "Split" and part.get("behavior") == "Isolated" and not part.get("invert"):
        return (part.get("pattern") or {}).get("Regex")
    return None


def _merges_digits(merges: Sequence[Any]) -> bool:
    """llama.cpp keeps a number in one piece, which is the same where no digits are merged."""
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in merges)
    return any(left[-1:].isnumeric() and right[:1].isnumeric() for left, right in pairs)


def _kind(step: Json | None) -> str:
    if step is None:
        return "none"
    inner = [_kind(part) for key in ("pretokenizers", "normalizers") for part in step.get(key) or ()]
    return f"{step.get('type')} of {', '.join(inner)}" if inner else str(step.get("type"))
