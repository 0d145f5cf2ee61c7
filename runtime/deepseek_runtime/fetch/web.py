"""Files behind URLs: parts of them by HTTP, with redirects followed once and kept, and answers that are checked."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from deepseek_runtime.fetch.source import RemoteFile
from deepseek_runtime.fetch.transport import Reply, Transport, shown
from deepseek_runtime.fetch.troubles import TransientError
from deepseek_runtime.job.errors import DataError

CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Site(Protocol):
    """Who knows where a file is, and what a refusal means."""

    def location(self, revision: str, file: RemoteFile) -> str:
        """Where a file is downloaded from; it may lead on to a content network."""
        ...

    def accept_part(self, reply: Reply, revision: str, file: RemoteFile) -> None:
        """Nothing for a status of success. Errors: TransientError for one that may pass, JobError for others."""
        ...


class Links:
    """Where files were found at the end of their redirects. Safe to use from threads."""

    def __init__(self) -> None:
        self._links: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> str | None:
        """The link to a file, while it is good."""
        with self._lock:
            return self._links.get(path)

    def keep(self, path: str, url: str) -> None:
        """A file is there."""
        with self._lock:
            self._links[path] = url

    def drop(self, path: str) -> None:
        """It is no longer there, or not well: links of content networks expire."""
        with self._lock:
            self._links.pop(path, None)


class WebReader:
    """The connections of one thread to a site."""

    def __init__(self, site: Site, links: Links, transport: Callable[[], Transport]) -> None:
        self._site, self._links, self._transport = site, links, transport()

    @contextmanager
    def open(self, revision: str, file: RemoteFile, begin: int, end: int) -> Iterator[Reply]:
        """A part of a file. Errors: those of the site, of `Transport.get`; DataError `InvalidSource`."""
        url = self._links.get(file.path) or self._site.location(revision, file)
        try:
            with self._transport.get(url, {"Range": f"bytes={begin}-{end - 1}"}) as reply:
                self._site.accept_part(reply, revision, file)
                self._links.keep(file.path, reply.url)
                _check(reply, file, begin)
                yield reply
        except TransientError:
            self._links.drop(file.path)
            raise

    def abort(self) -> None:
        """Wake the thread."""
        self._transport.abort()

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()


def _check(reply: Reply, file: RemoteFile, begin: int) -> None:
    """Whether an answer is the bytes that were asked for. Errors: TransientError, DataError `InvalidSource`."""
    encoding = reply.headers.get("Content-Encoding", "identity")
    total: int | None
    if reply.status == 206:
        match = CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != begin:
            raise TransientError(
                "SourceUnreachable", f"{shown(reply.url)} answers with another range than was asked for"
            )
        total = int(match[3])
    else:
        total = None if reply.headers.get("Content-Length") is None else int(reply.headers["Content-Length"])
    if encoding != "identity" or total not in (None, file.size):
        raise DataError(
            "InvalidSource",
            f"{shown(reply.url)} gives {file.path} as {encoding} with {total} bytes; its size is {file.size:,} bytes.",
        )
