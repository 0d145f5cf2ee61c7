"""What a model must prove before it is used, and what it has proven."""

from typing import Literal

from deepseek_runtime.wire.base import WireModel, digest

Allowed = Literal["AutoMap", "UnsafeTemplate"]
"""What is else refused in a model and taken where a person allows it. It is not run for that.

AutoMap: configuration that names Python code. UnsafeTemplate: a chat template that reaches for Python's internals or
takes too long; the model is served without chat.
"""


class FileDigest(WireModel):
    """A file that must be there, with this SHA-256."""

    path: str
    sha256: str


class SignatureCheck(WireModel):
    """The signature in `file` must be by this key (PEM) and cover every other file of the model.

    A signed file that is missing must be one that the source leaves out: `include` and `exclude` are its patterns.
    """

    public_key: str
    file: str = "model.sig"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Verification(WireModel):
    """What is asked of a model's files; `digest` is that of their manifest."""

    digest: str | None = None
    files: tuple[FileDigest, ...] = ()
    signature: SignatureCheck | None = None

    @property
    def identity(self) -> str:
        """Of the question: a result that carries it has answered just this one."""
        return digest(self.model_dump(mode="json", exclude_defaults=True))


class Verified(WireModel):
    """What was proven of the model with this manifest digest; `asked` is the question's identity."""

    asked: str
    digest: str
    files: int = 0  # whose digests were given
    signer: str | None = None  # SHA-256 of the key's SubjectPublicKeyInfo
    signed_name: str | None = None  # what the signer called the model


class Signed(WireModel):
    """A signature that was made: of how many files, by which key (SHA-256 of its SubjectPublicKeyInfo)."""

    signer: str
    files: int
