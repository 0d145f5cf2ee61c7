"""The process that renders a task's templates: `python -m deepseek_runtime.evaluate.tasks.sandbox`.

A task file's templates are programs from whoever wrote it: here they have no credential, no environment, no file and no
child process. What is asked comes over standard input as one JSON document; each rendering is answered by one line.
"""

import sys
from contextlib import suppress
from functools import cache, partial
from typing import Any

import orjson
from jinja2 import StrictUndefined
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from deepseek_runtime.chat.sandbox import bounded, confine


class TaskEnvironment(ImmutableSandboxedEnvironment):
    """As lm-evaluation-harness renders, without loader, clock, randomness and names that begin with an underscore."""

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True)
        del self.filters["random"]
        self.globals = {"range": self.globals["range"], "dict": dict}
        self.compiled = cache(self.from_string)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Nothing hostile passes as a value that is merely missing."""
        raise SecurityError(f"it reaches for {attribute!r}, a name of Python's internals")


def render(environment: TaskEnvironment, source: str, document: dict[str, Any], longest: int) -> str:
    """One template with a document; errors: whatever a template can provoke."""
    pieces, length = [], 0
    for piece in environment.compiled(source).generate(**document):
        length += len(piece)
        if length > longest:
            raise SecurityError(f"it writes more than {longest} characters")
        pieces.append(piece)
    return "".join(pieces)


def main() -> None:
    """Answer every request, the one that fails last."""
    start = orjson.loads(sys.stdin.buffer.read())
    environment = TaskEnvironment()
    with suppress(UndefinedError):  # loads what Jinja and Python's codecs need first of all
        render(environment, "{{ 'loaded' | upper }}{{ missing.attribute }}", {}, 1000)
    confine(start["memoryBytes"])
    for template, document in start["requests"]:
        rendering = partial(render, environment, start["templates"][template], document, start["longest"])
        text, answer = bounded(start["cpuSeconds"], rendering)
        sys.stdout.buffer.write(orjson.dumps(answer if text is None else {"text": text}) + b"\n")
        sys.stdout.buffer.flush()
        if text is None:
            return


if __name__ == "__main__":
    main()
