"""An engine on a thread of its own: loading, warm-up, the loop, and the heartbeat that shows it lives."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from deepseek_runtime.serve.chat import Chat
from deepseek_runtime.serve.engine import Engine, Request
from deepseek_runtime.serve.tokenizer import Tokenizer

IDLE_SECONDS = 1.0
"""How long an idle loop sleeps before it shows another sign of life."""

HEARTBEAT_SECONDS = 30.0
"""A loop that shows no sign of life for so long is taken for dead."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An engine that has generated a token, and what requests to it must know."""

    engine: Engine
    tokenizer: Tokenizer
    chat: Chat
    context_length: int
    vocab_size: int


class EngineThread:
    """Only this thread touches the engine; others leave it messages.

    `load(beat)` makes the engine, `beat` being its sign of life from then on. `ended` is done when the thread is: with
    its exception, or None after `stop`.
    """

    def __init__(self, load: Callable[[Callable[[], None]], Loaded]) -> None:
        self._load = load
        self._inbox: SimpleQueue[Callable[[Engine], None]] = SimpleQueue()
        self._stopping = False
        self._beaten = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.loaded: Loaded | None = None
        self.ended: Future[None] = Future()

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the loop gave a sign of life lately; loading takes as long as it takes."""
        fresh = self.loaded is None or time.monotonic() - self._beaten < HEARTBEAT_SECONDS
        return fresh and not self.ended.done()

    def submit(self, request: Request) -> None:
        """Hand a request to the engine."""
        self._inbox.put(lambda engine: engine.add(request))

    def cancel(self, request: Request) -> None:
        """Have the engine forget a request; harmless for one that has finished."""
        self._inbox.put(lambda engine: engine.cancel(request))

    def stop(self, timeout: float) -> bool:
        """End the loop after the step it is in; False if it is still busy after `timeout` seconds."""
        self._stopping = True
        self._inbox.put(lambda engine: None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _beat(self) -> None:
        self._beaten = time.monotonic()

    def _run(self) -> None:
        try:
            loaded = self._load(self._beat)
            self._beat()
            self.loaded = loaded
            self._loop(loaded.engine)
        except BaseException as error:  # noqa: BLE001 whoever waits for the thread gets it
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)

    def _loop(self, engine: Engine) -> None:
        busy = False
        while not self._stopping:
            self._beat()
            self._read_inbox(engine, 0.0 if busy else IDLE_SECONDS)
            busy = engine.step()

    def _read_inbox(self, engine: Engine, patience: float) -> None:
        try:
            self._inbox.get(timeout=patience)(engine) if patience else self._inbox.get_nowait()(engine)
            while True:
                self._inbox.get_nowait()(engine)
        except Empty:
            return
