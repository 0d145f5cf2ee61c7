"""`spec.evaluation`: what is measured of the base and of every variant."""

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import ApiModel, DataSource, ShortName, rules


class LongContextSpec(ApiModel):
    """Windows of the text, its files one after the other; the second half of each is scored."""

    tokens: int = Field(
        ge=32,
        le=1048576,
        description="Of one window: at least twice contextLength, and no more than the model's context or the text.",
    )
    windows: int = Field(default=4, ge=1, le=256, description="How many, at most; as many as the text holds.")


class TaskSpec(ApiModel):
    """A task in the file format of lm-evaluation-harness, with documents beside it. Nothing in it is run as code."""

    name: ShortName = Field(description="What the status calls it.")
    source: DataSource = Field(
        description="The folder that holds the task file and the JSON lines that its dataset_kwargs.data_files name: a claim's path, or a ConfigMap without key. What changes there later changes nothing; to measure again, name another place."
    )
    file: str = Field(
        default="task.yaml",
        max_length=253,
        pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*\.ya?ml$",
        description="The task file in it: output_type multiple_choice, loglikelihood or generate_until, metrics acc, acc_norm or exact_match. A key that is not honoured is refused by its name, and so is code.",
    )
    limit: int | None = Field(default=None, ge=1, description="The first so many documents. Absent: all.")
    few_shot: int | None = Field(
        default=None, ge=0, le=64, description="Examples before each question. Absent: the file's num_fewshot."
    )


class BenchmarkSpec(ApiModel):
    """What the builtin engine is asked for: random prompts, all at once, answers of exactly this length."""

    prompt_tokens: int = Field(default=128, ge=1, le=131072, description="Tokens of each prompt.")
    output_tokens: int = Field(default=64, ge=2, le=131072, description="Tokens of each answer.")
    concurrency: int = Field(default=1, ge=1, le=64, description="Requests at once.")


class EvaluationSpec(ApiModel):
    """Perplexity of the base and of every quantized variant on text that training has not seen."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.longContext) || self.longContext.tokens >= 2 * self.contextLength",
                "longContext.tokens must be at least twice contextLength",
            )
        )
    )
    text: list[DataSource] = Field(min_length=1, max_length=16, description="The held-out text.")
    context_length: int = Field(default=256, ge=16, le=131072, description="Tokens in one window.")
    max_tokens: int | None = Field(
        default=None, ge=64, description="Stop after so many tokens. Absent: all of the text."
    )
    compare: bool = Field(
        default=False,
        description="Also how far every variant's predictions are from the base's: KL divergence and top-1 agreement, by a Job that reads both. A gate with maxKlDivergence or minTop1Agreement asks for it by itself.",
    )
    long_context: LongContextSpec | None = Field(
        default=None,
        description="Whether base and variants use a long context: perplexity of the same tokens after much text and after contextLength tokens. maxTokens does not apply.",
    )
    tasks: list[TaskSpec] = Field(
        default=[],
        max_length=8,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            **rules(
                (
                    "self.all(task, !has(task.source.configMap) || !has(task.source.configMap.key))",
                    "the source of a task is a folder: a ConfigMap is named without key",
                )
            ),
        },
        description="Tasks of lm-evaluation-harness, each measured of the base and of every variant by a Job of its own.",
    )
    benchmark: BenchmarkSpec | None = Field(
        default=None,
        description="Speed and memory of the builtin engine with the base and with every variant, one after the other once all else is measured, in pods of spec.jobs. It is measured once: change a field to have it measured again.",
    )
