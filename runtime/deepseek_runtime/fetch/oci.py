"""Models in OCI registries: artifacts of single files, model images and artifacts of tar layers (ModelCars, ModelPack).

The protocol is the distribution specification's (https://github.com/opencontainers/distribution-spec); names of files
are those of ORAS and of the CNCF ModelPack specification. Every layer is pinned by its digest.
"""

import hashlib
import json
import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

from deepseek_runtime.fetch.addresses import Network
from deepseek_runtime.fetch.packed import home_of
from deepseek_runtime.fetch.registry_access import Access
from deepseek_runtime.fetch.source import Listing, RemoteFile
from deepseek_runtime.fetch.transport import Reply, Transport, origin, retry_after, shown
from deepseek_runtime.fetch.troubles import Retries, TransientError
from deepseek_runtime.fetch.web import Links, WebReader
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.wire.job import OciSource

MAX_BODY = 4 << 20  # of a manifest, as the specification has it
LAYER = "source-layer-"
"""What layers that are archives are called on the volume, until they are unpacked; a number follows."""

_REFERENCE = re.compile(r"([^/]+)/([a-z0-9._/-]+?)(?::([\w][\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAR = re.compile(r"[.+]tar([.+](gzip|zstd))?$")
_IMAGES = frozenset({"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"})
_INDEXES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    *sorted(_INDEXES),
)
_NAMES = ("org.opencontainers.image.title", "org.cncf.model.filepath")
_IN_IMAGES = "models/"
"""Where the model lies in an image that KServe would call a ModelCar; the rest is the base image's."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


class Oci:
    """One manifest of a repository of a registry."""

    where = "source.oci"

    def __init__(self, wanted: OciSource, allowed: Sequence[Network]) -> None:
        found = _REFERENCE.fullmatch(wanted.reference)
        if found is None:
            raise ConfigurationError("InvalidConfig", f"{wanted.reference!r} is no registry/repository:tag or @sha256.")
        host, self._repo, tag, digest = found.groups()
        self._digest, self._named = digest, digest or tag or "latest"
        self.name = wanted.reference
        host = "registry-1.docker.io" if host == "docker.io" else host
        self._endpoint = f"{'http' if wanted.plain_http else 'https'}://{host}"
        self._access = Access(self._endpoint, found[1], self._repo, wanted.pull_secret, allowed)
        self._allowed = allowed
        self._links = Links()

    def listing(self, retries: Retries) -> Listing:
        """The layers that are files or archives; the revision is the digest of what the reference names."""
        transport = self._transport()
        try:
            manifest, revision = self._manifest(transport, retries, self._named)
            if self._digest is not None and revision != self._digest:
                raise DataError("DigestMismatch", f"{self.name} is {revision}. Ask who runs the registry.")
            if str(manifest.get("mediaType")) in _INDEXES or "manifests" in manifest:
                inner = _one_of(manifest, self.name)
                manifest, found = self._manifest(transport, retries, inner)
                if found != inner:
                    raise DataError("DigestMismatch", f"{inner} of {self.name} is {found}. Ask who runs the registry.")
        finally:
            transport.close()
        return Listing(_files(manifest, self.name), revision)

    def reader(self) -> WebReader:
        """Connections for one thread."""
        return WebReader(self, self._links, self._transport)

    def forget(self, file: RemoteFile) -> None:
        """Ask the registry, not the storage behind it."""
        self._links.drop(file.path)

    def location(self, revision: str, file: RemoteFile) -> str:
        """Of a layer's blob; it may lead on to the storage behind the registry."""
        return f"{self._endpoint}/v2/{self._repo}/blobs/sha256:{file.sha256}"

    def accept_part(self, reply: Reply, revision: str, file: RemoteFile) -> None:
        """Nothing for a status of success."""
        self._accept(reply, f"layer {file.path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Its connections belong to its readers."""

    def _manifest(self, transport: Transport, retries: Retries, named: str) -> tuple[dict[str, Any], str]:
        url, attempt = f"{self._endpoint}/v2/{self._repo}/manifests/{named}", 0
        while True:
            try:
                with transport.get(url, {"Accept": ", ".join(_MANIFESTS)}) as reply:
                    if reply.status == 401:
                        self._access.challenged(reply.headers.get("WWW-Authenticate", ""), named)
                        continue
                    self._accept(reply, named)
                    body = reply.text(MAX_BODY)
                retries.heard()
                break
            except TransientError as trouble:
                attempt += 1
                retries.wait(trouble, attempt)
        try:
            manifest = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise DataError("InvalidSource", f"{shown(url)} is no JSON. Is {self._endpoint} a registry?") from error
        if not isinstance(manifest, dict):
            raise DataError("InvalidSource", f"{shown(url)} is no manifest. Is {self._endpoint} a registry?")
        return manifest, f"sha256:{hashlib.sha256(body).hexdigest()}"

    def _accept(self, reply: Reply, what: str) -> None:
        if reply.status in (200, 206):
            self._access.accepted()
            return
        at, status = shown(reply.url), reply.status
        if status in _LATER:
            reason = "RateLimited" if status == 429 else "SourceUnreachable"
            raise TransientError(reason, f"{at} answers {status}", retry_after(reply.headers, time.time()))
        if origin(reply.url) != origin(self._endpoint):
            raise TransientError("SourceUnreachable", f"{at} answers {status}")
        if status == 401:
            self._access.challenged(reply.headers.get("WWW-Authenticate", ""), what)
            raise TransientError("SourceUnreachable", f"{at} wants another token", 0.0)
        raise self._refusal(status, what)

    def _refusal(self, status: int, what: str) -> JobError:
        if status == 403:
            return ConfigurationError(
                "AccessDenied", f"{self.name} may not be pulled by {self._access.who} (403). Correct pullSecretRef."
            )
        if status in (404, 410):
            return ConfigurationError(
                "SourceNotFound", f"{self._endpoint} has no {what} of {self._repo} (404). Correct reference."
            )
        return ConfigurationError("InvalidSource", f"{self.name} answers {status}. Is {self._endpoint} a registry?")

    def _transport(self) -> Transport:
        return Transport(self._endpoint, self._access.authorization, self._allowed)


def _one_of(index: Mapping[str, Any], name: str) -> str:
    """The manifest for this platform, or the only one."""
    listed = index.get("manifests")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    machine = _ARCHITECTURES.get(platform.machine(), platform.machine())
    platforms = [entry["platform"] if isinstance(entry.get("platform"), dict) else {} for entry in entries]
    mine = [entry for entry, its in zip(entries, platforms, strict=True) if its.get("architecture") == machine]
    chosen = (mine or entries)[:1]
    if not chosen or not _DIGEST.fullmatch(str(chosen[0].get("digest"))):
        raise DataError("InvalidSource", f"{name} is an index without manifests. Push the model anew.")
    return str(chosen[0]["digest"])


def _files(manifest: Mapping[str, Any], name: str) -> tuple[RemoteFile, ...]:
    """Layers with a name are files, tar layers archives; others are nothing that a model needs."""
    config, layers = manifest.get("config"), manifest.get("layers") or []
    below = _IN_IMAGES if isinstance(config, dict) and str(config.get("mediaType")) in _IMAGES else ""
    files = list[RemoteFile]()
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise DataError("InvalidSource", f"The manifest of {name} has no list of layers. Push the model anew.")
    for number, layer in enumerate(layers):
        digest, size, kind = str(layer.get("digest")), layer.get("size"), str(layer.get("mediaType"))
        if not _DIGEST.fullmatch(digest) or type(size) is not int or size < 0:
            raise DataError("InvalidSource", f"{name} has a layer without sha256 digest or size. Push the model anew.")
        sha256 = digest.removeprefix("sha256:")
        titles = layer["annotations"] if isinstance(layer.get("annotations"), dict) else {}
        title = next((titles[key] for key in _NAMES if isinstance(titles.get(key), str)), None)
        if (tar := _TAR.search(kind)) is not None:
            if tar[2] == "zstd":
                raise DataError(
                    "InvalidSource", f"Layer {digest} of {name} is compressed with zstd. Push it with gzip."
                )
            files.append(RemoteFile(path=f"{LAYER}{number}", size=size, sha256=sha256, packed=True, below=below))
        elif title is not None:
            files.append(RemoteFile(path=title, size=size, sha256=sha256))
    if not files:
        raise DataError(
            "InvalidSource", f"{name} has no layers with files. Push config.json and the weights as layers."
        )
    if len({file.path for file in files}) < len(files):
        raise DataError("InvalidSource", f"{name} has two layers with one file's name. Push the model anew.")
    if any(file.packed for file in files):
        return tuple(files)
    home = home_of(PurePosixPath(file.path) for file in files)
    inside = (
        file.model_copy(update={"path": file.path.removeprefix(home)}) for file in files if file.path.startswith(home)
    )
    return tuple(sorted(inside, key=lambda file: file.path))
