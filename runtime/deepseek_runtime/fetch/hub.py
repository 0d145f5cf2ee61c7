"""The hub's API: a revision becomes a commit, a commit a list of files with sizes and hashes, a refusal a sentence.

The protocol is that of https://huggingface.co/docs/hub/api, which mirrors speak too.
"""

import json
import re
import time
from dataclasses import dataclass
from email.message import Message
from typing import Any, Literal
from urllib.parse import quote

from deepseek_runtime.fetch.transport import Reply, Transport, origin, retry_after, shown
from deepseek_runtime.fetch.troubles import Retries, TransientError
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.wire.base import WireModel

MAX_BODY = 32 << 20
MAX_FILES = 20_000
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASHES = {"sha256": re.compile(r"[0-9a-f]{64}"), "blob": re.compile(r"[0-9a-f]{40}")}
_NEXT = re.compile(r'<([^>]*)>;\s*rel="next"')
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


class HubFile(WireModel):
    """A file of a commit: large ones have a SHA-256 (git LFS), small ones the SHA-1 of their git blob."""

    path: str
    size: int
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class Hub:
    """One repository on one endpoint, at a branch, tag or commit."""

    endpoint: str
    repo: str
    revision: str
    token_given: bool
    kind: Literal["models", "datasets"] = "models"

    def commit(self, transport: Transport, retries: Retries) -> str:
        """The commit that the revision means now. Errors: those of `refusal`, of `Retries.wait`."""
        url = f"{self._api}/revision/{quote(self.revision, safe='')}"
        found, _ = self._json(transport, retries, url)
        commit = found.get("sha") if isinstance(found, dict) else None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise DataError("InvalidSource", f"{shown(url)} names no commit. Is {self.endpoint} a hub?")
        return commit

    def files(self, transport: Transport, retries: Retries, commit: str) -> tuple[HubFile, ...]:
        """Every file of a commit, in the order of their paths."""
        url: str | None = f"{self._api}/tree/{commit}?recursive=true"
        files: dict[str, HubFile] = {}
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

    def location(self, commit: str, path: str) -> str:
        """Where a file is downloaded from; it usually leads on to a content network."""
        return f"{self._page}/resolve/{commit}/{quote(path)}"

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

    def _file(self, entry: Any) -> HubFile | None:
        if not isinstance(entry, dict) or entry.get("type") != "file":
            return None
        large = entry.get("lfs") or {}
        path, size = entry.get("path"), large.get("size", entry.get("size"))
        hashes = {"sha256": large.get("oid")} if large else {"blob": entry.get("oid")}
        valid = all(isinstance(value, str) and _HASHES[name].fullmatch(value) for name, value in hashes.items())
        if not isinstance(path, str) or type(size) is not int or size < 0 or not valid:
            raise DataError("InvalidSource", f"{self.endpoint} lists a file without path, size or hash: {path!r:.200}.")
        return HubFile(path=path, size=size, **hashes)

    def _refusal(self, status: int, headers: Message, what: str, pinned: bool) -> JobError:
        """What an answer means for the user; the error codes are those of the hub (X-Error-Code)."""
        code, page = headers.get("X-Error-Code", ""), self._page
        if status == 401 and self.token_given and code != "GatedRepo":
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
