"""The manifest of a sealed model: every file with its size and SHA-256, and one digest over them all."""

from deepseek_runtime.wire.base import WireModel, digest


class ManifestFile(WireModel):
    """One file; `path` is relative to the model's directory, with forward slashes."""

    path: str
    size: int
    sha256: str


class Manifest(WireModel):
    """The files of a model, in the order of their paths."""

    version: int = 1
    files: tuple[ManifestFile, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical list of files: equal for equal content, whoever wrote it."""
        files = sorted(self.files, key=lambda file: file.path)
        return digest([[file.path, file.size, file.sha256] for file in files])

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)
