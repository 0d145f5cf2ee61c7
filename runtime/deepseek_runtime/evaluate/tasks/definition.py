"""The part of lm-evaluation-harness' task files that is honoured; every other key is refused by its name.

Format: https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/task_guide.md, version 0.4.13.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from deepseek_runtime.job.errors import DataError

LONGEST = 256 * 1024
"""Bytes of a task file."""
DEEPEST = 16
"""Lists and mappings in each other. The time to read a file grows with the square of its depth."""
CODE = frozenset(
    {
        "custom_dataset",
        "process_docs",
        "process_results",
        "unsafe_code",
        "filter_list",
        "class",
        "include",
        "use_prompt",
    }
)
"""Keys that run or fetch somebody's code, or read files that it lies in."""
METRICS = {
    "multiple_choice": frozenset({"acc", "acc_norm"}),
    "loglikelihood": frozenset({"acc"}),
    "generate_until": frozenset({"exact_match"}),
}
_PLAIN = re.compile(r"tag:yaml\.org,2002:(str|int|float|bool|null|seq|map)")
_TEXT = "tag:yaml.org,2002:str"

Template = Annotated[str, Field(max_length=65536)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DatasetKwargs(_Strict):
    """`data_files`: for each split a file of JSON lines in the folder of the task file."""

    data_files: dict[str, str]

    @field_validator("data_files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        for file in files.values():
            path = PurePosixPath(file)
            if path.is_absolute() or not path.parts or ".." in path.parts or "://" in file:
                raise ValueError(f"{file} is no file in the task file's folder")
            if path.suffix not in (".jsonl", ".json"):
                raise ValueError(f"{file} does not end with .jsonl or .json")
        return files


class FewshotConfig(_Strict):
    """How examples are drawn: at random by lm-evaluation-harness' own seed, or the first."""

    sampler: Literal["default", "first_n"] = "default"


class GenerationKwargs(_Strict):
    """Greedy generation, until one of the texts in `until` or an end token."""

    until: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16)] | str | None = None
    max_gen_toks: int = Field(default=256, ge=1, le=8192)
    do_sample: Literal[False] = False
    temperature: float = Field(default=0.0, ge=0, le=0)


class Metric(_Strict):
    """A mean over the documents. The last three are of exact_match."""

    metric: str
    aggregation: Literal["mean"] = "mean"
    higher_is_better: Literal[True] = True
    ignore_case: bool = False
    ignore_punctuation: bool = False
    ignore_numbers: bool = False

    @model_validator(mode="after")
    def _ignores(self) -> Self:
        if self.metric != "exact_match" and (self.ignore_case or self.ignore_punctuation or self.ignore_numbers):
            raise ValueError("ignore_case, ignore_punctuation and ignore_numbers are of exact_match")
        return self


class Definition(_Strict):
    """A task. `task`, `task_alias`, `tag` and `metadata` are labels: lm-evaluation-harness computes nothing by them."""

    task: str
    task_alias: str | None = None
    tag: str | list[str] | None = None
    metadata: dict[str, Any] | None = None
    dataset_path: Literal["json"]
    dataset_kwargs: DatasetKwargs
    training_split: str | None = None
    validation_split: str | None = None
    test_split: str | None = None
    fewshot_split: str | None = None
    fewshot_config: FewshotConfig = FewshotConfig()
    num_fewshot: int | None = Field(default=None, ge=0, le=64)
    output_type: Literal["multiple_choice", "loglikelihood", "generate_until"] = "generate_until"
    description: Template = ""
    doc_to_text: Template
    doc_to_target: Template | int
    doc_to_choice: Template | list[str] | None = None
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    generation_kwargs: GenerationKwargs = GenerationKwargs()
    metric_list: list[Metric] = Field(min_length=1, max_length=4)
    repeats: Literal[1] = 1
    should_decontaminate: Literal[False] = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = METRICS[self.output_type]
        for metric in self.metric_list:
            if metric.metric not in known:
                raise ValueError(
                    f"metric {metric.metric} of {self.output_type} is not computed here; {', '.join(sorted(known))} is"
                )
        if len({metric.metric for metric in self.metric_list}) != len(self.metric_list):
            raise ValueError("metric_list names a metric twice")
        if (self.doc_to_choice is None) == (self.output_type == "multiple_choice"):
            raise ValueError("doc_to_choice belongs to the output_type multiple_choice, which needs it")
        if self.output_type != "generate_until" and "generation_kwargs" in self.model_fields_set:
            raise ValueError("generation_kwargs belong to the output_type generate_until")
        if self.evaluated is None:
            raise ValueError("it needs test_split or validation_split")
        for split in (self.training_split, self.validation_split, self.test_split, self.fewshot_split):
            if split is not None and split not in self.dataset_kwargs.data_files:
                raise ValueError(f"the split {split} is not in dataset_kwargs.data_files")
        return self

    @property
    def evaluated(self) -> str | None:
        """The split whose documents are scored."""
        return self.test_split or self.validation_split

    @property
    def examples(self) -> str:
        """The split that few-shot examples come from."""
        split = self.fewshot_split or self.training_split or self.validation_split or self.test_split
        assert split is not None, "a definition has a split"  # noqa: S101
        return split

    @property
    def until(self) -> list[str]:
        """The texts that end an answer."""
        until = self.generation_kwargs.until
        if until is None:
            return [self.fewshot_delimiter] if self.fewshot_delimiter else []
        return [until] if isinstance(until, str) else list(until)


def read(path: Path) -> Definition:
    """A task file; errors: DataError `BadTask`, which names the file and the key."""
    try:
        size = path.stat().st_size
        if size > LONGEST:
            raise _bad(path, f"it has {size} bytes; at most {LONGEST} are taken")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("BadTask", f"The task file {path} cannot be read: {error}.") from error
    try:
        node = _composed(path, text)
        value = yaml.SafeLoader("").construct_document(node) if node is not None else None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise _bad(path, f"it is no YAML ({' '.join(str(error).split())[:300]})") from error
    if not isinstance(value, dict):
        raise _bad(path, "it is no mapping of keys")
    for key in sorted(CODE & value.keys()):
        raise _bad(path, f"key {key}: it leads to code or to other files, and none is run or read here. Drop it")
    try:
        return Definition.model_validate(value)
    except ValidationError as error:
        raise _bad(path, "; ".join(_said(dict(each)) for each in error.errors()[:5])) from error


def _composed(path: Path, text: str) -> yaml.Node | None:
    """The file's nodes, once none of them is more than data; errors: DataError, YAMLError."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _bad(path, "it has aliases (*name), which are not taken. Write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _bad(path, f"its lists and mappings are more than {DEEPEST} deep in each other")
    node = yaml.compose(text, yaml.SafeLoader)
    if node is not None:
        _check(path, node, "the file")
    return node


def _check(path: Path, node: yaml.Node, key: str) -> None:
    if _PLAIN.fullmatch(node.tag) is None:
        raise _bad(path, f"key {key}: it has the tag {node.tag}; code is not run and only plain values are taken")
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _check(path, each, key)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for name, value in node.value:
            _check(path, name, key)
            line = name.start_mark.line + 1
            if name.tag != _TEXT:
                raise _bad(path, f"the key in line {line} is no text to YAML. Put it in quotes")
            if name.value in seen:
                raise _bad(path, f"it has the key {name.value} twice, in line {line} again")
            seen.add(name.value)
            _check(path, value, name.value if key == "the file" else f"{key}.{name.value}")


def _said(error: dict[str, Any]) -> str:
    where = ".".join(map(str, error["loc"])) or "the file"
    if error["type"] == "extra_forbidden":
        return f"key {where}: it is not honoured here"
    if error["loc"] == ("dataset_path",):
        return "key dataset_path: it must be json, with files beside the task file; hubs and scripts are not read"
    return f"key {where}: {error['msg']}"


def _bad(path: Path, what: str) -> DataError:
    return DataError("BadTask", f"The task file {path} cannot be used: {what}.")
