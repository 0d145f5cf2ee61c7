"""A quantization by several pods on one volume: whose each file is, and how the first pod gathers what the others made.

Nothing passes between the pods but the files and their journals, so that a pod that is killed costs its own part.
"""

import heapq
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepseek_runtime.job.errors import DataError, InterruptedError, JobError  # noqa: A004 as there
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.quantize.ledger import Ledger, sha256
from deepseek_runtime.quantize.shards import Conversion
from deepseek_runtime.weights import header, manifest
from deepseek_runtime.weights.safety import Shard
from deepseek_runtime.wire.job import QuantizeJob

INTERVAL = 1.0
"""Seconds between two looks at the volume."""

PATIENCE = 600.0
"""Seconds without a sign of the others, after which the first pod makes room: they may wait for what it occupies."""


def parts(sizes: Mapping[str, int], pods: int) -> tuple[frozenset[str], ...]:
    """The files of each pod, of equal bytes as far as whole files allow: the largest first, each to the least laden.

    LPT (Graham, 1969): the heaviest part is at most 4/3 of what is possible. The same in every pod.
    """
    shares: list[set[str]] = [set() for _ in range(pods)]
    load = [(0, index) for index in range(pods)]
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        weight, index = load[0]
        shares[index].add(name)
        heapq.heapreplace(load, (weight + sizes[name], index))
    return tuple(map(frozenset, shares))


def spread(job: QuantizeJob) -> tuple[frozenset[str], ...]:
    """The weight files of each of the Job's pods, by the manifest of the base. Errors: as `manifest.compare`."""
    files = manifest.compare(Path(job.input), job.input_digest).files
    return parts({file.path: file.size for file in files if file.path.endswith(".safetensors")}, job.pods)


def gather(ledger: Ledger, shares: Sequence[frozenset[str]], conversion: Conversion, reporter: Reporter) -> None:
    """Wait until every other pod has finished its files, and take their hashes over.

    A file's header must be what this pod would have written. Its content was hashed by who wrote it; what was there
    before this process began is hashed again.

    Errors: JobError `DigestMismatch` for a file that is not what its journal says and that nobody makes again,
    InterruptedError `WaitingForPods`.
    """
    shards = {shard.path.name: shard for shard in conversion.base.shards}
    whose = {name: index for index, names in enumerate(shares) for name in names & shards.keys() if index}
    left, wrong = dict.fromkeys(whose), set[str]()
    total = sum(map(conversion.bytes, shards.values()))
    sign, since = _sign(ledger, left), time.monotonic()
    while True:
        told = {index: ledger.told(index) for index in set(map(whose.__getitem__, left))}
        for name in list(left):
            earlier, now = told[whose[name]]
            path = ledger.files / name
            digest = now.get(name)
            if digest is None and name in earlier and name not in wrong:
                digest = earlier[name] if path.is_file() and sha256(path) == earlier[name] else None
            if digest is not None and _fits(path, shards[name], conversion):
                ledger.hashes[name] = digest
                del left[name]
            elif digest is not None or name in earlier:
                wrong.add(name)
        done = total - sum(conversion.bytes(shards[name]) for name in left)
        reporter.update("waiting for the other pods", unit="bytes", done=done, total=total)
        if not left:
            return
        if (seen := _sign(ledger, left)) != sign:
            sign, since = seen, time.monotonic()
        if time.monotonic() - since >= PATIENCE:
            raise _silent(left, wrong)
        time.sleep(INTERVAL)


def _sign(ledger: Ledger, names: Mapping[str, None]) -> dict[str, int | None]:
    """When each file was last written; None where it has not been begun."""
    found: dict[str, int | None] = {}
    for name in names:
        path = ledger.files / name
        found[name] = path.stat().st_mtime_ns if path.exists() else None
    return found


def _fits(path: Path, shard: Shard, conversion: Conversion) -> bool:
    try:
        found = header.read(path)
    except (DataError, OSError):
        return False
    return {name: (info.dtype, info.shape) for name, info in found.items()} == conversion.entries(shard)


def _silent(left: Mapping[str, None], wrong: set[str]) -> JobError:
    if broken := sorted(left.keys() & wrong):
        return JobError(
            "DigestMismatch",
            f"{broken[0]} of the copy is not what the pod that wrote it has recorded, and it is not made again. "
            "Delete the Job: the next one makes it again.",
        )
    return InterruptedError(
        "WaitingForPods",
        f"The other pods have written nothing for {PATIENCE:.0f} s; {len(left)} files are theirs, "
        f"{min(left)} is the first. This pod ends to make room, and waits again when it is started again.",
    )
