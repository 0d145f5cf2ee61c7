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
# Escaped, for some of these letters look and normalize like others.
_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-"
    "\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-"
    "\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3"
    "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17"
    "\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-"
    "\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
_IDEOGRAPHS = "[一-龥ࠀ-一가-퟿]+"
_DEEPSEEK_V3 = (
    "\\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)

NAMES: dict[tuple[str, ...], str] = {
    (BYTE_LEVEL,): "gpt-2",
    (_LLAMA3,): "smaug-bpe",
    _DEEPSEEK_V3: "deepseek-v3",
    ("[\r\n]", rf"\s?[{_LETTERS}]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", _IDEOGRAPHS, DIGITS): "deepseek-llm",
    ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _IDEOGRAPHS, DIGITS): "deepseek-coder",
}
"""llama.cpp's names by the steps of a tokenizer: expressions, and the two kinds above."""
WHOLE_WORDS = {"smaug-bpe": "llama-bpe"}
"""Names of the same steps where a piece that is a token is taken whole, however its merges would go."""


def name(tokenizer: Json) -> str:
    """llama.cpp's name of a tokenizer.json's steps. Errors: DataError `UnsupportedExport` with the steps."""
    if (normalizer := tokenizer.get("normalizer")) not in (None, {"type": "Sequence", "normalizers": []}):
        raise unsupported(
            f"The tokenizer normalizes text ({_kind(normalizer)}), and llama.cpp's byte-level ones do not."
        )
    steps = _steps(tokenizer.get("pre_tokenizer"))
    known = NAMES.get(steps or ())
    if known is not None and tokenizer["model"].get("ignore_merges"):
        known = WHOLE_WORDS.get(known)
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
