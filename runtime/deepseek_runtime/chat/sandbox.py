"""The process that runs a model's template: `python -m deepseek_runtime.chat.sandbox`, spoken to over standard input.

A template is a program from whoever made the model. Here it has no credential, no environment, no file, no socket and
no child process; the kernel ends it when it takes too much processor time, and refuses it memory beyond a limit.
"""

import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import orjson
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError

from deepseek_runtime.chat import frames
from deepseek_runtime.chat.environment import CompiledTemplate, RefusedError, TooLongError

T = TypeVar("T")

LONGEST_MESSAGE = 1000
"""Characters of an error that go on."""

UNSAFE = (SecurityError, MemoryError, RecursionError, OverflowError, TooLongError)
"""What no template for conversations provokes."""

_LONGEST_REQUEST = 1 << 30  # the other side is the engine


def main() -> None:
    """Compile what comes first, then render what follows, until the other side ends. An answer is one frame or two."""
    connection = socket.socket(fileno=0)
    try:
        start = orjson.loads(frames.receive(connection, _LONGEST_REQUEST))
        _load()
        confine(start["memoryBytes"])
        compiled, answer = bounded(start["cpuSeconds"], lambda: CompiledTemplate(start["source"], start["special"]))
        frames.send(connection, orjson.dumps(answer))
        while compiled is not None:
            request = orjson.loads(frames.receive(connection, _LONGEST_REQUEST))
            rendered, answer = bounded(start["cpuSeconds"], partial(_render, compiled, start["longest"], **request))
            frames.send(connection, orjson.dumps(answer))
            if rendered is not None:
                for part in rendered:
                    frames.send(connection, part)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _render(
    compiled: CompiledTemplate, longest: int, messages: list[dict[str, str]], prompt: bool
) -> tuple[bytes, bytes]:
    text, origins = compiled.render(messages, prompt, longest)
    return text.encode(), origins


def bounded(seconds: float, work: Callable[[], T]) -> tuple[T | None, dict[str, str | bool]]:
    """What the work gives, and the answer's first frame; SIGPROF ends the process after so much processor time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return work(), {}
    except RefusedError as error:
        return None, {"refused": str(error)[:LONGEST_MESSAGE]}
    except TemplateSyntaxError as error:
        return None, {"failed": f"line {error.lineno}: {error.message}"[:LONGEST_MESSAGE]}
    except MemoryError:
        return None, {"failed": "it needs too much memory", "unsafe": True}
    except Exception as error:  # noqa: BLE001 a template can provoke any
        failed = f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]
        return None, {"failed": failed, "unsafe": isinstance(error, UNSAFE)}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _load() -> None:
    """Have everything in memory that Jinja, Python's codecs and their errors load when they are first needed."""
    with suppress(UndefinedError):
        CompiledTemplate("{{ 'loaded' }}{{ missing.attribute }}", {}).render([], False, LONGEST_MESSAGE)


def confine(memory_bytes: int) -> None:
    """For good: what is open stays open, and nothing more can be opened, written or started."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    main()
