"""The hub's API: a revision becomes a commit, a commit a list of files with sizes and hashes, a refusal a sentence.

The protocol is that of https://huggingface.co/docs/hub/api, which mirrors speak too.
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import Message
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from deepseek_runtime.fetch.addresses import Network
from deepseek_runtime.fetch.source import MAX_FILES, Listing, RemoteFile
from deepseek_runtime.fetch.transport import Reply, Transport, origin, retry_after, shown
from deepseek_runtime.fetch.troubles import Retries, TransientError
from deepseek_runtime.fetch.web import Links, WebReader
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError

MAX_BODY = 32 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASHES = {"sha256": re.compile(r"[0-9a-f]{64}"), "blob": re.compile(r"[0-9a-f]{40}")}
_NEXT = re.compile(r'<([^>]*)>;\s*rel="next"')
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Hub:
    """One repository on one endpoint, at a branch, tag or commit."""

    endpoint: str
    repo: str
    revision: str
    token: str | None
    allowed: Sequence[Network]
    kind: Literal["models", "datasets"] = "models"
    _links: Links = field(default_factory=Links)

    @property
    def where(self) -> str:
        """For messages."""
        return "source.huggingFace" if self.kind == "models" else "huggingFace"

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.repo} of {self.endpoint}"

    def listing(self, retries: Retries) -> Listing:
        """The files of the commit that the revision means now."""
        transport = self._transport()
        try:
            commit = self.commit(transport, retries)
            return Listing(self.files(transport, retries, commit), commit)
        finally:
            transport.close()

    def reader(self) -> WebReader:
        """Connections for one thread."""
        return WebReader(self, self._links, self._transport)

    def forget(self, file: RemoteFile) -> None:
        """Ask the hub where a file is, not the content network."""
        self._links.drop(file.path)

    def commit(self, transport: Transport, retries: Retries) -> str:
        """The commit that the revision means now. Errors: those of `refusal`, of `Retries.wait`."""
        url = f"{self._api}/revision/{quote(self.revision, safe='')}"
        found, _ = self._json(transport, retries, url)
        commit = found.get("sha") if isinstance(found, dict) else None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise DataError("InvalidSource", f"{shown(url)} names no commit. Is {self.endpoint} a hub?")
        return commit

    def files(self, transport: Transport, retries: Retries, commit: str) -> tuple[RemoteFile, ...]:
        """Every file of a commit, in the order of their paths."""
        url: str | None = f"{self._api}/tree/{commit}?recursive=true"
        files: dict[str, RemoteFile] = {}
        while url is not None:
            page, url = self._json(transport, retries, url)
            if not isinstance(page, list) or not page:
                raise DataError("InvalidSource", f"{self.endpoint} lists no files of {self.repo} at {commit}.")
            for entry in page:
                if (file := self._file(entry)) is not None:
                    files[file.path] = file
            if len(files) > MAX_FILES:
                raise DataError("InvalidSource", f"{self.repo} has more than {MAX_FILES:,} files.")
        return tuple(files[path] for path in sorted(files))

    def location(self, revision: str, file: RemoteFile) -> str:
        """Where a file is downloaded from; it usually leads on to a content network."""
        return f"{self._page}/resolve/{revision}/{quote(file.path)}"

    def accept_part(self, reply: Reply, revision: str, file: RemoteFile) -> None:
        """Nothing for a status of success; what is asked for was there when the plan was made."""
        self.accept(reply, f"{file.path} at commit {revision}", pinned=True)

    def accept(self, reply: Reply, what: str, *, pinned: bool) -> None:
        """Nothing for a status of success; `pinned`: what is asked for was there when the plan was made.

        Errors: TransientError for a status that may pass, JobError for one that stays.
        """
        if reply.status in (200, 206):
            return
        asked = retry_after(reply.headers, time.time())
        if reply.status == 429:
            said = f"; it asks to wait {asked:.0f} s" if asked is not None else ""
            raise TransientError("RateLimited", f"{shown(reply.url)} limits requests (429){said}", asked)
        if reply.status in _LATER:
            raise TransientError("SourceUnreachable", f"{shown(reply.url)} answers {reply.status}", asked)
        if origin(reply.url) != origin(self.endpoint) and reply.status in (400, 401, 403, 404, 410):
            # what a link of a content network says when it has expired: the hub gives a new one
            raise TransientError("SourceUnreachable", f"{shown(reply.url)} answers {reply.status}")
        raise self._refusal(reply.status, reply.headers, what, pinned)

    @property
    def _api(self) -> str:
        return f"{self.endpoint}/api/{self.kind}/{self.repo}"

    @property
    def _page(self) -> str:
        """Models lie at the root of a hub, everything else below the name of its kind."""
        return f"{self.endpoint}/{self.repo}" if self.kind == "models" else f"{self.endpoint}/{self.kind}/{self.repo}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Its connections belong to its readers."""

    def _transport(self) -> Transport:
        header = f"Bearer {self.token}" if self.token is not None else None
        return Transport(self.endpoint, lambda: header, self.allowed)

    def _json(self, transport: Transport, retries: Retries, url: str) -> tuple[Any, str | None]:
        """The document at a URL, and where the next page is."""
        attempt = 0
        while True:
            try:
                with transport.get(url) as reply:
                    self.accept(reply, f"revision {self.revision}", pinned=False)
                    following = _NEXT.search(reply.headers.get("Link", ""))
                    body = reply.text(MAX_BODY)
                retries.heard()
                return json.loads(body), following[1] if following else None
            except TransientError as trouble:
                attempt += 1
                retries.wait(trouble, attempt)
            except (ValueError, RecursionError) as error:
                raise DataError("InvalidSource", f"{shown(url)} is no JSON. Is {self.endpoint} a hub?") from error

    def _file(self, entry: Any) -> RemoteFile | None:
        if not isinstance(entry, dict) or entry.get("type") != "file":
            return None
        large = entry.get("lfs") or {}
        path, size = entry.get("path"), large.get("size", entry.get("size"))
        hashes = {"sha256": large.get("oid")} if large else {"blob": entry.get("oid")}
        valid = all(isinstance(value, str) and _HASHES[name].fullmatch(value) for name, value in hashes.items())
        if not isinstance(path, str) or type(size) is not int or size < 0 or not valid:
            raise DataError("InvalidSource", f"{self.endpoint} lists a file without path, size or hash: {path!r:.200}.")
        return RemoteFile(path=path, size=size, **hashes)

    def _refusal(self, status: int, headers: Message, what: str, pinned: bool) -> JobError:
        """What an answer means for the user; the error codes are those of the hub (X-Error-Code)."""
        code, page = headers.get("X-Error-Code", ""), self._page
        if status == 401 and self.token is not None and code != "GatedRepo":
            return ConfigurationError(
                "AccessDenied",
                f"{self.endpoint} does not accept the token, or {self.repo} does not exist (401). Check the name "
                "and the Secret that tokenSecretRef names: the token may have expired or been revoked.",
            )
        if status == 401:
            return ConfigurationError(
                "AccessDenied",
                f"{self.repo} does not exist on {self.endpoint}, or is private or gated (401). Check its name; for a "
                f"private or gated one give tokenSecretRef, and accept the licence at {page}.",
            )
        if status == 403:
            return ConfigurationError(
                "AccessDenied",
                f"The token lacks access to {self.repo} (403). Accept the licence at {page} with the token's account, "
                "or use a token that may read it.",
            )
        if status in (404, 410) and pinned and code != "RepoNotFound":
            return DataError(
                "RevisionMoved",
                f"{self.endpoint} no longer has {what} of {self.repo}: its history was rewritten while it was fetched. "
                f"Delete the PersistentVolumeClaim and the Job to fetch what {self.revision} is now.",
            )
        if status in (404, 410):
            return ConfigurationError(
                "SourceNotFound", f"{self.endpoint} has no {what} of {self.repo} (404). Correct repo or revision."
            )
        return ConfigurationError("InvalidSource", f"{page} answers {status}. Is {self.endpoint} a hub?")
