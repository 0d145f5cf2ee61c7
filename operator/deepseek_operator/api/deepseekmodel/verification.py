"""`spec.verification`: what the base must prove, and `status.verification`: what it has proven."""

from typing import Annotated

from deepseek_runtime.wire.verification import Allowed
from pydantic import Field

from deepseek_operator.api.base import ApiModel

Sha256 = Annotated[str, Field(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")]


class FileDigestSpec(ApiModel):
    """A file of the base."""

    path: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Its path in the model's folder, for example model.safetensors."
    )
    sha256: Sha256 = Field(description="The SHA-256 that it must have.")


class SignatureSpec(ApiModel):
    """A signature by OpenSSF Model Signing v1, made with a key: `python -m model_signing sign key`."""

    public_key: str = Field(
        min_length=64,
        max_length=1024,
        pattern=r"^-----BEGIN PUBLIC KEY-----\r?\n[A-Za-z0-9+/=\r\n]+-----END PUBLIC KEY-----\s*$",
        description="The signer's public key in PEM, of the curve P-256, P-384 or P-521.",
    )
    file: str = Field(
        default="model.sig",
        max_length=253,
        pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*\.sig$",
        description="The signature among the model's files. It must cover all others of the base, and what it covers must be there unless the source leaves it out.",
    )


class VerificationSpec(ApiModel):
    """What the base must prove. Nothing of a source from outside is sealed before it does."""

    digest: Sha256 | None = Field(
        default=None,
        description="The SHA-256 of its manifest, as status.digest of another DeepSeekModel with the same files has it.",
    )
    files: list[FileDigestSpec] = Field(
        default=[],
        max_length=256,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["path"]},
        description="Files that must be there, each with this content.",
    )
    signature: SignatureSpec | None = Field(default=None, description="Who must have signed it.")
    allow: list[Allowed] = Field(
        default=[],
        max_length=2,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="What is taken that is refused otherwise; it is not run for that. AutoMap: configuration that names Python code. UnsafeTemplate: a chat template that reaches for Python's internals or takes too long; the model may be served without chat.",
    )


class VerificationStatus(ApiModel):
    """What the base has proven."""

    identity: str = Field(description="Of the verification: what was asked, and of which base.")
    digest: str = Field(description="SHA-256 of the manifest that was verified.")
    files: int = Field(default=0, description="Files whose digests were given, and are these.")
    signer: str | None = Field(
        default=None,
        description="The key that signed it: SHA-256 of its SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER | sha256sum` gives it.",
    )
    signed_name: str | None = Field(default=None, description="What the signer called the model.")
