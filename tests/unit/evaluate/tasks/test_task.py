"""Figures are those of lm-evaluation-harness, on the same model, task files and documents.

GOLDEN is what `lm_eval` 0.4.13 finds, in an environment of its own (it brings datasets, scikit-learn and some forty
packages more), with the model of `golden_model` and the folder of `files.write` as the working directory:

    lm_eval run --model hf --model_args pretrained=MODEL,dtype=float32 --device cpu --batch_size 1 \\
        --include_path . --tasks choice,same,empty,last,open
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.evaluate import perplexity
from deepseek_runtime.evaluate.tasks import definition as task_files
from deepseek_runtime.evaluate.tasks import documents, prompts, scoring, task
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.models import scratch
from deepseek_runtime.serve.tokenizer import Tokenizer
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.wire.job import TaskJob
from deepseek_runtime.wire.result import TaskScores

from tests.unit.evaluate.tasks import files
from tests.unit.tiny import Reports, build_job

GOLDEN = {
    "choice": {"acc": (0.25, 0.09028938981432691), "acc_norm": (0.3333333333333333, 0.09829463743659811)},
    "same": {"acc": (0.20833333333333334, 0.08468112965594378), "acc_norm": (0.0, 0.0)},
    "empty": {"acc": (0.25, 0.09028938981432691), "acc_norm": (0.3333333333333333, 0.09829463743659811)},
    "last": {"acc": (0.125, 0.06895966054592131)},
    "open": {"exact_match": (0.125, 0.06895966054592131)},
}


@pytest.fixture(scope="session")
def golden_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experts of a width that plain transformers can multiply."""
    directory = tmp_path_factory.mktemp("golden")
    scratch.run(build_job(directory, moe_intermediate_size=16), Reports())
    return directory / "volume" / "artifact"


def _job(model: Path, folder: Path, file: str, limit: int | None = None, few_shot: int | None = None) -> TaskJob:
    return TaskJob(
        identity="8" * 64,
        owner="DeepSeekModel/test/tiny",
        output=str(folder),
        input=str(model),
        input_digest=manifest.read(model).digest,
        folder=str(folder),
        file=file,
        limit=limit,
        few_shot=few_shot,
    )


def _found(model: Path, folder: Path, file: str, limit: int | None = None, few_shot: int | None = None) -> TaskScores:
    found = task.run(_job(model, files.write(folder), file, limit, few_shot), Reports()).task
    assert found is not None
    return found


@pytest.mark.parametrize("name", files.TASKS)
def test_figures_are_those_of_the_harness(golden_model: Path, tmp_path: Path, name: str) -> None:
    found = _found(golden_model, tmp_path, f"{name}.yaml")
    assert {each.metric: (each.value, each.standard_error) for each in found.metrics} == GOLDEN[name]
    assert found.documents == 24


def test_figures_are_sealed_and_progress_told(model: Path, tmp_path: Path) -> None:
    job, reports = _job(model, files.write(tmp_path), "choice.yaml", limit=5, few_shot=0), Reports()
    result = task.run(job, reports)
    assert result.task is not None
    assert (result.task.documents, result.task.few_shot) == (5, 0)
    assert reports.seen[-1][0] == "scoring"
    assert reports.seen[-1][1] == reports.seen[-1][2]
    assert seal.sealed(tmp_path / job.identity, job.identity) == result.model_copy(update={"cached": True})
    assert _found(model, tmp_path, "choice.yaml", limit=1).metrics[0].standard_error is None


def test_an_answer_ends_where_the_engine_ends_it(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chatty, seen = tmp_path / "model", list[frozenset[int]]()
    shutil.copytree(model, chatty)
    (chatty / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 4]}))
    manifest.write(chatty)

    def generate(*told: Any) -> str:
        seen.append(told[-1])
        return ""

    monkeypatch.setattr(scoring, "generate", generate)
    _found(chatty, tmp_path, "open.yaml", limit=1)
    assert seen == [Tokenizer(chatty, load_config(chatty)).end] == [frozenset({1, 4})]


def test_few_shot_examples_stand_before_the_question_and_are_never_it(tmp_path: Path) -> None:
    definition = task_files.read(files.write(tmp_path) / "same.yaml")
    read = documents.read(tmp_path, definition, "test")
    for count in (0, 1, 5):
        for question, document in zip(prompts.questions(definition, read, read, count), read, strict=True):
            asked = f"{document.fields['question'].upper()}:\n"
            assert question.context.startswith("Tiere. ")
            assert question.context.endswith(asked)
            assert question.context.count(asked) == 1
            assert question.context.count(":\n") == count + 1
    with pytest.raises(ConfigurationError, match="asks for 24 few-shot examples; the split test has 24 documents"):
        prompts.questions(definition, read, read, 24)


def test_white_space_before_a_continuation_is_its_own(model: Path) -> None:
    tokenizer = perplexity.load_tokenizer(model)
    assert scoring.window(tokenizer, 0, 64, "Der Fuchs ", "springt") == scoring.window(
        tokenizer, 0, 64, "Der Fuchs", " springt"
    )
    cut = scoring.window(tokenizer, 0, 8, "Zeile 1: Der schnelle Fuchs " * 9, "springt")
    assert len(cut.tokens) == 8
    assert cut.scored > 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1]", "Line 2 of .*docs.jsonl is no object"),
        ("{", "Line 2 of .*docs.jsonl is no JSON"),
        ('{"question": "a"}', "Line 2 of .*docs.jsonl has other fields than line 1"),
        ('{"question": "a", "choices": ["b"], "label": 3, "answer": "b"}', "doc_to_target .* line 2 .* none of its 1"),
        ('{"question": "a", "choices": "b", "label": 0, "answer": "b"}', "doc_to_choice .* line 2 .* no list of texts"),
        ('{"question": "7", "choices": ["b"], "label": 0, "answer": "b"}', "doc_to_text .* line 2 .* is a number"),
    ],
)
def test_a_document_that_cannot_be_used_is_named(model: Path, tmp_path: Path, line: str, said: str) -> None:
    job = _job(model, files.write(tmp_path), "choice.yaml")
    first = (tmp_path / "docs.jsonl").read_text().splitlines()[0]
    (tmp_path / "docs.jsonl").write_text(f"{first}\n{line}\n")
    with pytest.raises(DataError, match=said):
        task.run(job, Reports())


def test_what_is_missing_or_too_long_is_named(model: Path, tmp_path: Path) -> None:
    files.write(tmp_path)
    with pytest.raises(DataError, match=r"nothing\.yaml cannot be read"):
        task.run(_job(model, tmp_path, "nothing.yaml"), Reports())
    text = (tmp_path / "open.yaml").read_text()
    (tmp_path / "open.yaml").write_text(text.replace("max_gen_toks: 8", "max_gen_toks: 64"))
    with pytest.raises(ConfigurationError, match="max_gen_toks is 64; the model has 64"):
        task.run(_job(model, tmp_path, "open.yaml"), Reports())
    (tmp_path / "docs.jsonl").unlink()
    with pytest.raises(DataError, match="the split test, cannot be read"):
        task.run(_job(model, tmp_path, "choice.yaml"), Reports())
