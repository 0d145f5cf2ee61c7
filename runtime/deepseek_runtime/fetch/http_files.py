"""Files that are named by their URLs and SHA-256, or one archive: the digest proves them, wherever they come from."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from deepseek_runtime.fetch.addresses import Network
from deepseek_runtime.fetch.source import Listing, RemoteFile
from deepseek_runtime.fetch.transport import Reply, Transport, retry_after, shown
from deepseek_runtime.fetch.troubles import Retries, TransientError
from deepseek_runtime.fetch.web import CONTENT_RANGE, Links, WebReader
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.wire.job import HttpSource

ARCHIVE = "source-archive"
"""What an archive is called on the volume, until it is unpacked."""

_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpFiles:
    """The files of `source.http`."""

    where = "source.http"

    def __init__(self, wanted: HttpSource, allowed: Sequence[Network]) -> None:
        self._files = {file.path: file for file in wanted.files}
        if wanted.archive is not None:
            self._files = {ARCHIVE: wanted.archive}
        if not self._files or len(self._files) != max(1, len(wanted.files)):
            raise ConfigurationError("InvalidConfig", "source.http names no file, or two with the same path.")
        self._allowed = allowed
        self._links = Links()

    @property
    def name(self) -> str:
        """The URL, or the first and how many more."""
        first, *more = (shown(file.url) for file in self._files.values())
        return f"{first} and {len(more)} more" if more else first

    def listing(self, retries: Retries) -> Listing:
        """The size of every file, which its server tells before its bytes."""
        transport = self._transport()
        try:
            files = [
                RemoteFile(
                    path=path, size=self._size(transport, retries, path), sha256=file.sha256, packed=path == ARCHIVE
                )
                for path, file in self._files.items()
            ]
        finally:
            transport.close()
        return Listing(tuple(sorted(files, key=lambda file: file.path)))

    def reader(self) -> WebReader:
        """Connections for one thread."""
        return WebReader(self, self._links, self._transport)

    def forget(self, file: RemoteFile) -> None:
        """Follow the redirects anew."""
        self._links.drop(file.path)

    def location(self, revision: str, file: RemoteFile) -> str:
        """As the resource says."""
        return self._files[file.path].url

    def accept_part(self, reply: Reply, revision: str, file: RemoteFile) -> None:
        """Nothing for a status of success."""
        self._accept(reply, file.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Its connections belong to its readers."""

    def _size(self, transport: Transport, retries: Retries, path: str) -> int:
        url, attempt = self._files[path].url, 0
        while True:
            try:
                with transport.get(url, {"Range": "bytes=0-0"}) as reply:
                    if reply.status == 416:  # an empty file has no first byte
                        return 0
                    self._accept(reply, path)
                    part = CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", ""))
                    size = int(part[3]) if part is not None else reply.size
                retries.heard()
            except TransientError as trouble:
                attempt += 1
                retries.wait(trouble, attempt)
                continue
            if size is None:
                raise DataError(
                    "InvalidSource",
                    f"{shown(url)} does not say how large it is. Use a server that tells the Content-Length.",
                )
            return size

    def _accept(self, reply: Reply, path: str) -> None:
        if reply.status in (200, 206):
            return
        at, status = shown(reply.url), reply.status
        asked = retry_after(reply.headers, time.time())
        if status in _LATER:
            reason = "RateLimited" if status == 429 else "SourceUnreachable"
            raise TransientError(reason, f"{at} answers {status}", asked)
        if reply.url != self._files[path].url and status in (400, 401, 403, 404, 410):
            raise TransientError("SourceUnreachable", f"{at}, where {path} was led to, answers {status}")
        if status in (401, 403):
            raise ConfigurationError(
                "AccessDenied",
                f"{at} refuses {path} ({status}). Use a URL that anybody may read, or a signed one that is still good.",
            )
        if status in (404, 410):
            raise ConfigurationError("SourceNotFound", f"{at} is not there ({status}). Correct its url in source.http.")
        raise ConfigurationError("InvalidSource", f"{at} answers {status}. Correct its url in source.http.")

    def _transport(self) -> Transport:
        return Transport(next(iter(self._files.values())).url, lambda: None, self._allowed)
