"""A base that is fetched from URLs: its digests are what it is, wherever the URLs lead."""

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from deepseek_runtime.wire import job as wire

from deepseek_operator.api.deepseekmodel.artifact import Lineage
from deepseek_operator.api.deepseekmodel.remote_sources import HttpSource
from deepseek_operator.api.names import Condition, Reason
from deepseek_operator.controllers.conditions import Verdict, stalled
from deepseek_operator.controllers.identity import http_identity
from deepseek_operator.controllers.origin import Origin


def origin(source: HttpSource) -> Origin | Verdict:
    """The fetch; a condition where two files would have one name."""
    wanted = described(source)
    paths = [file.path for file in wanted.files]
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        return stalled(
            Condition.ACQUIRED,
            Reason.INVALID_CONFIG,
            f"source.http.files has {twice[0]!r} twice: give each file a path of its own.",
        )
    first = wanted.archive or wanted.files[0]
    parts = urlsplit(first.url)
    return Origin("fetch", http_identity(wanted), Lineage(source=f"http/{parts.scheme}://{parts.netloc}{parts.path}"))


def described(source: HttpSource) -> wire.HttpSource:
    """As the Job is told, with a name for every file."""
    files = [
        wire.HttpFile(url=file.url, sha256=file.sha256, path=file.path or _name(file.url))
        for file in source.files or []
    ]
    packed = source.archive
    return wire.HttpSource(
        files=tuple(sorted(files, key=lambda file: file.path)),
        archive=wire.HttpFile(url=packed.url, sha256=packed.sha256) if packed is not None else None,
    )


def _name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name
