"""JSON lines: what is an example, and how a line that is none is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.train.sft import lines
from deepseek_runtime.train.sft.lines import BadLineError, Completion, Message, parse

USER, ANSWER = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}


def test_both_forms_are_told_apart_line_by_line(tmp_path: Path) -> None:
    first, second = tmp_path / "data" / "a.jsonl", tmp_path / "data" / "b.jsonl"
    first.parent.mkdir()
    first.write_text(json.dumps({"messages": [USER, ANSWER], "id": 7}) + "\n\n", "utf-8")
    second.write_text(json.dumps({"prompt": "2 + 2 =", "completion": " 4", "source": "sums"}), "utf-8")
    (tmp_path / "data" / "notes.txt").write_text("not for training")
    assert list(lines.examples((str(second.parent),), lambda example: example)) == [
        (Message("user", "Who?"), Message("assistant", "Me.")),
        Completion("2 + 2 =", " 4"),
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"[1]", "not a JSON object"),
        (b"{", "not JSON"),
        (b'{"n": 1' + b"0" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"prompt": "caf\xe9", "completion": "x"}', "not UTF-8 at byte 15"),
        (b'{"prompt": "\\ud83d", "completion": "x"}', "prompt has half of a surrogate pair"),
        ({}, "neither messages nor prompt"),
        ({"text": "plain"}, "neither messages nor prompt"),
        ({"messages": [USER, ANSWER], "prompt": "x"}, "or both"),
        ({"prompt": "x"}, "completion is not text"),
        ({"prompt": "x", "completion": ["y"]}, "completion is not text"),
        ({"prompt": "x", "completion": " \n"}, "completion is empty"),
        ({"prompt": "", "completion": "y"}, "prompt is empty"),
        ({"messages": "hello"}, "messages is not a list"),
        ({"messages": []}, "nothing to learn"),
        ({"messages": [USER]}, "nothing to learn"),
        ({"messages": [USER, {"role": "assistant", "content": ""}]}, "messages[1].content is empty"),
        ({"messages": [{"role": "tool", "content": "x"}, ANSWER]}, "the role of messages[0] is 'tool', not one of"),
        ({"messages": [{"role": ["user"], "content": "x"}, ANSWER]}, "not one of"),
        ({"messages": [USER, {**ANSWER, "weight": 0}]}, "messages[1] is not an object of role and content alone"),
        ({"messages": [USER, "Me."]}, "messages[1] is not an object of role and content alone"),
        ({"messages": [USER, ANSWER], "tools": []}, "tools are not supported"),
    ],
)
def test_a_line_that_is_no_example_says_why(line: Any, fault: str) -> None:
    with pytest.raises(BadLineError) as refused:
        parse(line if isinstance(line, bytes) else json.dumps(line).encode())
    assert fault in str(refused.value)


def test_file_line_and_fault_of_the_first_bad_lines_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    good = json.dumps({"prompt": "x", "completion": "y"})
    file.write_text("\n".join([good, "nonsense", good, '{"prompt": "x"}'] + ["?"] * 9))
    with pytest.raises(DataError) as refused:
        list(lines.examples((str(file),), lambda example: example))
    assert refused.value.reason == "BadExamples"
    assert f"{file} line 2: it is not JSON: Expecting value at character 1" in refused.value.message
    assert f"{file} line 4: completion is not text" in refused.value.message
    assert refused.value.message.count(" line ") == lines.PROBLEMS_SHOWN


def test_what_the_encoder_refuses_is_named_as_well(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps({"messages": [ANSWER, USER]}))

    def refuse(_: object) -> None:
        raise BadLineError("the template wants the user first")

    with pytest.raises(DataError, match=r"train.jsonl line 1: the template wants the user first"):
        list(lines.examples((str(file),), refuse))


def test_a_line_without_end_is_refused_without_being_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 64)
    file = tmp_path / "train.jsonl"
    good = json.dumps({"prompt": "x", "completion": "y"})
    long = json.dumps({"prompt": "x", "completion": "y" * 500})
    file.write_text(f"{good}\n{long}\n{good}\n{long}")
    with pytest.raises(DataError) as refused:
        list(lines.examples((str(file),), lambda example: example))
    assert "line 2: it is longer than 64 bytes" in refused.value.message
    assert "line 4: it is longer than 64 bytes" in refused.value.message


def test_a_directory_without_examples_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("text")
    with pytest.raises(DataError, match=r"no \*.jsonl files"):
        list(lines.examples((str(tmp_path),), lambda example: example))
