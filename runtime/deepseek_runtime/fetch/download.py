"""The connections of a download and the threads that hash: every byte once, whatever is cut, slow or refused."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from deepseek_runtime.fetch.beneath import open_file
from deepseek_runtime.fetch.board import Board, Piece, Target
from deepseek_runtime.fetch.hashing import READ, FileHash
from deepseek_runtime.fetch.ledger import Ledger, Plan
from deepseek_runtime.fetch.source import Body, Reader, RemoteFile, Source
from deepseek_runtime.fetch.troubles import Patience, Retries, StoppedError, TransientError
from deepseek_runtime.job.container import available
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.wire.progress import Trouble

LOG = logging.getLogger(__name__)

CONNECTIONS = 8
BUFFER = 256 << 10
REPORT_SECONDS = 0.5
SPEED_SECONDS = 10.0
"""Over which the speed is taken."""


class Download:
    """Fetches files of a plan into the ledger's directory and proves each. One use."""

    def __init__(
        self,
        source: Source,
        plan: Plan,
        ledger: Ledger,
        patience: Patience,
        connections: int = CONNECTIONS,
    ) -> None:
        self._source, self._plan, self._ledger = source, plan, ledger
        self._retries = Retries(patience)
        self._readers: list[Reader] = []
        self._connections = connections
        self._received = 0
        self._lock = threading.Lock()

    def run(self, files: Sequence[RemoteFile], reporter: Reporter, all_files: Sequence[RemoteFile]) -> dict[str, str]:
        """SHA-256 of every file by its path; what is told of is how far all files are.

        Errors: JobError; whatever is raised, no thread is left.
        """
        index = {file.path: number for number, file in enumerate(self._plan.files)}
        open_ = [index[file.path] for file in files if index[file.path] not in self._ledger.hashed]
        targets = [self._target(number) for number in open_]
        board = Board(targets)
        begun, total = self._ledger.kept(all_files), sum(file.size for file in all_files)
        connections, hashers = min(self._connections, max(1, len(targets) * 4)), min(4, available())
        try:
            with ThreadPoolExecutor(connections + hashers, thread_name_prefix="fetch") as pool:
                try:
                    work = [pool.submit(self._connection, board) for _ in range(connections)]
                    work += [pool.submit(self._hasher, board) for _ in range(hashers)]
                    self._watch(work, reporter, begun, total)
                finally:
                    self._stop(board)
        finally:
            for target in targets:
                os.close(target.descriptor)
        return {file.path: self._ledger.hashed[index[file.path]] for file in files}

    def _stop(self, board: Board) -> None:
        """Wake every thread that waits, sleeps or reads, and let it end."""
        self._retries.stop()
        with self._lock:
            for reader in self._readers:
                reader.abort()
        with board.changed:
            board.changed.notify_all()

    def _target(self, number: int) -> Target:
        file = self._plan.files[number]
        descriptor = open_file(self._ledger.files, file.path, file.size)
        finished = set(self._ledger.finished.get(number, ()))
        return Target(number, file, self._plan.chunk, _hash_of(file), descriptor, finished)

    def _watch(self, work: list[Future[None]], reporter: Reporter, begun: int, total: int) -> None:
        """Report until all threads have ended; raises what one of them raised."""
        samples: deque[tuple[float, int]] = deque()
        pending = set(work)
        while pending:
            ended, pending = wait(pending, timeout=REPORT_SECONDS, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
            now, received = time.monotonic(), self._received
            samples.append((now, received))
            while samples[0][0] < now - SPEED_SECONDS:
                samples.popleft()
            (since, before), trouble = samples[0], self._retries.trouble
            reporter.update(
                f"fetching {self._plan.commit[:7]}",
                unit="bytes",
                done=min(total, begun + received),
                total=total,
                bytes_per_second=(received - before) / (now - since) if now > since else None,
                trouble=Trouble(reason=trouble.reason, message=trouble.message) if trouble else None,
            )

    def _connection(self, board: Board) -> None:
        reader = self._source.reader()
        with self._lock:
            self._readers.append(reader)
        buffer = memoryview(bytearray(BUFFER))
        try:
            while board.unproven() and not self._retries.stopped:
                piece = board.claim()
                if piece is None:
                    with board.changed:
                        board.changed.wait(0.1)
                    continue
                try:
                    self._fetch(board, piece, reader, buffer)
                finally:
                    board.release(piece)
        except StoppedError:
            return
        finally:
            reader.close()

    def _fetch(self, board: Board, piece: Piece, reader: Reader, buffer: memoryview) -> None:
        """All of a piece, however often its answer is cut."""
        attempt = 0
        while board.ask(piece):
            before = piece.at
            try:
                if not self._receive(board, piece, reader, buffer):
                    return
            except TransientError as trouble:
                if self._retries.stopped:
                    raise StoppedError from trouble
                attempt = 1 if piece.at > before else attempt + 1
                self._retries.wait(trouble, attempt)

    def _receive(self, board: Board, piece: Piece, reader: Reader, buffer: memoryview) -> bool:
        """One answer's worth of a piece; False where another connection must fetch it, as the server gives no parts."""
        target = piece.target
        with reader.open(self._plan.commit, target.file, piece.at, piece.asked) as body:
            if body.whole:
                if not board.alone(piece):
                    return False
                self._skip(target.file, body, piece.at, buffer)
            while piece.at < piece.asked:
                boundary = min(piece.asked, (piece.at // target.chunk + 1) * target.chunk)
                count = body.into(buffer[: min(len(buffer), boundary - piece.at)])
                if count == 0:
                    raise self._cut(target.file)
                self._write(board, piece, buffer[:count])
        return True

    def _skip(self, file: RemoteFile, body: Body, count: int, buffer: memoryview) -> None:
        while count > 0:
            read = body.into(buffer[: min(len(buffer), count)])
            if read == 0:
                raise self._cut(file)
            count -= read

    def _cut(self, file: RemoteFile) -> TransientError:
        return TransientError("SourceUnreachable", f"{self._source.name}: the answer with {file.path} was cut")

    def _write(self, board: Board, piece: Piece, data: memoryview) -> None:
        target, offset = piece.target, piece.at
        written = 0
        while written < len(data):
            written += os.pwrite(target.descriptor, data[written:], offset + written)
        target.hash.feed(offset, data)
        piece.at = offset + len(data)
        with self._lock:
            self._received += len(data)
        self._retries.heard()
        if piece.at % target.chunk == 0 or piece.at == target.file.size:
            os.fdatasync(target.descriptor)
            chunk = (piece.at - 1) // target.chunk
            self._ledger.finish(target.index, chunk)
            board.finish(piece, chunk)
            self._compare(board, target)

    def _hasher(self, board: Board) -> None:
        """Hash what no connection hashes: what was written ahead of the frontier, or by an earlier process."""
        buffer = memoryview(bytearray(READ))
        while (targets := board.unproven()) and not self._retries.stopped:
            busy = False
            for target in targets:
                with board.changed:
                    hash_, until = target.hash, target.written()  # together: a spoiled file gets another hash
                while not self._retries.stopped and hash_.catch_up(target.descriptor, until, buffer):
                    busy = True
                self._compare(board, target)
            if not busy:
                with board.changed:
                    board.changed.wait(0.1)

    def _compare(self, board: Board, target: Target) -> None:
        """Compare a complete file with what the source says of it; one that differs is fetched once more."""
        if not board.compare(target):
            return
        sha256, blob = target.hash.digests()
        file = target.file
        if (file.sha256 is None or file.sha256 == sha256) and (file.blob is None or file.blob == blob):
            self._ledger.prove(target.index, sha256)
            board.prove(target)
            return
        self._ledger.forget(target.index)
        expected, found = (file.sha256, sha256) if file.sha256 else (file.blob, blob)
        if target.spoiled:
            raise DataError(
                "DigestMismatch",
                f"{file.path} of {self._source.name} was fetched twice and is not what it should be: hash {found}, "
                f"expected {expected}. Correct what {self._source.where} says, or ask who runs that source.",
            )
        LOG.warning("wrong hash, fetching again: file=%s expected=%s found=%s", file.path, expected, found)
        with self._lock:
            self._received -= file.size
        self._source.forget(file)
        board.again(target, _hash_of(file))


def _hash_of(file: RemoteFile) -> FileHash:
    return FileHash(file.size, blob=file.blob is not None)
