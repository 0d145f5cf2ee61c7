"""Who fetches what: files go to connections one by one; a connection without work takes half of another's.

Pure bookkeeping under one lock: no I/O and no clock.
"""

import threading
from dataclasses import dataclass, field

from deepseek_runtime.fetch.hashing import FileHash
from deepseek_runtime.fetch.source import RemoteFile

ASKED = 4
"""Chunks of one request."""


@dataclass(eq=False, slots=True)
class Piece:
    """Bytes `at` to `end` of a file, which one connection fetches in order.

    Up to `kept` its chunks are finished, up to `asked` the server sends them already; what lies behind may be given to
    another connection.
    """

    target: "Target"
    at: int
    end: int
    kept: int
    asked: int


@dataclass(eq=False, slots=True)
class Target:
    """One file on its way. `finished`: its chunks on the disk; `ranged`: the server gives parts of it."""

    index: int
    file: RemoteFile
    chunk: int
    hash: FileHash
    descriptor: int
    finished: set[int] = field(default_factory=set)
    pieces: list[Piece] = field(default_factory=list)
    ranged: bool = True
    comparing: bool = False
    spoiled: bool = False
    proven: bool = False

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.file.size // self.chunk)

    @property
    def bytes_finished(self) -> int:
        """Bytes of finished chunks; the last one may be short."""
        last = self.chunks - 1
        short = self.chunks * self.chunk - self.file.size if last in self.finished else 0
        return len(self.finished) * self.chunk - short

    def written(self) -> int:
        """Up to where the file is written without a hole, from where its hash stands."""
        chunk = self.hash.position // self.chunk
        while chunk in self.finished:
            chunk += 1
        begin = min(chunk * self.chunk, self.file.size)
        going_on = [piece.at for piece in self.pieces if piece.kept == begin]
        return max([begin, *going_on])


class Board:
    """All files of one download. Safe to use from threads."""

    def __init__(self, targets: list[Target]) -> None:
        self.changed = threading.Condition()
        self._targets = targets

    def claim(self) -> Piece | None:
        """The next piece of work; None where all is claimed and nothing is worth sharing."""
        with self.changed:
            for target in self._targets:
                if not target.pieces and (run := _missing(target)) is not None:
                    return _claimed(target, *run)
            for target in self._targets:
                if target.ranged and target.pieces and (run := _missing(target)) is not None:
                    return _claimed(target, *run)
            return self._share()

    def ask(self, piece: Piece) -> bool:
        """Set up to where the next request asks: a few chunks, so that the rest can be shared; False at the end."""
        chunk = piece.target.chunk
        with self.changed:
            piece.asked = min(piece.end, (piece.at // chunk + ASKED) * chunk)
            return piece.at < piece.asked

    def finish(self, piece: Piece, chunk: int) -> None:
        """A chunk of a piece is on the disk."""
        with self.changed:
            piece.target.finished.add(chunk)
            piece.kept = piece.at
            self.changed.notify_all()

    def release(self, piece: Piece) -> None:
        """A piece is done, or given up: what is missing of it may be claimed again."""
        with self.changed:
            piece.target.pieces.remove(piece)
            self.changed.notify_all()

    def alone(self, piece: Piece) -> bool:
        """Say that the server sends this file as a whole only; whether this piece is the one that may go on."""
        with self.changed:
            piece.target.ranged = False
            piece.asked = piece.end
            return piece.target.pieces[0] is piece

    def compare(self, target: Target) -> bool:
        """Whether the caller is the one who compares the hash of a complete file."""
        with self.changed:
            hashed, kept = target.hash.position == target.file.size, len(target.finished) == target.chunks
            complete = hashed and kept and not target.comparing
            target.comparing = target.comparing or complete
            return complete

    def prove(self, target: Target) -> None:
        """A file is what it should be."""
        with self.changed:
            target.proven = True
            self.changed.notify_all()

    def again(self, target: Target, fresh: FileHash) -> None:
        """A file whose hash is wrong is fetched anew."""
        with self.changed:
            target.finished.clear()
            target.hash, target.spoiled, target.comparing = fresh, True, False
            self.changed.notify_all()

    def unproven(self) -> list[Target]:
        """Files that are still worked on."""
        with self.changed:
            return [target for target in self._targets if not target.proven]

    def _share(self) -> Piece | None:
        pieces = [piece for target in self._targets if target.ranged for piece in target.pieces]
        longest = max(pieces, key=lambda piece: piece.end - piece.asked, default=None)
        if longest is None:
            return None
        target = longest.target
        first, last = -(-longest.asked // target.chunk), -(-longest.end // target.chunk)
        if last - first < 1:
            return None
        middle = (first + last) // 2
        end, longest.end = longest.end, middle * target.chunk
        return _claimed(target, longest.end, end)


def _missing(target: Target) -> tuple[int, int] | None:
    """The first run of bytes that is neither finished nor claimed."""
    taken = target.finished | {
        chunk for piece in target.pieces for chunk in range(piece.kept // target.chunk, -(-piece.end // target.chunk))
    }
    first = next((chunk for chunk in range(target.chunks) if chunk not in taken), None)
    if first is None:
        return None
    last = first
    while last + 1 < target.chunks and last + 1 not in taken:
        last += 1
    return first * target.chunk, min((last + 1) * target.chunk, target.file.size)


def _claimed(target: Target, begin: int, end: int) -> Piece:
    piece = Piece(target, begin, end, kept=begin, asked=min(end, (begin // target.chunk + ASKED) * target.chunk))
    target.pieces.append(piece)
    return piece
