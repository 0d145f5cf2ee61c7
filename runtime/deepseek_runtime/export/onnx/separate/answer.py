"""What onnxruntime answers with a sealed file's graph, and what the graph holds."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # type: ignore[import-not-found]
import onnxruntime  # type: ignore[import-not-found]


def main(asked: dict[str, Any]) -> None:
    """Write the logits of all tokens (rows, length, vocabulary) to `logits`, and facts of the graph to `facts`.

    The last `steps` tokens of each row come one by one, with the keys and values that the answer before gave.
    """
    file = asked["model"]
    weights = onnx.load(file, load_external_data=False).graph.initializer
    facts = {
        "engine": f"onnxruntime {onnxruntime.__version__}",
        "tensors": len(weights),
        "bytes": sum(onnx.numpy_helper.to_array(each).nbytes for each in weights),
    }
    Path(asked["facts"]).write_text(json.dumps(facts), "utf-8")
    del weights
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    tokens = np.load(asked["tokens"])
    shape = (*tokens.shape, asked["vocabulary"])
    logits = np.lib.format.open_memmap(asked["logits"], mode="w+", dtype=np.float32, shape=shape)
    for row, line in zip(tokens, logits, strict=True):
        _answer(session, row, asked["steps"], line)
    logits.flush()


def _answer(session: Any, row: Any, steps: int, logits: Any) -> None:
    given = [each.name for each in session.get_inputs() if each.name.startswith("past_key_values.")]
    shapes = {each.name: each.shape for each in session.get_inputs()}
    caches = [np.zeros((1, shapes[name][1], 0, shapes[name][3]), np.float32) for name in given]
    names = ["logits", *(name.replace("past_key_values", "present") for name in given)]
    begin, whole = 0, len(row) - steps
    for end in (whole, *range(whole + 1, len(row) + 1)):
        inputs = {
            "input_ids": row[None, begin:end],
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(begin, end, dtype=np.int64)[None],
        }
        logits[begin:end], *caches = (
            each if index else each[0]
            for index, each in enumerate(session.run(names, inputs | dict(zip(given, caches, strict=True))))
        )
        begin = end


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
