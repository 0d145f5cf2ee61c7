"""Servers that the integration tests talk to, built from source once per user and per state of their go.mod."""

import re
import shutil
import tempfile
from pathlib import Path

from local import places, programs, toolchain
from local.build import compiled, kept, key, settings
from local.progress import alive, say

SOURCES = places.REPOSITORY / "tests" / "servers"


def tools(go_mod: str) -> list[str]:
    """The packages that a go.mod names as its tools."""
    block = re.search(r"^tool \(\n(.*?)^\)$", go_mod, re.MULTILINE | re.DOTALL)
    return block[1].split() if block else re.findall(r"^tool (\S+)$", go_mod, re.MULTILINE)


def built() -> Path:
    """The directory with the programs, which are built first where they are not there."""
    go = toolchain.find(SOURCES)
    files = [SOURCES / "go.mod", SOURCES / "go.sum"]
    name = key(((file.name, file.read_bytes()) for file in files), go.version)
    return kept(places.cache() / "servers", name, lambda home: _build(go, home))


def _build(go: toolchain.Go, home: Path) -> None:
    workshop = home.parent / "workshop"
    environment = settings(go, workshop)
    wanted = tools((SOURCES / "go.mod").read_text())
    say(f"building the tests' servers from source with {go.version}: a few minutes on two cores, once")
    with alive("downloading modules"):
        packages = programs.output([go.command, "list", "-deps", *wanted], environment=environment, directory=SOURCES)
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=home.parent))
    try:
        arguments = ["-ldflags=-s -w", "-o", f"{partial}/", *wanted]
        compiled(go, SOURCES, arguments, environment, len(packages.splitlines()))
        partial.chmod(0o755)
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(workshop)
    say(f"built {home}")
