"""Static int8 of an ONNX graph's linear layers: calibrated by Optimum, written by onnxruntime's own quantizer.

Optimum's quantizes the outputs of linear layers, too, and cannot be told not to; what they are added to is float32, so
that it would cost accuracy and save nothing.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # type: ignore[import-not-found]
from onnxruntime.quantization import CalibrationMethod, QuantType  # type: ignore[import-not-found]
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # type: ignore[import-not-found]
from optimum.onnxruntime import ORTQuantizer  # type: ignore[import-not-found]
from optimum.onnxruntime.configuration import CalibrationConfig  # type: ignore[import-not-found]

FILE, CONFIG = "model.onnx", "config.json"
LINEAR = "MatMul"


def main(asked: dict[str, str]) -> None:
    """Calibrate `model`/model.onnx with tokens (sequences, length) and write the quantized one into `output`."""
    source, output = Path(asked["model"]), Path(asked["output"])
    model = onnx.load(source / FILE)
    tokens = np.load(asked["tokens"])
    ranges = ORTQuantizer.from_pretrained(source, file_name=FILE).fit(
        Samples(tokens, _caches(model.graph)),
        CalibrationConfig(
            dataset_name="text",
            dataset_config_name="",
            dataset_split="",
            dataset_num_samples=len(tokens),
            method=CalibrationMethod.MinMax,
        ),
        onnx_augmented_model_name=asked["augmented"],
        operators_to_quantize=[LINEAR],
    )
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=_linear_layers(model.graph),
        nodes_to_exclude=[],
        op_types_to_quantize=[LINEAR],
        extra_options={
            "ActivationSymmetric": False,
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": [LINEAR],
            "QDQOpTypePerChannelSupportToAxis": {LINEAR: 1},
        },
    )
    quantizer.quantize_model()
    output.mkdir()
    quantizer.model.save_model_to_file(str(output / FILE), use_external_data_format=False)
    shutil.copyfile(source / CONFIG, output / CONFIG)


def _linear_layers(graph: Any) -> list[str]:
    """Products with a weight, but for the output layer: those of attention are of two activations."""
    weights = {each.name for each in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type == LINEAR and node.input[1] in weights and not node.name.startswith("/lm_head/")
    ]


def _caches(graph: Any) -> dict[str, Any]:
    """Keys and values of no token, for each of the graph's inputs of these: (heads, 0, width)."""
    inputs = {each.name: each.type.tensor_type.shape.dim for each in graph.input}
    return {
        name: np.zeros((shape[1].dim_value, 0, shape[3].dim_value), np.float32)
        for name, shape in inputs.items()
        if name.startswith("past_key_values.")
    }


class Samples:
    """What Optimum's calibration iterates over: the inputs of one sequence after the other."""

    def __init__(self, tokens: Any, caches: dict[str, Any]) -> None:
        self._tokens, self._caches = tokens, caches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self._tokens:
            yield {
                "input_ids": row,
                "attention_mask": np.ones(len(row), np.int64),
                "position_ids": np.arange(len(row), dtype=np.int64),
                **self._caches,
            }


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
