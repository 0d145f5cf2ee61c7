"""`spec.signing`: who signs what is made here, and what the status says of a signature."""

from pydantic import Field

from deepseek_operator.api.base import ApiModel


class SigningKey(ApiModel):
    """One key of a Secret of this namespace: a private key without a password, in PEM."""

    name: str = Field(
        min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", description="The Secret."
    )
    key: str = Field(
        default="key.pem",
        min_length=1,
        max_length=253,
        pattern=r"^[-._a-zA-Z0-9]+$",
        description="The key in its data, of the curve P-256, P-384 or P-521.",
    )


class SigningSpec(ApiModel):
    """Signs what is made here: every variant, and a base that is new or published by a TrainingRun."""

    key_secret_ref: SigningKey = Field(
        description="The key. It is mounted into the Job that signs, and nowhere else. To sign with another key, name another Secret or another key of it."
    )


class SignatureStatus(ApiModel):
    """The signature of an artifact. `python -m model_signing verify key` proves it with the public key."""

    identity: str = Field(description="Of the signing: the artifact, how it was made, and which key was named.")
    path: str = Field(
        description="On the artifact's claim, where `artifact` is what is signed; the provenance is in it, and signed alone beside it."
    )
    signer: str = Field(
        description="The key: SHA-256 of its SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER | sha256sum` gives it."
    )
