"""Variants for engines that run elsewhere, and what was written."""

from typing import Literal

from pydantic import Field

from deepseek_operator.api.base import ApiModel


class GgufSpec(ApiModel):
    """One file for llama.cpp and what is built on it, with tokenizer and chat template in it.

    It is written in one pass and in bands of rows, so memory does not grow with the model; a Job that is killed goes
    on. A model whose tokenizer, positions or experts llama.cpp would treat otherwise is refused (UnsupportedExport).
    """

    type: Literal["f16", "q8_0", "q4_0"] = Field(
        description="f16: all matrices in float16. q8_0: in 8 bits, blocks of 32 inputs share a scale. q4_0: in 4 bits, the same way; embeddings and output layer q8_0. Routers and vectors are float32 in all, and matrices whose inputs are no multiple of 32 are float16."
    )


class ExportSpec(ApiModel):
    """A form for engines that run elsewhere, on a desk or at the edge: the builtin engine does not serve it."""

    gguf: GgufSpec = Field(description="A GGUF file, `artifact/model.gguf` on the variant's claim.")


class ExportStatus(ApiModel):
    """What the export wrote."""

    format: str = Field(description="gguf.")
    type: str = Field(description="How most numbers are stored.")
    file: str = Field(description="In `artifact` on the claim.")
    sha256: str = Field(description="Of the file: `sha256sum` of a copy gives the same.")
    weight_bytes_before: int = Field(description="Bytes of all weights in the base.")
    weight_bytes_after: int = Field(description="Bytes of all weights in the file.")
    tensors: int = Field(description="In the file.")
    unaligned_tensors: int = Field(
        default=0, description="Of them those that stayed float16, for their inputs are no whole blocks of the type."
    )
