"""What is honoured is read; whatever is not is refused by its name, and nothing of it is run."""

from pathlib import Path

import pytest
import yaml
from deepseek_runtime.evaluate.tasks import definition
from deepseek_runtime.evaluate.tasks.definition import Definition
from deepseek_runtime.job.errors import DataError
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.evaluate.tasks.files import DATA, TASKS

TASK = f"task: a\n{DATA}{TASKS['choice']}"


def read(tmp_path: Path, text: str) -> Definition:
    (tmp_path / "task.yaml").write_text(text, "utf-8")
    return definition.read(tmp_path / "task.yaml")


@pytest.mark.parametrize("name", TASKS)
def test_tasks_are_read(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, f"task: a\ntag: [x]\nmetadata: {{version: 1.0}}\n{DATA}{TASKS[name]}")
    assert found.evaluated == "test"
    assert found.output_type in TASKS[name]


@given(key=st.from_regex(r"[a-z_]{1,20}", fullmatch=True).filter(lambda key: key not in Definition.model_fields))
def test_any_other_key_is_refused_by_name(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    with pytest.raises(DataError, match=f"task.yaml.*key {key}:") as caught:
        read(tmp_path_factory.mktemp("task"), f"{TASK}? '{key}'\n: 1\n")
    assert caught.value.reason == "BadTask"


@given(text=st.text(max_size=200))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("task")
    (folder / "task.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError):
        definition.read(folder / "task.yaml")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("process_docs: !function code.process\n", "key process_docs: it has the tag !function"),
        ("doc_to_image: !!python/object/apply:os.system [id]\n", "key doc_to_image: it has the tag"),
        ("metadata: {a: {b: !function x.y}}\n", "key metadata.a.b: it has the tag !function"),
        ("filter_list: [{name: x, filter: [{function: take_first}]}]\n", "key filter_list: it leads to code"),
        ("include: other.yaml\n", "key include: it leads to code"),
        ("unsafe_code: true\n", "key unsafe_code: it leads to code"),
        ("gen_prefix: x\n", "key gen_prefix: it is not honoured"),
        ("repeats: 2\n", "key repeats"),
        ("task: b\n", "it has the key task twice, in line 14 again"),
        ("no: 1\n", "the key in line 14 is no text to YAML"),
        ("metadata: {1.0: x}\n", "the key in line 14 is no text to YAML"),
        ("metadata: {[a]: x}\n", "the key in line 14 is no text to YAML"),
        ("metadata: {a: &x [1], b: *x}\n", "aliases"),
        ("fewshot_split: dev\n", "the split dev is not in dataset_kwargs.data_files"),
        ("fewshot_config: {sampler: first_n, samples: []}\n", "key fewshot_config.samples: it is not honoured"),
        ("generation_kwargs: {}\n", "generation_kwargs belong to the output_type generate_until"),
    ],
)  # fmt: skip
def test_what_is_not_honoured_is_named(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(DataError, match=r"task\.yaml") as caught:
        read(tmp_path, TASK + more)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dataset_path: json", "dataset_path: allenai/ai2_arc", "key dataset_path: it must be json"),
        ("dataset_path: json", "dataset_path: loader.py", "key dataset_path: it must be json"),
        ("test: docs.jsonl", "test: ../secret.jsonl", "no file in the task file's folder"),
        ("test: docs.jsonl", "test: /etc/x.jsonl", "no file in the task file's folder"),
        ("test: docs.jsonl", "test: 'https://a.example/x.jsonl'", "no file in the task file's folder"),
        ("metric: acc,", "metric: f1,", "metric f1 of multiple_choice is not computed here; acc, acc_norm is"),
        ("aggregation: mean", "aggregation: median", "key metric_list.0.aggregation"),
        ("multiple_choice", "loglikelihood_rolling", "key output_type"),
        ("doc_to_choice: choices\n", "", "doc_to_choice belongs to"),
        ("num_fewshot: 1", "num_fewshot: true", "key num_fewshot"),
    ],
)
def test_what_cannot_be_computed_here_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TASK
    with pytest.raises(DataError) as caught:
        read(tmp_path, TASK.replace(old, new, 1))
    assert said in caught.value.message


def test_a_large_or_deep_file_is_refused(tmp_path: Path) -> None:
    deepest = definition.LONGEST // 2
    for text, said in (
        ("#" * (definition.LONGEST + 1), "bytes"),
        ("[" * definition.LONGEST, "deep"),
        ("[" * deepest + "]" * deepest, "deep"),
        ("{a: " * (definition.LONGEST // 4), "deep"),
    ):
        with pytest.raises(DataError, match=said):
            read(tmp_path, text)


def test_yaml_written_by_a_program_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, yaml.safe_dump(yaml.safe_load(TASK))) == read(tmp_path, TASK)
