"""What static int8 costs a dense model in onnxruntime: of the quickstart's size, trained on its text.

Answers are those of the sealed files, on text that neither training nor calibration has seen.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from deepseek_runtime.export.onnx import environment, model, proof
from deepseek_runtime.quantize import calibration

from benchmarks.report import Measurement, at_least, at_most
from benchmarks.runtime.trained import CONTEXT, HELDOUT, TRAIN, job, trained

LLAMA: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
"""6.5 million parameters with the quickstart's vocabulary."""
ROWS = 96
_TYPES: dict[str, dict[str, Any]] = {
    "float32": {},
    "int8": {"calibration": {"text": [TRAIN], "samples": 128, "sequenceLength": CONTEXT}},
}
_KL, _AGREEMENT = 0.01, 0.95


def run(scratch: Path) -> list[Measurement]:
    """Both files answer the same `ROWS` sequences of `CONTEXT` tokens, spread over the held-out text."""
    base = trained(scratch, LLAMA)
    tokens = calibration.read(base, [HELDOUT], ROWS, CONTEXT).tokens
    np.save(scratch / "tokens.npy", tokens.numpy())
    vocabulary = json.loads((base / "config.json").read_text())["vocab_size"]
    for kind, settings in _TYPES.items():
        job(scratch, kind="export", format="onnx", type=kind, input=str(base), output=str(scratch / kind), **settings)
        asked = {
            "model": str(scratch / kind / "artifact" / model.FILE),
            "tokens": str(scratch / "tokens.npy"),
            "vocabulary": vocabulary,
            "steps": 1,
            "logits": str(scratch / f"{kind}.npy"),
            "facts": str(scratch / f"{kind}.json"),
        }
        environment.run("answer", asked, scratch)
    plain, made = (json.loads((scratch / f"{kind}.json").read_text()) for kind in _TYPES)
    found = proof.compare(scratch / "float32.npy", scratch / "int8.npy", made["engine"])
    counted = f"{found.tokens:,} tokens, {found.engine}"
    return [
        Measurement("onnx int8, bytes of weights against float32", made["bytes"] / plain["bytes"], "x"),
        Measurement("onnx int8, KL from the float32 file", found.kl_divergence, "nats", counted, at_most(_KL)),
        Measurement("onnx int8, same likeliest token", found.top1_agreement, "", counted, at_least(_AGREEMENT)),
    ]
