"""The machine's pip settings, handed to a build as secrets: no address or credential of a registry enters a layer."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from local import programs

CA_INSIDE = "/run/secrets/ca.crt"
_PASSED_ON = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


def settings(listing: str) -> dict[str, str]:
    """What `pip config list` printed, by option; the environment's word, which pip lists too, wins."""
    found: dict[str, str] = {}
    for scope in ("global", "install", ":env:"):
        for option, value in re.findall(rf"^{scope}\.([\w-]+)='(.*)'$", listing, re.MULTILINE):
            found[option] = value.replace("\\n", "\n ")
    return found


def configuration(options: Mapping[str, str], has_ca: bool) -> str:
    """A pip.conf for use inside a build; directories of this machine are left out."""
    lines = [f"{option} = {options[option]}" for option in _PASSED_ON if option in options]
    if has_ca:
        lines.append(f"cert = {CA_INSIDE}")
    return "\n".join(["[global]", *lines, ""])


def write(directory: Path) -> list[str]:
    """Writes the secrets' files into a directory and returns the arguments that pass them to a build."""
    options = settings(programs.output([sys.executable, "-m", "pip", "config", "list"]))
    candidates = [options.get("cert"), os.environ.get("REQUESTS_CA_BUNDLE"), os.environ.get("SSL_CERT_FILE")]
    ca = next((Path(path) for path in candidates if path and Path(path).is_file()), None)
    file = directory / "pip.conf"
    file.touch(mode=0o600)
    file.write_text(configuration(options, ca is not None))
    arguments = ["--secret", f"id=pip,src={file}"]
    if ca:
        arguments += ["--secret", f"id=ca,src={ca}"]
    return arguments
