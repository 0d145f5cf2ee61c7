"""The official tool of OpenSSF Model Signing, run as its users run it, and keys for both sides."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True, slots=True)
class KeyPair:
    """PEM files of a key."""

    private: Path
    public: Path

    @property
    def pem(self) -> str:
        return self.public.read_text()


def key_pair(directory: Path, name: str = "key", curve: ec.EllipticCurve | None = None) -> KeyPair:
    """A new key in two files."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    pair = KeyPair(directory / f"{name}.pem", directory / f"{name}.pub")
    pair.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pair.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return pair


def sign(model: Path, pair: KeyPair, *more: str, signature: Path | None = None) -> None:
    """`model_signing sign key`; the signature lies among the model's files if no other place is given."""
    _run("sign", model, "--signature", str(signature or model / "model.sig"), "--private_key", str(pair.private), *more)


def verify(model: Path, pair: KeyPair, signature: Path) -> str | None:
    """`model_signing verify key`: None where it succeeds, else what it says."""
    done = _run("verify", model, "--signature", str(signature), "--public_key", str(pair.public), check=False)
    return None if done.returncode == 0 else done.stdout + done.stderr


def _run(what: str, model: Path, *options: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "model_signing", what, "key", str(model), *options]
    return subprocess.run(program, check=check, capture_output=True, text=True)
