"""Image archives in the OCI layout, made without a builder."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

_OCI = "application/vnd.oci.image."


def digest(data: bytes) -> str:
    """An OCI digest."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(files: Mapping[str, bytes], mode: int = 0o644) -> bytes:
    """A tar archive of root's files without times: the same files give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _described(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": _OCI + kind, "digest": digest(data), "size": len(data)}


def _manifest(config: bytes, layers: Sequence[bytes]) -> bytes:
    content = {
        "schemaVersion": 2,
        "mediaType": _OCI + "manifest.v1+json",
        "config": _described("config.v1+json", config),
        "layers": [_described("layer.v1.tar", layer) for layer in layers],
    }
    return json.dumps(content).encode()


def manifest_digest(config: bytes, layers: Sequence[bytes]) -> str:
    """The digest under which a store that has this image knows it."""
    return digest(_manifest(config, layers))


def write(name: str, config: bytes, layers: Sequence[bytes]) -> bytes:
    """An archive of one image; `config` names as many diff_ids as there are layers."""
    manifest = _manifest(config, layers)
    listed = _described("manifest.v1+json", manifest) | {"annotations": {"io.containerd.image.name": name}}
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [listed]}).encode(),
    }
    for data in (config, manifest, *layers):
        files["blobs/sha256/" + digest(data).removeprefix("sha256:")] = data
    return tar(files)
