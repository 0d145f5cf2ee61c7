"""The pod that keeps one artifact on one node: it copies, holds what it has copied, and waits."""

import errno
import logging
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.job.failures import explain
from deepseek_runtime.job.last_words import last_words
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.job.status_server import StatusServer
from deepseek_runtime.nodecache.copies import Copies
from deepseek_runtime.nodecache.held import Held
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.weights.copying import Copier
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.manifest import Manifest
from deepseek_runtime.wire.node_cache import CacheConfig
from deepseek_runtime.wire.paths import TERMINATION_LOG
from deepseek_runtime.wire.result import JobResult

LOG = logging.getLogger(__name__)


def main(config: CacheConfig, *, termination_log: Path = Path(TERMINATION_LOG)) -> NoReturn:
    """Keep until SIGTERM (0), or until something fails (its exit code, and a termination message)."""
    logging.basicConfig(
        stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, force=True
    )
    signal.signal(signal.SIGTERM, lambda number, frame: _leave(ExitCode.DONE))  # a part of a copy is gone on with
    with StatusServer(config.digest, config.credential, config.status_port, poll=3600) as status:
        try:
            held = fill(config, status)
            LOG.info("copy kept: keeper=%s place=%s", config.keeper, held.place)
            signal.signal(signal.SIGTERM, lambda number, frame: _let_go(held))
            status.ready = True
            while True:
                signal.pause()
        except Exception as error:  # noqa: BLE001 whatever ends it ends in its exit code and message
            failure = explain(error, Path(config.cache))
            last_words("cache", failure, termination_log, error)
            _leave(failure.code)


def fill(config: CacheConfig, reporter: Reporter) -> Held:
    """A whole and verified copy, held; one that is there already is verified, and made anew if it is damaged.

    Errors: DataError where the source is not what its digest promises, ConfigurationError `CacheFull`.
    """
    source, copies = Path(config.input), Copies(Path(config.cache), config.capacity)
    promised = manifest.compare(source, config.digest)
    held = copies.claim(promised, config.keeper)
    if held.whole and not _intact(held, config.digest, reporter):
        copies.discard(held)
        held = copies.claim(promised, config.keeper)
    if not held.whole:
        _copy(source, held.place, promised, reporter)
        copies.keep(held)
    return held


def _intact(held: Held, digest: str, reporter: Reporter) -> bool:
    try:
        manifest.verify(held.artifact, digest, reporter)
    except DataError as error:
        LOG.warning("the copy is made anew: %s", error.message)
        return False
    return True


def _copy(source: Path, place: Path, promised: Manifest, reporter: Reporter) -> None:
    """Copy what is missing, hashed on its way, and seal it."""
    directory = seal.share(place, promised.digest)
    copier = Copier(reporter)
    try:
        for file in promised.files:
            target = directory / file.path
            digest = copier.go_on(source / file.path, target, promised.size)
            if digest != file.sha256:
                target.unlink()  # what a power failure had left of it may have been no part of it
                digest = copier.go_on(source / file.path, target, promised.size)
            if digest != file.sha256:
                raise manifest.mismatch(source / file.path, "SHA-256", file.sha256, digest)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ConfigurationError(
            "CacheFull",
            f"The disk below {place.parent} filled up though the cache had room by its capacity: others write to it. "
            "Lower cache.capacity to what the disk has for this cache, or make room; it is tried again within five "
            "minutes.",
        ) from error
    seal.seal(place, promised.digest, JobResult(kind="cache", identity=promised.digest, outcome="succeeded"))


def _let_go(held: Held) -> NoReturn:
    held.touch()
    _leave(ExitCode.DONE)


def _leave(code: ExitCode) -> NoReturn:
    """End at once: nothing has to be waited for, and the kernel lets go of every lock."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
