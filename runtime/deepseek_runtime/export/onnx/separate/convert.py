"""A float32 checkpoint as an ONNX graph with keys and values as inputs and outputs, by Optimum."""

import json
import sys
from pathlib import Path

import torch
from optimum.exporters.onnx import onnx_export_from_model  # type: ignore[import-not-found]
from transformers import AutoModelForCausalLM


def main(asked: dict[str, str]) -> None:
    """Read the checkpoint and write model.onnx and config.json into the output directory."""
    model = AutoModelForCausalLM.from_pretrained(
        asked["checkpoint"], dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    onnx_export_from_model(
        model,
        Path(asked["output"]),
        task="text-generation-with-past",
        opset=18,
        do_validation=False,  # answers are held against this runtime's own model afterwards
    )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
