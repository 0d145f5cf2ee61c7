"""Calls of other programs, with errors that name the program and what it said."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.errors import LocalClusterError

Argument = str | Path

_BOUND = ("setpriv", "--pdeathsig", "KILL")


def output(
    arguments: Sequence[Argument],
    *,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    bound: bool = False,
) -> str:
    """Runs a program to its end and returns what it printed; any failure is a LocalClusterError.

    A bound program is ended with this process, even if that is killed: it would go on to wait for a node that is gone.
    """
    words = [str(word) for word in arguments]
    try:
        done = subprocess.run(
            [*_BOUND, *words] if bound else words,
            input=stdin if stdin is not None else b"",
            capture_output=True,
            check=True,
            env={**os.environ, **environment} if environment else None,
            cwd=directory,
        )
    except FileNotFoundError:
        raise LocalClusterError(
            f"{words[0]} is not installed: run `python3 -m local prerequisites --install`"
        ) from None
    except subprocess.CalledProcessError as error:
        said = (error.stdout[-2000:] + error.stderr).decode(errors="replace").strip()
        raise LocalClusterError(f"`{' '.join(words)}` ended with status {error.returncode}: {said[-2000:]}") from None
    return done.stdout.decode(errors="replace")


def succeeds(arguments: Sequence[Argument], *, bound: bool = False) -> bool:
    """Whether a program runs and ends with status 0."""
    try:
        output(arguments, bound=bound)
    except LocalClusterError:
        return False
    return True
