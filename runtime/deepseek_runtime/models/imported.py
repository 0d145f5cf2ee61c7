"""The import of a model that lies on somebody's volume: copied, hashed on the way, proven to be a model, sealed."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepseek_runtime.fetch import admission, support
from deepseek_runtime.job import space
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.models.foreign import Folder
from deepseek_runtime.signing import verification
from deepseek_runtime.weights import facts, manifest, safety, seal, shapes
from deepseek_runtime.weights.copying import Copier
from deepseek_runtime.wire.job import ImportJob
from deepseek_runtime.wire.result import JobResult

LOG = logging.getLogger(__name__)


def run(job: ImportJob, reporter: Reporter) -> JobResult:
    """Copy and seal. What tells about the model comes first: what is none is refused before its weights are read.

    Errors: DataError that names the file: `SealBroken`, `PathNotFound`, `MissingFile`, `UnsafeFile`, `UnsafeModel`,
    `UnknownArchitecture`, `InvalidConfig`, `BadWeights`, `ShapeMismatch`, `BadTokenizer`; ConfigurationError
    `StorageTooSmall`.
    """
    if not Path(job.input).is_dir():
        raise DataError(
            "SealBroken",
            f"Nothing is sealed on this volume, though the operator remembers a copy of {job.source} on it. Delete the "
            "volume's claim to have it made again.",
        )
    folder = Folder(Path(job.input), job.path, job.source)
    names = folder.model_files()
    _check_weights(folder, names)
    directory, copier = seal.partial(place(job), job.identity), Copier(reporter)
    weights = [name for name in names if name.endswith(".safetensors")]
    sizes = {name: folder.size(name) for name in names}
    hashes = _copy(folder, [name for name in names if name not in weights], directory, copier, sizes)
    shards = sorted(support.shards(directory))
    admission.check(directory, job.allow, sum(sizes.get(name, 0) for name in shards))
    if missing := [name for name in shards if name not in weights]:
        raise DataError("MissingFile", f"{job.source} has no {', '.join(missing[:3])}, which its index names.")
    space.demand(directory, f"The weights of {job.source}", sum(sizes[name] for name in shards), size=job.storage_size)
    hashes |= _copy(folder, shards, directory, copier, sizes)
    written = manifest.record(directory, hashes)
    shapes.check(directory, safety.check(directory))
    verified = verification.check(directory, written, job.verification) if job.verification else None
    reporter.update("reading the tokenizer", unit="steps", done=0, total=1)
    _check_tokenizer(directory)
    left = sorted(set(folder.names) - set(hashes))
    LOG.info("imported: files=%d bytes=%d left=%s", len(hashes), written.size, ", ".join(left[:12]) or "none")
    artifact = facts.artifact(directory, written)
    result = JobResult(
        kind=job.kind, identity=job.identity, outcome="succeeded", artifact=artifact, verification=verified
    )
    return seal.seal(place(job), job.identity, result)


def _check_weights(folder: Folder, names: Sequence[str]) -> None:
    if safety.SINGLE in names or safety.INDEX in names:
        return
    if folder.pickles:
        raise DataError(
            "UnsafeModel",
            f"There are no safetensors, but {', '.join(folder.pickles[:3])}, which may hold a pickle, and a pickle can "
            "run code. Convert the weights to safetensors.",
        )
    found = ", ".join(folder.names[:12]) or "nothing"
    raise DataError(
        "MissingFile", f"There is neither {safety.SINGLE} nor {safety.INDEX}, but {found}. Correct the path."
    )


def _copy(
    folder: Folder, names: Sequence[str], directory: Path, copier: Copier, sizes: Mapping[str, int]
) -> dict[str, str]:
    hashes = {}
    for name in names:
        with folder.open(name) as file:
            hashes[name] = copier.copy(file, directory / name, sum(sizes.values()))
    return hashes


def _check_tokenizer(directory: Path) -> None:
    """Read as an engine will read it; here, because transformers takes seconds and everything before does not."""
    from deepseek_runtime.serve.tokenizer import Tokenizer
    from deepseek_runtime.weights.load import load_config

    Tokenizer(directory, load_config(directory))
