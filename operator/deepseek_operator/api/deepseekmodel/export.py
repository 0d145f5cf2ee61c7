"""Variants for engines that run elsewhere, and what was written."""

from typing import Literal

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import ApiModel, Figure, FineFigure, rules
from deepseek_operator.api.deepseekmodel.quantization import CalibrationSpec, CalibrationStatus


class GgufSpec(ApiModel):
    """One file for llama.cpp and what is built on it, with tokenizer and chat template in it.

    It is written in one pass and in bands of rows, so memory does not grow with the model; a Job that is killed goes
    on. A model whose tokenizer, positions or experts llama.cpp would treat otherwise is refused (UnsupportedExport).
    """

    type: Literal["f16", "q8_0", "q4_0"] = Field(
        description="f16: all matrices in float16. q8_0: in 8 bits, blocks of 32 inputs share a scale. q4_0: in 4 bits, the same way; embeddings and output layer q8_0. Routers and vectors are float32 in all, and matrices whose inputs are no multiple of 32 are float16."
    )


class OnnxSpec(ApiModel):
    """One file for onnxruntime of a dense model (Llama), with its tokenizer beside it.

    The graph takes and gives keys and values, so that an answer is made token by token. Before the file is sealed it
    answers in onnxruntime beside the model, and one that answers otherwise is refused (UnfaithfulExport). The model is
    held in memory in float32, and its weights must be less than 2 GiB of that.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "(self.type == 'int8') == has(self.calibration)",
                "type int8 needs calibration, which finds the scales of activations, and float32 takes none",
            ),
        )
    )
    type: Literal["float32", "int8"] = Field(
        description="float32: as the model is computed. int8: linear layers multiply 8 bits by 8 bits, weights by a scale for each output channel, activations by the one that calibration finds for each layer (static); embeddings, output layer and attention stay float32."
    )
    calibration: CalibrationSpec | None = Field(
        default=None, description="What int8 looks at, in the whole model at once; float32 takes none."
    )


class ExportSpec(ApiModel):
    """A form for engines that run elsewhere, on a desk or at the edge: the builtin engine does not serve it."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.gguf) != has(self.onnx)", "an export is either gguf or onnx"))
    )
    gguf: GgufSpec | None = Field(
        default=None, description="A GGUF file, `artifact/model.gguf` on the variant's claim."
    )
    onnx: OnnxSpec | None = Field(
        default=None, description="An ONNX file, `artifact/model.onnx` on the variant's claim."
    )


class ExportProofStatus(ApiModel):
    """The file's answers in its own engine beside the model's, on the same tokens: of int8 on those that calibrate."""

    engine: str = Field(description="Its name and version.")
    tokens: int = Field(description="How many were compared.")
    kl_divergence: FineFigure = Field(description="KL(base || file) in nats, mean over the tokens; 0 is the same.")
    top1_agreement: Figure = Field(description="Share of tokens for which both find the same token the likeliest.")
    largest_difference: FineFigure = Field(description="Of two logits, as a share of the largest.")


class ExportStatus(ApiModel):
    """What the export wrote."""

    format: str = Field(description="gguf or onnx.")
    type: str = Field(description="How most numbers are stored.")
    file: str = Field(description="In `artifact` on the claim.")
    sha256: str = Field(description="Of the file: `sha256sum` of a copy gives the same.")
    weight_bytes_before: int = Field(description="Bytes of all weights in the base.")
    weight_bytes_after: int = Field(description="Bytes of all weights in the file.")
    tensors: int = Field(description="In the file.")
    unaligned_tensors: int = Field(
        default=0, description="Of them those that stayed float16, for their inputs are no whole blocks of the type."
    )
    calibration: CalibrationStatus | None = Field(default=None, description="What calibrated onnx in int8.")
    proof: ExportProofStatus | None = Field(default=None, description="Of onnx: how the file answered.")
