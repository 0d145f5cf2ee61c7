"""How the weights of a variant are stored, and what that did."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import ApiModel, DataSource, Figure, rules


class CalibrationSpec(ApiModel):
    """Text that shows a calibrated quantization what the weights are multiplied with. Take what the model is used for.

    The model goes through it layer by layer: memory is that of one decoder layer and of samples x sequenceLength hidden
    states in float32, on a GPU in the model's own dtype.
    """

    text: list[DataSource] = Field(
        min_length=1,
        max_length=16,
        description="Its SHA-256 is in the Job's result; a text changed later changes nothing.",
    )
    samples: int = Field(
        default=128,
        ge=1,
        le=8192,
        description="Sequences, spread evenly over the text; fewer where it has fewer.",
    )
    sequence_length: int = Field(
        default=512, ge=16, le=131072, description="Tokens of each, at most the model's context length."
    )


class QuantizationSpec(ApiModel):
    """How a variant's weights are stored. Embeddings, norms, routers, biases and the output layer always stay."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.method) || (self.scheme == 'int8' && self.method in ['weightOnly', 'dynamic', 'static']) || (self.scheme == 'int4' && self.method in ['roundToNearest', 'gptq'])",
                "method can be weightOnly, dynamic or static with int8, roundToNearest or gptq with int4, and nothing with other schemes",
            ),
            (
                "(has(self.method) && self.method in ['static', 'gptq']) == has(self.calibration)",
                "the methods static and gptq need calibration, and no other takes it",
            ),
            (
                "!has(self.parallelism) || self.parallelism == 1 || !has(self.calibration)",
                "parallelism is for methods without calibration: static and gptq go through the model in one pod",
            ),
            ("!has(self.groupSize) || self.scheme == 'int4'", "groupSize is for int4 only"),
            (
                "self.scheme in ['int8', 'int4', 'fp8'] || !has(self.scope) && self.ignore.size() == 0",
                "fp8Block and bf16 are of all weights: they have neither scope nor ignore",
            ),
        )
    )
    scheme: Literal["int8", "int4", "fp8", "fp8Block", "bf16"] = Field(
        description="int8: linear layers and experts, symmetric, one scale for each output channel. int4: experts (of a dense model all linear layers), symmetric, one scale for each groupSize inputs. fp8: e4m3 for linear layers and experts, one scale for each output channel, activations by engines that can. fp8Block: DeepSeek's own format, e4m3 in blocks of 128 x 128, for linear layers and experts. bf16: nothing is quantized; fp8Block is dequantized, float32 rounded. The builtin engine multiplies int8 as it is on CPUs that multiply bytes, of dynamic and static with activations rounded as they say, of weightOnly with activations of 16 bits; all else is computed with the dequantized weights. Evaluation computes with these, with activations rounded where the method has it so."
    )
    method: Literal["weightOnly", "dynamic", "static", "roundToNearest", "gptq"] | None = Field(
        default=None,
        description="Of int8: weightOnly; dynamic, whose activations engines that can do it quantize, each token by its own scale (W8A8); static, by one scale for each layer's inputs that calibration finds (W8A8). Of int4: roundToNearest; gptq, which makes up for what rounding loses on the calibration's text. Absent: weightOnly or roundToNearest.",
    )
    scope: Literal["all", "experts"] | None = Field(
        default=None,
        description="experts: routed experts alone. Absent: experts for int4 of a model that has them, all otherwise.",
    )
    group_size: Literal[32, 64, 128] | None = Field(
        default=None,
        description="Inputs that share a scale, of int4; it must divide every quantized layer's inputs. Absent: 128.",
    )
    ignore: list[Annotated[str, Field(min_length=1, max_length=253)]] = Field(
        default=[],
        max_length=32,
        description="Shell patterns of module names that stay as they are, for example model.layers.0.*.",
    )
    calibration: CalibrationSpec | None = Field(
        default=None, description="What static and gptq look at; both need it, the other methods take none."
    )
    parallelism: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Pods that share the weight files, of any method without calibration. Each has the resources of spec.jobs, and one that is lost costs its own part. With volumes that are ReadWriteOnce all run on one node; to spread them over several, storage.accessModes must be [ReadWriteMany]. It changes how fast a variant is made and not what it is: a variant that is there is not made again.",
    )


class CalibrationStatus(ApiModel):
    """What calibrated a quantization, and what it could not tell."""

    digest: str = Field(description="SHA-256 of the text.")
    sequences: int = Field(description="How many it gave.")
    tokens: int = Field(description="In all of them.")
    experts_without_tokens: int = Field(default=0, description="Over all layers.")
    experts_with_few_tokens: int = Field(
        default=0,
        description="Those without among them. static gives them the widest range of their layer's experts, gptq rounds them to nearest.",
    )
    weights_rounded_to_nearest: int = Field(
        default=0, description="Beside those experts: weights that gptq could not do better for."
    )
    largest_outlier: Figure = Field(
        default=0.0,
        description="Of static: how far a layer's largest input lies beyond the mean of its tokens' largest; so much of int8's range is spent on it.",
    )


class QuantizationStatus(ApiModel):
    """What the quantization did."""

    scheme: str = Field(description="How the weights are stored.")
    weight_bytes_before: int = Field(description="Bytes of all weights in the base.")
    weight_bytes_after: int = Field(description="Bytes of all weights in the variant.")
    expert_bytes_before: int = Field(default=0, description="Bytes of the routed experts in the base.")
    expert_bytes_after: int = Field(default=0, description="Bytes of the routed experts in the variant.")
    calibration: CalibrationStatus | None = Field(default=None, description="What calibrated it.")
