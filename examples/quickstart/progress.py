"""What the demonstration shows while the cluster works: one live line on a terminal, a line a change elsewhere."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from examples.quickstart.kube import condition, get
from examples.quickstart.target import Failed

STALL_SECONDS = 20
"""How long a failure must last before it ends the demonstration: pods are tried again, so one crash alone does not."""


class Screen:
    """A terminal that is rewritten in place, or a log that grows."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.last = ""

    def show(self, text: str) -> None:
        """What happens now."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write(f"\r\033[K{text[:width]}")
            sys.stdout.flush()

    def line(self, text: str) -> None:
        """Something that stays."""
        sys.stdout.write(f"\r\033[K{text}\n" if self.live else f"{text}\n")
        sys.stdout.flush()

    def change(self, text: str) -> None:
        """What happens now, which a log shows only when it is new."""
        self.show(text)
        if not self.live and text != self.last:
            self.line(f"  {text}")
        self.last = text

    def pause(self) -> None:
        """Make room for the output of another program."""
        if self.live:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()


def describe(resource: dict[str, Any]) -> str:
    """One line about a resource at work."""
    status = resource.get("status", {})
    text = f"{resource['metadata']['name']}: {status.get('phase', 'Pending')}"
    progress = status.get("progress")
    if progress is None:
        return f"{text}, {condition(resource, 'Ready').get('message', 'not seen by the operator yet')}"
    text += f", {progress['phase']} {progress['percent']} %"
    if progress.get("loss") is not None:
        text += f", loss {progress['loss']:.3f}"
    if progress.get("tokensPerSecond"):
        text += f", {progress['tokensPerSecond']:.0f} tokens/s"
    if progress.get("remaining"):
        text += f", {progress['remaining']} left"
    return text


def follow(
    screen: Screen,
    namespace: str,
    kind: str,
    name: str,
    reached: Callable[[dict[str, Any]], bool],
    timeout: float = 900,
) -> None:
    """Show a resource until it is `reached`; Failed with the cause when it stalls."""
    deadline = time.monotonic() + timeout
    stalled_since: float | None = None
    while True:
        resource = get(kind, namespace).get(name)
        if resource is None:
            raise Failed(f"{kind}/{name} is gone")
        if reached(resource):
            return
        screen.change(describe(resource))
        stalled = condition(resource, "Stalled")
        now = time.monotonic()
        stalled_since = (stalled_since or now) if stalled else None
        if stalled_since is not None and now - stalled_since > STALL_SECONDS:
            failure = resource["status"].get("lastFailure", {})
            raise Failed(f"{kind}/{name}: {stalled['reason']}: {stalled['message']} {failure.get('message', '')}")
        if now > deadline:
            ready = condition(resource, "Ready")
            raise Failed(f"{kind}/{name} is not ready after {timeout:.0f} s: {ready.get('message', '')}")
        time.sleep(1)
