"""Models that have learned the quickstart's text, by Jobs in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from deepseek_operator.api.deepseekmodel.source import ScratchSource
from deepseek_operator.api.trainingrun import TrainingRunSpec

from examples.quickstart.demo import HERE, TEXT, prepare_text

STEPS = 800
"""A third more than the quickstart, which is to be over soon."""
CONTEXT = 256
TRAIN, HELDOUT = str(TEXT / "train.txt"), str(TEXT / "heldout.txt")


def trained(scratch: Path, llama: dict[str, Any] | None = None) -> Path:
    """The seed of model.yaml, or a Llama of this config, after `STEPS` of training.yaml's stage; in one process."""
    prepare_text()
    seed, _ = yaml.safe_load_all((HERE / "model.yaml").read_text())
    source = ScratchSource.model_validate(seed["spec"]["source"]["scratch"])
    stage = TrainingRunSpec.model_validate(yaml.safe_load((HERE / "training.yaml").read_text())["spec"]).stages[0]
    architecture, config = ("Llama", llama) if llama else (source.architecture, source.config)
    home = scratch / f"trained-{architecture}"
    tokenizer = {"vocabSize": source.tokenizer.vocab_size, "text": [TRAIN]}
    made = {"architecture": architecture, "config": config, "tokenizer": tokenizer, "seed": source.seed}
    job(scratch, kind="build", output=str(home / "seed"), **made)
    job(
        scratch, kind="train", stage="pretrain", input=str(home / "seed" / "artifact"), output=str(home / "run"),
        data=[TRAIN], steps=STEPS, checkpointEverySteps=STEPS, hyperparameters=stage.hyperparameters.to_object(),
    )  # fmt: skip
    return home / "run" / "stages" / "pretrain" / "artifact"


def job(scratch: Path, **document: Any) -> None:
    """Run a Job to its end. Errors: RuntimeError with its last words."""
    path = scratch / "job.json"
    path.write_text(json.dumps(document))
    command = [sys.executable, "-m", "deepseek_runtime", "job", "--status-port", "0", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the {document['kind']} job failed ({done.returncode}): {done.stderr[-2000:]}")


def result(output: Path, part: str) -> dict[str, Any]:
    """A part of what a measurement sealed below `output`."""
    (path,) = output.glob("*/result.json")
    found: dict[str, Any] = json.loads(path.read_text())[part]
    return found
