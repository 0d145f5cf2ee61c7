"""The export Job: a model as one GGUF file, sealed like every artifact."""

from pathlib import Path

import gguf

from deepseek_runtime.export.gguf import file, hyperparameters, layout, rope, stored_types, vocabulary
from deepseek_runtime.export.gguf.journal import Journal
from deepseek_runtime.job import space
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.weights import facts, manifest, safety, seal, shapes
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.weights.stored import StoredWeights
from deepseek_runtime.wire.architecture import FAMILIES, complete
from deepseek_runtime.wire.job import ExportJob
from deepseek_runtime.wire.result import Artifact, Export, JobResult

FILE = "model.gguf"


def run(job: ExportJob, reporter: Reporter) -> JobResult:
    """Export a verified model and seal the file. A Job that was killed goes on, and ends with the same bytes.

    Errors: as `layout.tensors`, `hyperparameters.add`, `rope.add`, `vocabulary.add` and `file.write`;
    ConfigurationError `StorageTooSmall` before anything is written.
    """
    source = Path(job.input)
    described = facts.architecture(source)
    family = FAMILIES[described.name]
    config, c = load_config(source), complete(family, safety.read_json(source / safety.CONFIG))
    header = gguf.GGUFWriter(None, gguf.MODEL_ARCH_NAMES[layout.ARCHITECTURES[family]])
    header.add_file_type(stored_types.FILE_TYPES[job.type])
    header.add_quantization_version(gguf.GGML_QUANT_VERSION)
    hyperparameters.add(header, family, c)
    rope.add(header, family, config.rope_parameters)
    vocabulary.add(header, source, config)
    with StoredWeights(source) as weights:
        shapes.check(source, weights.shards)
        tensors = layout.tensors(family, c, weights, rope.frequencies(config.rope_parameters, c))
        contents = [(each, stored_types.stored_type(job.type, each.name, each.shape)) for each in tensors]
        total, finished = sum(stored_types.size(each.shape, stored) for each, stored in contents), 0
        directory, journal = seal.resume(place(job), job.identity), Journal(place(job), job.identity)
        written_before = (directory / FILE).stat().st_size if (directory / FILE).exists() else 0
        space.demand(directory, "The file", total, kept=min(written_before, total))

        def done(count: int) -> None:
            nonlocal finished
            finished += count
            reporter.update("exporting", unit="bytes", done=finished, total=total)

        sha256 = file.write(directory / FILE, header, contents, weights, done, journal)
        before = sum(weights.stored_bytes(name) for name in weights)
    written = manifest.record(directory, {FILE: sha256})
    wanted = [stored_types.wanted_type(job.type, each.name, each.shape) for each in tensors]
    result = JobResult(
        kind=job.kind,
        identity=job.identity,
        outcome="succeeded",
        artifact=Artifact(
            digest=written.digest,
            bytes=written.size,
            weight_bytes=total,
            files=len(written.files),
            dtype=job.type,
            architecture=described,
        ),
        export=Export(
            format=job.format,
            type=job.type,
            file=FILE,
            sha256=sha256,
            weight_bytes_before=before,
            weight_bytes_after=total,
            tensors=len(contents),
            unaligned_tensors=sum(stored != asked for (_, stored), asked in zip(contents, wanted, strict=True)),
        ),
    )
    sealed = seal.seal(place(job), job.identity, result)
    journal.remove()
    return sealed
