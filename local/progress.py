"""Lines that tell a person what is being done and for how long."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STARTED = time.monotonic()


def say(text: str) -> None:
    """Prints one line with the seconds since this command began."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextmanager
def alive(text: str, detail: Callable[[], str] = str, every: float = 15) -> Iterator[None]:
    """Says what begins, repeats it with a detail while it lasts, and says when it is done."""
    say(text)
    begun = time.monotonic()
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every):
            say(f"  {text}: {detail() or 'still at it'}, {time.monotonic() - begun:.0f} s")

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    say(f"  done in {time.monotonic() - begun:.1f} s")
