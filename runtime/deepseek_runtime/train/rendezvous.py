"""How the pods of one run agree when to start their processes, and notice that one of them was lost.

Pod 0 leads: it opens a round when every other pod is connected and has no process left of the round before, and ends it
when one of them says that its processes ended, hangs up, or is silent. Both sides say where they stand every second and
do what the other's last word asks for, so no word can be missed. What the processes then say to each other is
torch.distributed's; this is only about who is there.
"""

import json
import logging
import secrets
import select
import socket
import time
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.job import TrainJob

HERE_SECONDS = 1.0
SILENCE_SECONDS = 10.0
"""Without a word a pod counts as lost: its node may be gone without having closed a connection."""
_CONNECT_SECONDS = 2.0
_LONGEST_LINE = 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stand:
    """Where a pod stands. `round` is the last one it started; `working`: its processes have not failed since."""

    key: str
    index: int
    round: str | None = None
    working: bool = False


class Pods(Protocol):
    """One pod's view of the others."""

    @property
    def missing(self) -> tuple[int, ...]:
        """Pods that are waited for, as far as this one knows."""
        ...

    def tick(self, started: str | None, *, working: bool) -> str | None:
        """The round that should be at work now, None: none. To be called several times a second.

        `started` is the last round that this pod started; `working`: its processes have not failed or been ended.
        """
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class Alone:
    """The only pod of a run: one round, for ever."""

    @property
    def missing(self) -> tuple[int, ...]:
        """None."""
        return ()

    def tick(self, started: str | None, *, working: bool) -> str | None:
        """Always the same."""
        return "alone"

    def close(self) -> None:
        """There is nobody to hang up on."""


class Link:
    """JSON lines over a TCP connection, without ever waiting."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._buffer = connection, b""
        self._said: tuple[float, dict[str, Any]] = (0.0, {})
        self.heard = time.monotonic()

    def say(self, word: dict[str, Any]) -> None:
        """Send a word if it is new, or if the last one was sent a while ago. Errors: OSError."""
        now = time.monotonic()
        if word != self._said[1] or now - self._said[0] > HERE_SECONDS:
            self._said = now, word
            self._socket.sendall(json.dumps(word).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """The newest whole word that came in, if one did. Errors: OSError when the other hung up or is silent."""
        while select.select([self._socket], [], [], 0)[0]:
            data = self._socket.recv(_LONGEST_LINE)
            if not data:
                raise ConnectionResetError("the other side hung up")
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            if len(self._buffer) > _LONGEST_LINE:
                raise ConnectionAbortedError("what came in is no word")
            if lines:
                self.heard = time.monotonic()
                return _word(lines[-1])
        if time.monotonic() - self.heard > SILENCE_SECONDS:
            raise TimeoutError(f"not a word for {SILENCE_SECONDS:.0f} s")
        return None

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Leader:
    """Pod 0: everybody connects to it."""

    def __init__(self, key: str, nodes: int, port: int) -> None:
        self._key, self._others = key, range(1, nodes)
        self._server = _listen(port)
        self._strangers: list[Link] = []
        self._members: dict[int, tuple[Link, Stand]] = {}
        self._round: str | None = None

    @property
    def missing(self) -> tuple[int, ...]:
        """Pods that are not connected."""
        return tuple(index for index in self._others if index not in self._members)

    def tick(self, started: str | None, *, working: bool) -> str | None:
        """Open a round when all are there and idle, end it when one is not any more."""
        self._listen_to_members()
        self._accept()
        stands = [stand for _, stand in self._members.values()]
        if self._round is not None and not self._goes_on(stands, working):
            log.info("the round is over; not there: %s", list(self.missing) or "none")
            self._round = None
        elif self._round is None and not self.missing and not working and not any(s.working for s in stands):
            self._round = secrets.token_hex(4)
        for index, (link, _) in list(self._members.items()):
            try:
                link.say({"round": self._round})
            except OSError:
                self._drop(index)
        return self._round

    def close(self) -> None:
        """Hang up on everybody."""
        self._server.close()
        for link in (*self._strangers, *(link for link, _ in self._members.values())):
            link.close()

    def _goes_on(self, stands: list[Stand], working: bool) -> bool:
        """One that has not started the round yet cannot have ended it."""
        return not self.missing and working and all(s.working or s.round != self._round for s in stands)

    def _accept(self) -> None:
        while select.select([self._server], [], [], 0)[0]:
            self._strangers.append(Link(self._server.accept()[0]))
        for link in list(self._strangers):
            stand = _stand(link)
            if stand is None:
                continue
            self._strangers.remove(link)
            if isinstance(stand, OSError) or stand.key != self._key or stand.index not in self._others:
                link.close()
                continue
            if stand.index in self._members:
                self._drop(stand.index)
            self._round = None  # whose successor this is was in it
            self._members[stand.index] = link, stand

    def _listen_to_members(self) -> None:
        for index, (link, _) in list(self._members.items()):
            stand = _stand(link)
            if isinstance(stand, OSError):
                log.warning("pod %d is lost: %s", index, stand)
                self._drop(index)
            elif stand is not None:
                self._members[index] = link, stand

    def _drop(self, index: int) -> None:
        self._members.pop(index)[0].close()


class Member:
    """Any other pod: it keeps connecting to pod 0 until that is there."""

    def __init__(self, key: str, index: int, host: str, port: int) -> None:
        self._key, self._index, self._address = key, index, (host, port)
        self._link: Link | None = None
        self._round: str | None = None
        self._next = 0.0

    @property
    def missing(self) -> tuple[int, ...]:
        """Pod 0, while there is no connection to it."""
        return () if self._link else (0,)

    def tick(self, started: str | None, *, working: bool) -> str | None:
        """What pod 0 said last; None while it is not there."""
        try:
            if self._link is None:
                self._connect()
            if self._link is not None:
                if (word := self._link.hear()) is not None:
                    self._round = word.get("round")
                self._link.say(asdict(Stand(self._key, self._index, started, working)))
        except (OSError, ValueError) as error:
            log.info("pod 0 does not answer: %s", error)
            self.close()
        return self._round

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link.close()
        self._link, self._round = None, None

    def _connect(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + HERE_SECONDS
        self._link = Link(socket.create_connection(self._address, timeout=_CONNECT_SECONDS))


def join(job: TrainJob, index: int) -> Pods:
    """This pod among those of its run. Pods of another work or of another attempt at it are not heard."""
    if job.nodes == 1:
        return Alone()
    host, port = address(job)
    key = digest([job.identity, job.rendezvous, job.credential])
    return Leader(key, job.nodes, port) if index == 0 else Member(key, index, host, port)


def address(job: TrainJob) -> tuple[str, int]:
    """Where pod 0 of a run is reached."""
    host, _, port = (job.rendezvous or "").rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigurationError("InvalidConfig", f"{job.nodes} nodes need rendezvous: the host:port of the first.")
    return host, int(port)


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _stand(link: Link) -> Stand | OSError | None:
    try:
        word = link.hear()
        return Stand(**word) if word is not None else None
    except OSError as error:
        return error
    except (TypeError, ValueError):
        return ConnectionAbortedError("what came in is no word")


def _word(line: bytes) -> dict[str, Any]:
    word: dict[str, Any] = json.loads(line)
    if not isinstance(word, dict):
        raise TypeError("not an object")
    return word
