import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from deepseek_runtime.job.reporter import Reporter
from deepseek_runtime.quantize import activations
from deepseek_runtime.quantize import model as quantize
from deepseek_runtime.serve import runner as runners
from deepseek_runtime.serve.chat import Chat
from deepseek_runtime.serve.engine import Engine
from deepseek_runtime.serve.metrics import Metrics
from deepseek_runtime.serve.runner import Runner, blocks
from deepseek_runtime.serve.scheduler import Scheduler
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.serve.tokenizer import Tokenizer
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_config, load_model
from deepseek_runtime.wire.job import QuantizeJob
from deepseek_runtime.wire.paths import ARTIFACT
from deepseek_runtime.wire.serve import ServeConfig
from transformers import PreTrainedModel

from tests.unit.serve.models import CHAT_TEMPLATE, TEXT, make_model


class Model:
    """A model on disk, in transformers and in the engine's form; every part is made when it is first asked for."""

    def __init__(self, directory: Path, digest: str) -> None:
        self.directory = directory
        self.digest = digest
        self._reference: PreTrainedModel | None = None
        self._runners: dict[int, Runner] = {}
        self._tokenizer: Tokenizer | None = None
        self._chat: Chat | None = None

    @property
    def reference(self) -> PreTrainedModel:
        """Of a W8A8 model as evaluation computes it."""
        if self._reference is None:
            self._reference = load_model(self.directory, torch.float32)
            activations.install(self._reference, self.directory)
        return self._reference

    @property
    def tokenizer(self) -> Tokenizer:
        self._tokenizer = self._tokenizer or Tokenizer(self.directory, load_config(self.directory))
        return self._tokenizer

    @property
    def chat(self) -> Chat:
        self._chat = self._chat or Chat.load(self.directory, self.tokenizer.backend, self.tokenizer.end)
        return self._chat

    def config(self, **changes: object) -> ServeConfig:
        fields = {"owner": "test", "served_name": "tiny", "model": str(self.directory), "dtype": "float32"}
        return ServeConfig(**{**fields, "cache_tokens": 2048, **changes})

    def engine(self, *, cache_tokens: int = 2048, max_sequences: int = 8, budget: int = 64) -> Engine:
        config = self.config(cache_tokens=cache_tokens, context_length=256)
        if cache_tokens not in self._runners:
            self._runners[cache_tokens] = runners.start(config, Shard(), lambda done, total: None)
        runner = self._runners[cache_tokens]
        scheduler = Scheduler(blocks(config), 16, max_sequences, budget)
        return Engine(scheduler, lambda plan: runner.forward(plan, lambda: None), self.tokenizer, Metrics("tiny"))


RECIPES: dict[str, dict[str, Any]] = {
    "int8": {"scheme": "int8"},
    "int8experts": {"scheme": "int8", "scope": "experts"},
    "w8a8": {"scheme": "int8", "method": "dynamic"},
    "static": {"scheme": "int8", "method": "static", "calibration": {"samples": 8, "sequence_length": 32}},
    "int4": {"scheme": "int4", "group_size": 32},
    "fp8": {"scheme": "fp8"},
    "fp8block": {"scheme": "fp8Block"},
    "bf16": {"scheme": "bf16"},
}


def quantized(model: Model, output: Path, recipe: dict[str, Any]) -> Model:
    if "calibration" in recipe:
        text = output / "text.txt"
        text.write_text("\n".join(TEXT * 40), "utf-8")
        recipe = {**recipe, "calibration": {**recipe["calibration"], "text": (str(text),)}}
    job = QuantizeJob(
        identity="of-this-test",
        owner="test",
        input=str(model.directory),
        input_digest=model.digest,
        output=str(output),
        **recipe,
    )
    result = quantize.run(job, Mock(spec=Reporter))
    return Model(output / ARTIFACT, result.artifact.digest)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Model]]:
    made: dict[str, Model] = {}

    def get(name: str) -> Model:
        plain, _, recipe = name.rpartition("-")
        if recipe in RECIPES:
            if name not in made:
                made[name] = quantized(get(plain), tmp_path_factory.mktemp(name), RECIPES[recipe])
        elif name.endswith("-chat") and name not in made:
            directory = tmp_path_factory.mktemp(name) / "model"
            shutil.copytree(get(name.removesuffix("-chat")).directory, directory)
            (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE)
            made[name] = Model(directory, manifest.write(directory).digest)
        elif name not in made:
            directory = tmp_path_factory.mktemp(name)
            made[name] = Model(directory, make_model(name, directory))
        return made[name]

    yield get
    for model in made.values():
        model.chat.close()


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
