"""A task's figures of a model: the Job, and what its answers are counted as."""

import math
import string
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedModel

from deepseek_runtime.evaluate import perplexity
from deepseek_runtime.evaluate.tasks import definition as task_files
from deepseek_runtime.evaluate.tasks import documents, prompts, scoring
from deepseek_runtime.evaluate.tasks.definition import Definition, Metric
from deepseek_runtime.evaluate.tasks.prompts import Question
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.models.ends import end_tokens
from deepseek_runtime.weights import seal
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.wire.job import TaskJob
from deepseek_runtime.wire.result import JobResult, TaskMetric, TaskScores


def run(job: TaskJob, reporter: Reporter) -> JobResult:
    """Measure a verified model and seal the figures. All that the task file can be wrong in comes before the model."""
    began, folder, directory = time.monotonic(), Path(job.folder), Path(job.input)
    task = task_files.read(folder / job.file)
    few_shot = (task.num_fewshot or 0) if job.few_shot is None else job.few_shot
    assert task.evaluated is not None, "a definition has a split"  # noqa: S101
    scored = documents.first(documents.read(folder, task, task.evaluated), job.limit)
    pool = documents.read(folder, task, task.examples) if few_shot else []
    asked = prompts.questions(task, scored, pool, few_shot)
    tokenizer = perplexity.load_tokenizer(directory)
    ends = end_tokens(directory, load_config(directory))
    values = answers(perplexity.load(directory), tokenizer, task, asked, ends, reporter)
    found = TaskScores(
        documents=len(asked),
        few_shot=few_shot,
        metrics=tuple(
            TaskMetric(metric=name, value=mean(each), standard_error=standard_error(each))
            for name, each in values.items()
        ),
        seconds=round(time.monotonic() - began, 3),
    )
    result = JobResult(kind=job.kind, identity=job.identity, outcome="succeeded", task=found)
    return seal.seal(place(job), job.identity, result)


def answers(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    task: Definition,
    asked: Sequence[Question],
    end_tokens: frozenset[int],
    reporter: Reporter,
) -> dict[str, list[float]]:
    """Each metric's value of each question, 0 or 1."""
    if task.output_type == "generate_until":
        most, until = task.generation_kwargs.max_gen_toks, task.until
        return _generated(
            lambda context: scoring.generate(model, tokenizer, context, most, until, end_tokens), task, asked, reporter
        )
    pairs = [
        (question.context, f"{task.target_delimiter}{choice}" if question.choices else choice)
        for question in asked
        for choice in question.choices or (question.answer,)
    ]
    bos, longest = model.config.bos_token_id, model.config.max_position_embeddings
    windows = [scoring.window(tokenizer, bos, longest, *pair) for pair in pairs]
    total, began = sum(len(window.tokens) for window in windows), time.monotonic()
    order = sorted((len(window.tokens) for window in windows), reverse=True)

    def report(count: int) -> None:
        done = sum(order[:count])
        speed = done / max(time.monotonic() - began, 1e-9)
        reporter.update("scoring", unit="tokens", done=done, total=total, tokens_per_second=speed)

    found = iter(scoring.likelihoods(model, windows, report))
    if task.output_type == "loglikelihood":
        return {"acc": [float(each.greedy) for each in found]}
    values: dict[str, list[float]] = {metric.metric: [] for metric in task.metric_list}
    for question in asked:
        nats = [next(found).nats for _ in question.choices]
        lengths = [len(choice) for choice in question.choices]
        picked = {
            "acc": _largest(nats),
            "acc_norm": _largest([each / length for each, length in zip(nats, lengths, strict=True)]),
        }
        for name, known in values.items():
            known.append(float(picked[name] == question.target))
    return values


def _generated(
    generate: Callable[[str], str], task: Definition, asked: Sequence[Question], reporter: Reporter
) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {metric.metric: [] for metric in task.metric_list}
    for number, question in enumerate(asked, start=1):
        text = generate(question.context)
        for metric in task.metric_list:
            values[metric.metric].append(float(_plain(text, metric) == _plain(question.answer, metric)))
        reporter.update("answering", unit="documents", done=number, total=len(asked))
    return values


def _largest(values: Sequence[float]) -> int:
    """The first of the largest."""
    return max(range(len(values)), key=values.__getitem__)


def _plain(text: str, metric: Metric) -> str:
    if metric.ignore_case:
        text = text.lower()
    dropped = string.punctuation * metric.ignore_punctuation + string.digits * metric.ignore_numbers
    return text.translate(str.maketrans("", "", dropped))


def mean(values: Sequence[float]) -> float:
    """DataError where there is nothing to count."""
    if not values:
        raise DataError("BadDocuments", "The task has no documents.")
    return sum(values) / len(values)


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean, by the sample's deviation; None of a single document."""
    if len(values) < 2:
        return None
    middle = mean(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1)) / math.sqrt(len(values))
