"""Servers that the integration tests talk to, built from source once per user and per state of their sources."""

import shutil
import tempfile
from pathlib import Path

from local import places, programs, toolchain
from local.build import compiled, kept, key, settings, sources
from local.progress import alive, say

SOURCES = places.REPOSITORY / "tests" / "servers"


def built() -> Path:
    """The directory with the programs, which are built first where they are not there."""
    go = toolchain.find(SOURCES)
    name = key(sources(SOURCES), go.version)
    return kept(places.cache() / "servers", name, lambda home: _build(go, home))


def _build(go: toolchain.Go, home: Path) -> None:
    workshop = home.parent / "workshop"
    environment = settings(go, workshop)
    say(f"building the tests' servers from source with {go.version}: a minute or two on two cores, once")
    with alive("downloading modules"):
        packages = programs.output([go.command, "list", "-deps", "./..."], environment=environment, directory=SOURCES)
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=home.parent))
    try:
        arguments = ["-ldflags=-s -w", "-o", f"{partial}/", "./..."]
        compiled(go, SOURCES, arguments, environment, len(packages.splitlines()))
        partial.chmod(0o755)
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(workshop)
    say(f"built {home}")
