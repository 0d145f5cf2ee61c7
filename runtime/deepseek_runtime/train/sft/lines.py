"""Examples as JSON lines: `{"messages": [{"role": …, "content": …}, …]}` or `{"prompt": …, "completion": …}`."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.models import text

PATTERN = "*.jsonl"
LONGEST = 4 << 20
"""Bytes of one line."""

ROLES = ("system", "user", "assistant")
PROBLEMS_SHOWN = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Completion:
    """A prompt and its answer as plain text."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Message:
    """What one side of a conversation says."""

    role: str
    content: str


Conversation = tuple[Message, ...]


class BadLineError(ValueError):
    """A line that is no example; the message says what is wrong with it."""


def examples(paths: Sequence[str], encode: Callable[[Completion | Conversation], T]) -> Iterator[T]:
    """What `encode` makes of each example in files, or in *.jsonl files of directories; empty lines are passed over.

    DataError `BadExamples` names file, line and fault of lines that are no examples or that `encode` refuses with
    BadLineError, in the end or after the first few; `MissingText` and `EmptyText` as in `models.text`.
    """
    problems: list[str] = []
    files = text.files(paths, PATTERN)
    for path, number, line in ((file, *numbered) for file in files for numbered in enumerate(_lines(file), 1)):
        try:
            if line.strip():
                yield encode(parse(line))
        except BadLineError as error:
            problems.append(f"{path} line {number}: {error}")
        if len(problems) == PROBLEMS_SHOWN:
            break
    if problems:
        raise DataError("BadExamples", f"{'; '.join(problems)}. Correct these lines or leave them out.")


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file; of one that is too long the first LONGEST + 1 bytes."""
    with path.open("rb") as file:
        while line := file.readline(LONGEST + 1):
            yield line
            while len(line) > LONGEST and not line.endswith(b"\n"):
                line = file.readline(LONGEST + 1)


def parse(line: bytes) -> Completion | Conversation:
    """The example of one line; BadLineError where it is none."""
    if len(line) > LONGEST:
        raise BadLineError(f"it is longer than {LONGEST} bytes")
    try:
        found = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise BadLineError(f"it is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadLineError(f"it is not JSON: {error.msg} at character {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise BadLineError(f"it is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise BadLineError("it is not a JSON object")
    if "tools" in found or "functions" in found:
        raise BadLineError("tools are not supported")
    if ("messages" in found) == ("prompt" in found or "completion" in found):
        raise BadLineError("it has neither messages nor prompt and completion, or both")
    if "messages" in found:
        return _conversation(found["messages"])
    return Completion(_text(found.get("prompt"), "prompt"), _text(found.get("completion"), "completion"))


def _conversation(messages: Any) -> Conversation:
    if not isinstance(messages, list):
        raise BadLineError("messages is not a list")
    conversation = tuple(_message(message, f"messages[{index}]") for index, message in enumerate(messages))
    if not any(message.role == "assistant" for message in conversation):
        raise BadLineError("no message is the assistant's, so there is nothing to learn")
    return conversation


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict) or message.keys() != {"role", "content"}:
        raise BadLineError(f"{where} is not an object of role and content alone")
    if message["role"] not in ROLES:
        raise BadLineError(f"the role of {where} is {message['role']!r:.40}, not one of {', '.join(ROLES)}")
    return Message(message["role"], _text(message["content"], f"{where}.content"))


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadLineError(f"{where} is not text")
    if not value.strip():
        raise BadLineError(f"{where} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadLineError(f"{where} has half of a surrogate pair") from None
    return value
