"""Messages between the engine and the sandbox: length, then bytes."""

import socket
import struct
import time

_LENGTH = struct.Struct(">I")


def send(connection: socket.socket, data: bytes) -> None:
    """One frame; errors: OSError, TimeoutError among them."""
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket, longest: int, seconds: float | None = None) -> bytes:
    """One frame. Errors: EOFError at the end, OSError, TimeoutError, ValueError for a frame that is too long."""
    deadline = None if seconds is None else time.monotonic() + seconds
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size, deadline))
    if length > longest:
        raise ValueError(f"a frame of {length} bytes")
    return _exactly(connection, length, deadline)


def _exactly(connection: socket.socket, count: int, deadline: float | None) -> bytes:
    data = bytearray()
    while len(data) < count:
        if deadline is not None:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = connection.recv(min(count - len(data), 1 << 20))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)
