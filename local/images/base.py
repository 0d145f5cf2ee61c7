"""The image that the others start from: the public one, or one made of the machine's own Debian mirror."""

import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from local import programs
from local.errors import LocalClusterError
from local.images import storage
from local.progress import alive, say

PUBLIC = "docker.io/library/python:3.11-slim-bookworm"
OWN = "localhost/deepseek-base:bookworm"
_PACKAGES = "python3,python3-venv,ca-certificates"
# what names this machine or its mirror, or is of no use in an image
_LEFT_OUT = (
    "./dev/*",
    "./etc/apt/sources.list",
    "./etc/hostname",
    "./etc/resolv.conf",
    "./proc/*",
    "./sys/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
    "./usr/share/doc/*",
    "./usr/share/man/*",
)
_DOCKERFILE = """\
FROM scratch
ADD root.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
"""


def base() -> str:
    """The name of a base image that the store has."""
    for name in (PUBLIC, OWN):
        if storage.find(storage.root(), name):
            return name
    with alive(f"pulling {PUBLIC}"):
        try:
            storage.buildah("pull", PUBLIC)
        except LocalClusterError:
            say("  it cannot be pulled here; making a base image with debootstrap instead, once")
        else:
            return PUBLIC
    _make()
    return OWN


def mirror(sources: Iterable[str]) -> str | None:
    """The first Debian mirror that apt sources name, in either of their forms; None where none does."""
    for text in sources:
        # deb822 stanzas, then one-line entries
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^(URIs|Suites|Types):[ \t]*(.+)$", stanza, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and "bookworm" in fields.get("Suites", "").split():
                return str(fields["URIs"].split()[0])
        if line := re.search(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+bookworm\s", text, re.MULTILINE):
            return line[1]
    return None


def _make() -> None:
    apt = Path("/etc/apt")
    files = [*sorted((apt / "sources.list.d").glob("*")), apt / "sources.list"]
    address = mirror(file.read_text() for file in files if file.is_file())
    with tempfile.TemporaryDirectory(dir=storage.root().parent) as work:
        root = Path(work) / "root"
        with alive("debootstrap of Debian 12 with Python"):
            # what it mounts ends with the mount namespace
            programs.output(
                [
                    "unshare",
                    "--mount",
                    "debootstrap",
                    "--variant=minbase",
                    f"--include={_PACKAGES}",
                    "bookworm",
                    root,
                    *([address] if address else []),  # debootstrap knows the public one
                ]
            )
        excluded = [f"--exclude={path}" for path in _LEFT_OUT]
        context = Path(work) / "context"
        context.mkdir()
        programs.output(["tar", "--numeric-owner", *excluded, "-C", root, "-cf", context / "root.tar", "."])
        shutil.rmtree(root)
        (context / "Dockerfile").write_text(_DOCKERFILE)
        with alive("storing the base image"):
            storage.buildah("bud", "--isolation", "chroot", "--tag", OWN, context)
