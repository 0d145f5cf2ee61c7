"""What quantization costs in quality: of the quickstart's model, trained on its text, on what training has not seen.

A model that has learned little says little: how it is spoilt is asked of one that beats `xz -9` by a fifth.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from deepseek_operator.api.deepseekmodel.source import ScratchSource
from deepseek_operator.api.trainingrun import TrainingRunSpec

from benchmarks.report import Measurement, Target, at_least, at_most
from examples.quickstart.demo import HERE, TEXT, prepare_text

STEPS = 800
"""A third more than the quickstart, which is to be over soon."""
CONTEXT = 256
_BELOW_XZ = 0.8
_KL, _AGREEMENT, _PERPLEXITY = 0.01, 0.98, 1.02
_CALIBRATION = {"text": [str(TEXT / "train.txt")], "samples": 128, "sequenceLength": CONTEXT}
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
    prepare_text()
    base = _trained(scratch)
    heldout = str(TEXT / "heldout.txt")
    measured = {"text": [heldout], "contextLength": CONTEXT}

    def score(artifact: Path, name: str) -> dict[str, Any]:
        output = scratch / f"score-{name.replace(' ', '-')}"
        _job(scratch, kind="evaluate", input=str(artifact), output=str(output), **measured)
        return _result(output, "scores")

    own = score(base, "base")
    xz = json.loads((TEXT / "text.json").read_text())["heldout"]["xz"]
    found = [
        Measurement("trained model, held-out bits per byte", own["bitsPerByte"], "bits", f"xz -9 {xz:.3f}"),
        Measurement("trained model against xz -9", own["bitsPerByte"] / xz, "x", "", at_most(_BELOW_XZ)),
    ]
    for name, recipe in _VARIANTS.items():
        output = scratch / f"variant-{name.replace(' ', '-')}"
        _job(scratch, kind="quantize", input=str(base), output=str(output), **recipe)
        variant = output / "artifact"
        compared = scratch / f"compare-{name.replace(' ', '-')}"
        _job(scratch, kind="compare", input=str(variant), base=str(base), output=str(compared), **measured)
        comparison = _result(compared, "comparison")
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


def _trained(scratch: Path) -> Path:
    """The seed model of model.yaml after the stage of training.yaml, in one process."""
    seed, _ = yaml.safe_load_all((HERE / "model.yaml").read_text())
    source = ScratchSource.model_validate(seed["spec"]["source"]["scratch"])
    stage = TrainingRunSpec.model_validate(yaml.safe_load((HERE / "training.yaml").read_text())["spec"]).stages[0]
    text = [str(TEXT / "train.txt")]
    tokenizer = {"vocabSize": source.tokenizer.vocab_size, "text": text}
    made = {"architecture": source.architecture, "config": source.config, "tokenizer": tokenizer, "seed": source.seed}
    _job(scratch, kind="build", output=str(scratch / "seed"), **made)
    _job(
        scratch, kind="train", stage="pretrain", input=str(scratch / "seed" / "artifact"), output=str(scratch / "run"),
        data=text, steps=STEPS, checkpointEverySteps=STEPS, hyperparameters=stage.hyperparameters.to_object(),
    )  # fmt: skip
    return scratch / "run" / "stages" / "pretrain" / "artifact"


def _job(scratch: Path, **document: Any) -> None:
    path = scratch / "job.json"
    path.write_text(json.dumps(document))
    command = [sys.executable, "-m", "deepseek_runtime", "job", "--status-port", "0", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the {document['kind']} job failed ({done.returncode}): {done.stderr[-2000:]}")


def _result(output: Path, part: str) -> dict[str, Any]:
    (path,) = output.glob("*/result.json")
    found: dict[str, Any] = json.loads(path.read_text())[part]
    return found
