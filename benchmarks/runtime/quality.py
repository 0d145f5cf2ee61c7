"""What quantization costs in quality: of the quickstart's model, trained on its text, on what training has not seen.

A model that has learned little says little: how it is spoilt is asked of one that beats `xz -9` by a fifth.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.report import Measurement, Target, at_least, at_most
from benchmarks.runtime.trained import CONTEXT, HELDOUT, TRAIN, job, result, trained
from examples.quickstart.demo import TEXT

_BELOW_XZ = 0.8
_KL, _AGREEMENT, _PERPLEXITY = 0.01, 0.98, 1.02
_CALIBRATION = {"text": [TRAIN], "samples": 128, "sequenceLength": CONTEXT}
_VARIANTS: dict[str, dict[str, Any]] = {
    "int8": {"scheme": "int8"},
    "int8 dynamic": {"scheme": "int8", "method": "dynamic"},
    "int8 static": {"scheme": "int8", "method": "static", "calibration": _CALIBRATION},
    "int4 of the experts": {"scheme": "int4", "groupSize": 64},
    "int4 gptq of the experts": {"scheme": "int4", "method": "gptq", "groupSize": 64, "calibration": _CALIBRATION},
    "fp8": {"scheme": "fp8"},
}


def run(scratch: Path) -> list[Measurement]:
    """Trained once, with the seeds of the YAML; figures are of the whole held-out text."""
    base = trained(scratch)
    measured = {"text": [HELDOUT], "contextLength": CONTEXT}

    def score(artifact: Path, name: str) -> dict[str, Any]:
        output = scratch / f"score-{name.replace(' ', '-')}"
        job(scratch, kind="evaluate", input=str(artifact), output=str(output), **measured)
        return result(output, "scores")

    own = score(base, "base")
    xz = json.loads((TEXT / "text.json").read_text())["heldout"]["xz"]
    found = [
        Measurement("trained model, held-out bits per byte", own["bitsPerByte"], "bits", f"xz -9 {xz:.3f}"),
        Measurement("trained model against xz -9", own["bitsPerByte"] / xz, "x", "", at_most(_BELOW_XZ)),
    ]
    for name, recipe in _VARIANTS.items():
        output = scratch / f"variant-{name.replace(' ', '-')}"
        job(scratch, kind="quantize", input=str(base), output=str(output), **recipe)
        variant = output / "artifact"
        compared = scratch / f"compare-{name.replace(' ', '-')}"
        job(scratch, kind="compare", input=str(variant), base=str(base), output=str(compared), **measured)
        comparison = result(compared, "comparison")
        growth = score(variant, name)["perplexity"] / own["perplexity"]
        tokens = f"{comparison['tokens']:,} tokens"
        kl, agreement, perplexity = _targets(recipe)
        found += [
            Measurement(f"{name}, KL from the base", comparison["klDivergence"], "nats", tokens, kl),
            Measurement(f"{name}, same likeliest token", comparison["top1Agreement"], "", tokens, agreement),
            Measurement(f"{name}, perplexity against the base", growth, "x", tokens, perplexity),
        ]
    return found


def _targets(recipe: dict[str, Any]) -> tuple[Target | None, Target | None, Target | None]:
    """None of agreement for static: one scale for all tokens costs some, and whoever wants none takes dynamic."""
    if recipe["scheme"] == "int8":
        return at_most(_KL), None if recipe.get("method") == "static" else at_least(_AGREEMENT), None
    return None, None, at_most(_PERPLEXITY) if recipe["scheme"] == "int4" else None
