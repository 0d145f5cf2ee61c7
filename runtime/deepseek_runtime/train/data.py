"""A stage's data: tokenized once by the first process, then batches for all of them."""

import time
from collections.abc import Callable
from pathlib import Path

from transformers import PretrainedConfig

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.train.batch import Batches
from deepseek_runtime.train.exchange import Status
from deepseek_runtime.train.sft import examples, lines
from deepseek_runtime.train.sft.encode import Encoder
from deepseek_runtime.train.sft.rows import Rows
from deepseek_runtime.train.team import Team
from deepseek_runtime.train.tokens import open_tokens, special_token, tokenize
from deepseek_runtime.train.windows import Windows
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.job import TrainJob

POLL_SECONDS = 0.1


def prepare(
    job: TrainJob, config: PretrainedConfig, directory: Path, team: Team, show: Callable[[Status], None]
) -> Batches:
    """The batches of the stage. What was tokenized stays in `directory`, for later pods of the same work.

    Errors: DataError of the text or the examples, ConfigurationError of the tokenizer.
    """
    kind = {"pretrain": "tokens", "sft": "examples"}[job.type]
    target = directory / f"{kind}-{job.identity[:32]}"
    if not target.exists():
        show(Status("tokenizing", total=job.steps or 0))
        if team.first:
            _tokenize(job, config, target)
    while not target.exists():  # no collective: a large text takes longer than any of them may wait
        time.sleep(POLL_SECONDS)
    source, settings = Path(job.input), job.hyperparameters
    shape = (settings.sequence_length, settings.batch_size, settings.seed)
    if job.type == "sft":
        store = examples.Store.open(target)
        return Rows(store, special_token(source, "eos"), *shape, steps=job.steps, epochs=job.epochs)
    tokens = open_tokens(target, config.vocab_size)
    return Windows(tokens, special_token(source, "bos"), *shape, steps=job.steps, epochs=job.epochs)


def _tokenize(job: TrainJob, config: PretrainedConfig, target: Path) -> None:
    source, length = Path(job.input), job.hyperparameters.sequence_length
    if job.type == "pretrain":
        tokenize(_files(job, ".txt"), source, config.vocab_size, length, target)
        return
    with Encoder(source, config) as encoder:
        found = lines.examples(_files(job, ".jsonl"), encoder.encode)
        examples.write(found, length + 1, target)


def _files(job: TrainJob, ending: str) -> tuple[str, ...]:
    """The paths of the data; of a sealed dataset its files with this ending, in the order of their paths.

    DataError `MissingText` for a dataset that has none.
    """
    found: list[str] = []
    for path in job.data:
        if path not in job.datasets:
            found.append(path)
            continue
        names = [file.path for file in manifest.read(Path(path)).files if file.path.endswith(ending)]
        if not names:
            raise DataError(
                "MissingText",
                f"The dataset at {path} has no *{ending} files, which a stage of type {job.type} reads. Name another "
                "dataset, or let include select such files.",
            )
        found += [f"{path}/{name}" for name in names]
    return tuple(found)
