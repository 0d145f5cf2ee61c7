"""A model's forward pass over calibration sequences with one decoder layer in memory at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 torch's own convention
from torch import nn
from transformers import PretrainedConfig
from transformers.masking_utils import create_causal_mask

from deepseek_runtime.job.errors import DataError
from deepseek_runtime.models.families import CLASSES
from deepseek_runtime.quantize.separate_experts import SeparateExperts

Read = Callable[[str], torch.Tensor]
"""A tensor of the checkpoint by its name."""

BATCH_TOKENS = 8192
"""Tokens that go through a layer at once."""


@dataclass(frozen=True, slots=True)
class LoadedLayer:
    """One decoder layer with its weights. `linear` are its linear layers by the names that the checkpoint gives."""

    index: int
    module: nn.Module
    linear: dict[str, nn.Linear]


class Decoder:
    """Carries the hidden states (sequences, length, hidden) of the calibration from layer to layer.

    Memory: one layer, the hidden states and what one batch needs. Errors: DataError `BadWeights`.
    """

    def __init__(
        self, config: PretrainedConfig, read: Read, tokens: torch.Tensor, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._config, self._read, self._dtype, self._device = config, read, dtype, device
        with torch.device("meta"):
            self._skeleton: Any = CLASSES[(config.architectures or [""])[0]](config).model
        self._rotary = type(self._skeleton.rotary_emb)(config).to(device)
        embedding = read("model.embed_tokens.weight")
        self.hidden = F.embedding(tokens, embedding).to(dtype)
        self._batch = max(1, BATCH_TOKENS // tokens.shape[1])

    def layers(self) -> Iterator[LoadedLayer]:
        """Each layer in turn; between one and the next, `advance` must be called."""
        for index in range(self._config.num_hidden_layers):
            yield self._load(index)

    @torch.inference_mode()
    def observe(self, layer: LoadedLayer) -> None:
        """Send the hidden states through the layer for what its hooks see of them."""
        for batch in torch.split(self.hidden, self._batch):
            self._forward(layer, batch)

    @torch.inference_mode()
    def advance(self, layer: LoadedLayer) -> None:
        """Replace the hidden states by what the layer makes of them."""
        for batch in torch.split(self.hidden, self._batch):
            batch.copy_(self._forward(layer, batch))

    def _forward(self, layer: LoadedLayer, batch: torch.Tensor) -> torch.Tensor:
        x = batch.to(self._device)
        positions = torch.arange(x.shape[1], device=self._device)[None]
        mask = create_causal_mask(
            config=self._skeleton.config,
            inputs_embeds=x,
            attention_mask=None,
            past_key_values=None,
            position_ids=positions,
        )
        output: torch.Tensor = layer.module(
            x,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=None,
            use_cache=False,
            position_embeddings=self._rotary(x, positions),
        )
        return output.to(batch.device)

    def _load(self, index: int) -> LoadedLayer:
        at = f"model.layers.{index}"
        with torch.device("meta"):
            module: Any = type(self._skeleton.layers[index])(self._skeleton.config, index)
            if hasattr(module.mlp, "experts"):
                module.mlp.experts = SeparateExperts(self._skeleton.config)
        state = {name: self._tensor(f"{at}.{name}") for name in module.state_dict()}
        try:
            module.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise DataError("BadWeights", f"The weights of {at} do not fit config.json: {error}") from error
        module.train(False).requires_grad_(False)
        linear = {f"{at}.{name}": part for name, part in module.named_modules() if isinstance(part, nn.Linear)}
        return LoadedLayer(index, module, linear)

    def _tensor(self, name: str) -> torch.Tensor:
        tensor = self._read(name)
        if tensor.is_floating_point() and not name.endswith("e_score_correction_bias"):
            tensor = tensor.to(self._dtype)
        return tensor.to(self._device)
