"""Server-sent events, incrementally (WHATWG HTML, "Server-sent events", section "Interpreting an event stream").

Works on bytes: a chunk may end anywhere, also inside a multi-byte character or between CR and LF.
"""

DONE = b"[DONE]"
MAX_EVENT_BYTES = 1024 * 1024
SIGN_OF_LIFE = b":\n\n"
"""A comment: whoever waits learns that there is still somebody, and clients ignore it."""


class EventTooLongError(ValueError):
    """An event is longer than any answer needs: the sender is broken."""


class EventParser:
    """Chunks in, the data of whole events out. Event names, ids and comments have no meaning in this API."""

    def __init__(self) -> None:
        self._partial = bytearray()  # the line that has not ended yet
        self._data: list[bytes] = []  # the data lines of the event that has not ended yet
        self._size = 0
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that ends in this chunk; errors: EventTooLongError."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        events: list[bytes] = []
        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines[:-1]:
            self._partial += line
            whole = bytes(self._partial)
            self._partial.clear()
            self._line(whole, events)
        self._partial += lines[-1]
        if len(self._partial) + self._size > MAX_EVENT_BYTES:
            raise EventTooLongError(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        return events

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if self._first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first = False
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
            self._data, self._size = [], 0
        elif line.startswith(b"data:"):
            value = line[5:].removeprefix(b" ")
            self._data.append(value)
            self._size += len(value)
        elif line == b"data":
            self._data.append(b"")


def event(data: bytes) -> bytes:
    """One event; `data` has no line breaks (orjson writes none)."""
    return b"data: " + data + b"\n\n"
