"""Renders a task's templates in the sandbox: all of them in one process, which ends with the last."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from deepseek_runtime.job.errors import DataError


@dataclass(frozen=True, slots=True)
class Request:
    """A template, the key that it stands under, and the document that it is rendered with."""

    key: str
    template: str
    document: dict[str, Any]
    name: str
    """Of the document, for messages."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`cpu_seconds` and `characters` are of one rendering, `patience` of all of them together."""

    cpu_seconds: float = 1.0
    memory_bytes: int = 512 << 20
    characters: int = 1 << 20
    patience: float = 1800.0


def render(requests: Sequence[Request], limits: Limits = Limits()) -> list[str]:
    """Each request's text; errors: DataError `BadTask`, which names the key and the document."""
    if not requests:
        return []
    templates = list(dict.fromkeys(request.template for request in requests))
    numbers = {template: number for number, template in enumerate(templates)}
    asked = {
        "templates": templates,
        "requests": [(numbers[request.template], request.document) for request in requests],
        "cpuSeconds": limits.cpu_seconds,
        "memoryBytes": limits.memory_bytes,
        "longest": limits.characters,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "deepseek_runtime.evaluate.tasks.sandbox"],
            input=orjson.dumps(asked),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},  # and nothing else of ours
            timeout=limits.patience,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError("BadTask", f"The task's templates take more than {limits.patience:g} s in all.") from error
    answers = [orjson.loads(line) for line in done.stdout.splitlines()]
    texts = [answer["text"] for answer in answers if "text" in answer]
    if len(texts) == len(requests):
        return texts
    failed = requests[len(texts)]
    if len(answers) > len(texts):
        why = answers[-1].get("failed") or answers[-1].get("refused")
    elif done.returncode == -signal.SIGPROF:
        why = f"it takes more than {limits.cpu_seconds:g} s of processor time"
    else:
        why = f"its process ended with status {done.returncode}"
    raise DataError("BadTask", f"{failed.key} of the task cannot be rendered with {failed.name}: {why}.")
