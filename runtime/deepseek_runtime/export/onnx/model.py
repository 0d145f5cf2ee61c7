"""A model as an ONNX file that has answered as the model does, with its tokenizer beside it."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from deepseek_runtime.export.onnx import checkpoint, environment, proof, smoothing
from deepseek_runtime.job import space
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.place import place
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.quantize import calibration
from deepseek_runtime.quantize.calibration import Sequences
from deepseek_runtime.weights import facts, manifest, safety, seal
from deepseek_runtime.weights.load import load_config, load_model
from deepseek_runtime.weights.stored import StoredWeights
from deepseek_runtime.wire.job import ExportJob
from deepseek_runtime.wire.result import Artifact, Calibration, Export, JobResult

FILE = "model.onnx"
PHASES = ("reading the model", "exporting", "calibrating", "proving")


def run(job: ExportJob, reporter: Reporter) -> JobResult:
    """Export a verified dense model and seal it. A Job that was killed begins again, and ends with the same bytes.

    Errors: as `checkpoint.check`, `calibration.read`, `environment.run` and `proof.check`; ConfigurationError
    `StorageTooSmall` before anything is written, `ContextTooLong`.
    """
    source = Path(job.input)
    described = facts.architecture(source)
    config = load_config(source)
    size = checkpoint.graph_bytes(config, described.parameters)
    checkpoint.check(config, size)
    environment.directory()
    sequences = _sequences(job, source, config.max_position_embeddings)
    home = place(job).absolute()  # the programs have another working directory
    directory = seal.partial(home, job.identity)
    space.demand(directory, "What an export writes meanwhile", _demand(size, described.vocab_size))
    with tempfile.TemporaryDirectory(prefix=f"{seal.PREFIX}scratch-", dir=home) as work:
        scratch = Path(work)
        _report(reporter, 0)
        _remember(load_model(source, torch.float32), sequences, scratch)
        made = _make(sequences, scratch, reporter)
        for name in (FILE, safety.CONFIG):
            (made / name).rename(directory / name)
        _report(reporter, 3)
        told = _answer(directory, described.vocab_size, scratch)
        found = proof.compare(scratch / "expected.npy", scratch / "found.npy", told["engine"])
        proof.check(job.type, found)
    _copy_others(source, directory)
    written = manifest.write(directory)
    result = JobResult(
        kind=job.kind,
        identity=job.identity,
        outcome="succeeded",
        artifact=Artifact(
            digest=written.digest,
            bytes=written.size,
            weight_bytes=told["bytes"],
            files=len(written.files),
            dtype=job.type,
            architecture=described,
        ),
        export=Export(
            format=job.format,
            type=job.type,
            file=FILE,
            sha256=next(file.sha256 for file in written.files if file.path == FILE),
            weight_bytes_before=_stored_bytes(source),
            weight_bytes_after=told["bytes"],
            tensors=told["tensors"],
            calibration=None
            if sequences is None
            else Calibration(digest=sequences.digest, sequences=len(sequences.tokens), tokens=sequences.count),
            proof=found,
        ),
    )
    return seal.seal(home, job.identity, result)


def _sequences(job: ExportJob, source: Path, longest: int) -> Sequences | None:
    if job.calibration is None:
        return None
    length = job.calibration.sequence_length
    if length > longest:
        raise ConfigurationError(
            "ContextTooLong", f"calibration.sequenceLength {length} is beyond the model's {longest}."
        )
    return calibration.read(source, job.calibration.text, job.calibration.samples, length)


def _remember(model: PreTrainedModel, sequences: Sequences | None, scratch: Path) -> None:
    """The model's own answers, and its weights for who exports them: it leaves the memory with this function."""
    tokens = proof.made_up(model) if sequences is None else proof.excerpt(sequences.tokens)
    np.save(scratch / "tokens.npy", tokens.numpy())
    proof.remember(model, tokens, scratch / "expected.npy")
    if sequences is not None:
        smoothing.smooth(model, sequences.tokens)
    checkpoint.write(model, scratch / "checkpoint")


def _make(sequences: Sequences | None, scratch: Path, reporter: Reporter) -> Path:
    """The folder with the graph, quantized where there are sequences to calibrate it with."""
    _report(reporter, 1)
    plain, quantized = scratch / "float32", scratch / "int8"
    environment.run("convert", {"checkpoint": str(scratch / "checkpoint"), "output": str(plain)}, scratch)
    shutil.rmtree(scratch / "checkpoint")
    if sequences is None:
        return plain
    _report(reporter, 2)
    np.save(scratch / "calibration.npy", sequences.tokens.numpy())
    asked = {
        "model": str(plain),
        "tokens": str(scratch / "calibration.npy"),
        "augmented": str(scratch / "augmented.onnx"),
        "output": str(quantized),
    }
    environment.run("quantize", asked, scratch)
    return quantized


def _answer(directory: Path, vocabulary: int, scratch: Path) -> dict[str, Any]:
    steps = min(proof.STEPS, int(np.load(scratch / "tokens.npy", mmap_mode="r").shape[1]) - 1)
    asked = {
        "model": str(directory / FILE),
        "tokens": str(scratch / "tokens.npy"),
        "vocabulary": vocabulary,
        "steps": steps,
        "logits": str(scratch / "found.npy"),
        "facts": str(scratch / "facts.json"),
    }
    environment.run("answer", asked, scratch)
    told: dict[str, Any] = json.loads((scratch / "facts.json").read_text("utf-8"))
    return told


def _copy_others(source: Path, directory: Path) -> None:
    """Tokenizer and chat template; config.json is that of the export."""
    for file in manifest.read(source).files:
        weights = file.path.endswith((".safetensors", ".sig")) or file.path in (safety.INDEX, safety.CONFIG)
        if not weights and not (directory / file.path).exists():  # a signature is of the base
            (directory / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file.path, directory / file.path)
    settings = directory / safety.TOKENIZER_CONFIG
    if settings.exists():
        translated = checkpoint.translated_tokenizer(safety.read_json(settings))
        settings.write_text(json.dumps(translated, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _stored_bytes(source: Path) -> int:
    with StoredWeights(source) as weights:
        return sum(weights.stored_bytes(name) for name in weights)


def _demand(size: int, vocabulary: int) -> int:
    """Bytes: the checkpoint and the graph, or the graph, two copies to calibrate and the quantized one; and answers."""
    return 4 * size + 2 * 4 * proof.ROWS * proof.LENGTH * vocabulary


def _report(reporter: Reporter, step: int) -> None:
    reporter.update(PHASES[step], unit="steps", done=step, total=len(PHASES))
