"""Renders messages in the sandbox, which is started when it is needed and again when it was killed."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import orjson

from deepseek_runtime.chat import frames
from deepseek_runtime.chat.template import ChatTemplate

_LONGEST_ERROR = 64 * 1024
_LAST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rendering may take. `patience` covers the start of the process, also on a machine that is busy."""

    cpu_seconds: float = 1.0
    memory_bytes: int = 256 << 20
    characters: int = 4 << 20
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text, with the origin (chat.origin) of every character."""

    text: str
    origins: bytes


class TemplateRefusedError(Exception):
    """The template refuses these messages; the text is the template's own, at most 1,000 characters."""


class TemplateFailedError(Exception):
    """The template is broken, does not fit these messages, or took more than its limits.

    `unsafe`: it did what no template for conversations does.
    """

    def __init__(self, message: str, *, unsafe: bool = False) -> None:
        super().__init__(message)
        self.unsafe = unsafe


class Renderer:
    """One template and its process; for several threads, one at a time. Use with `with`, or `close` it."""

    def __init__(self, template: ChatTemplate, limits: Limits = Limits()) -> None:
        self._template = template
        self.limits = limits
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._broken: TemplateFailedError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the process; a later `render` would start another."""
        with self._lock:
            self._end()

    def render(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> Rendered:
        """Messages `{"role": …, "content": …}` as the model reads them.

        With `add_generation_prompt` the text ends where the assistant's answer begins. Errors: TemplateRefusedError,
        TemplateFailedError.
        """
        request = {"messages": [dict(message) for message in messages], "prompt": add_generation_prompt}
        with self._lock:
            try:
                if self._broken is not None:
                    raise TemplateFailedError(str(self._broken), unsafe=self._broken.unsafe)
                connection = self._connection or self._start()
                self._ask(connection, request)
                text = frames.receive(connection, 4 * self.limits.characters, self.limits.patience)
                origins = frames.receive(connection, self.limits.characters, self.limits.patience)
            except (OSError, EOFError, ValueError) as error:
                raise self._bury(error) from error
        return Rendered(text.decode(), origins)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "deepseek_runtime.chat.sandbox"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(sys.path)},  # and nothing else of ours
            )
        self._connection = ours
        start = {
            "source": self._template.source,
            "special": self._template.special,
            "cpuSeconds": self.limits.cpu_seconds,
            "memoryBytes": self.limits.memory_bytes,
            "longest": self.limits.characters,
        }
        try:
            self._ask(ours, start)
        except TemplateFailedError as error:  # it cannot be compiled, and never will
            self._broken = error
            self._end()
            raise
        return ours

    def _ask(self, connection: socket.socket, request: dict[str, object]) -> None:
        connection.settimeout(self.limits.patience)
        frames.send(connection, orjson.dumps(request))
        answer = orjson.loads(frames.receive(connection, _LONGEST_ERROR, self.limits.patience))
        if "refused" in answer:
            raise TemplateRefusedError(answer["refused"])
        if "failed" in answer:
            raise TemplateFailedError(answer["failed"], unsafe=answer.get("unsafe", False))

    def _bury(self, error: Exception) -> TemplateFailedError:
        """End the process that broke off; why it did."""
        process = self._process
        if isinstance(error, EOFError | ConnectionError) and process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_SECONDS)
        code = None if process is None else process.poll()
        self._end()
        if code == -signal.SIGPROF:
            message = f"it takes more than {self.limits.cpu_seconds:g} s of processor time"
            return TemplateFailedError(message, unsafe=True)
        if code is None:
            return TemplateFailedError(f"it gives no answer ({type(error).__name__})")
        return TemplateFailedError(f"its process ended with status {code}", unsafe=True)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._connection = self._process = None
