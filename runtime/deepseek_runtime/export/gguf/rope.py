"""Rotary positions as llama.cpp computes them, where that is what the model was made with.

YaRN (arXiv:2309.00071) has two scales: of the rotated vectors, and of the attention's logits. llama.cpp derives both
from one key, which fits DeepSeek's own models (`mscale` equals `mscale_all_dim`) and no others of latent attention.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from gguf import GGUFWriter, RopeScalingType

from deepseek_runtime.export.gguf.unsupported import unsupported

FREQUENCIES = "rope_freqs.weight"
"""What each rotation is slowed down by, where a model has factors of its own for them (Llama 3.1)."""

Parameters = Mapping[str, Any]


def add(header: GGUFWriter, family: str, rope: Parameters) -> None:
    """Write the keys of `config.rope_parameters`. Errors: DataError `UnsupportedExport`."""
    kind, latent = rope.get("rope_type", "default"), family != "Llama"
    header.add_rope_freq_base(float(rope["rope_theta"]))
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise unsupported(
            f"Only a part of each head is rotated (partial_rotary_factor {rope['partial_rotary_factor']})."
        )
    if kind == "linear" and not latent:
        header.add_rope_scaling_type(RopeScalingType.LINEAR)
        header.add_rope_scaling_factor(float(rope["factor"]))
    elif kind == "yarn":
        _add_yarn(header, rope, latent=latent)
    elif kind != "default" and (kind != "llama3" or latent):
        raise unsupported(f"Positions of a {family} are rotated by {kind}, which llama.cpp does not do for it.")


def _add_yarn(header: GGUFWriter, rope: Parameters, *, latent: bool) -> None:
    scale, logits = rope.get("mscale"), rope.get("mscale_all_dim")
    expressible = bool(logits) and scale == logits if latent else scale is None and logits is None
    if not expressible or rope.get("attention_factor") is not None or not rope.get("truncate", True):
        told = ", ".join(f"{key} {rope[key]}" for key in _SCALES if rope.get(key) is not None) or "no mscale"
        raise unsupported(f"Positions are scaled by YaRN with {told}, which has no form in GGUF.")
    header.add_rope_scaling_type(RopeScalingType.YARN)
    header.add_rope_scaling_factor(float(rope["factor"]))
    header.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))
    header.add_rope_scaling_yarn_beta_fast(float(rope.get("beta_fast") or 32))
    header.add_rope_scaling_yarn_beta_slow(float(rope.get("beta_slow") or 1))
    if latent:
        header.add_rope_scaling_yarn_log_mul(0.1 * float(rope["mscale_all_dim"]))  # llama.cpp divides it by 0.1 again


_SCALES = ("mscale", "mscale_all_dim", "attention_factor", "truncate")


def frequencies(rope: Parameters, c: Parameters) -> torch.Tensor | None:
    """(head_dim / 2,) divisors of the rotations' frequencies; None where they are all 1.

    As transformers' `llama3`: waves that turn often within the original context stay, slow ones are stretched.
    """
    if rope.get("rope_type") != "llama3":
        return None
    factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    exponents = torch.arange(0, c["head_dim"], 2, dtype=torch.float32) / c["head_dim"]
    turns = rope["original_max_position_embeddings"] / (2 * math.pi * float(rope["rope_theta"]) ** exponents)
    kept: torch.Tensor = ((turns - low) / (high - low)).clamp(0, 1)
    return 1 / ((1 - kept) / factor + kept)
