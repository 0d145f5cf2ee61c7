"""What llama.cpp must know of a model beside its tensors, from its config."""

from collections.abc import Mapping
from typing import Any

from gguf import ExpertGatingFuncType, GGUFWriter

from deepseek_runtime.export.gguf.unsupported import unsupported

WITHOUT_QUERY_LATENT = (26, 27)
"""Layers of the models that llama.cpp takes for DeepSeek-V2-Lite, whatever their file says of a query's latent."""
_WITHOUT_QUERY_LATENT_OF = (48, 128256)
"""And with this many layers one with a vocabulary of this size."""


def add(header: GGUFWriter, family: str, c: Mapping[str, Any]) -> None:
    """Write the keys of a completed config. Errors: DataError `UnsupportedExport`."""
    if c["hidden_act"] != "silu":
        raise unsupported(f"The layers are computed with {c['hidden_act']}; llama.cpp has silu for {family}.")
    header.add_vocab_size(c["vocab_size"])
    header.add_context_length(c["max_position_embeddings"])
    header.add_embedding_length(c["hidden_size"])
    header.add_block_count(c["num_hidden_layers"])
    header.add_feed_forward_length(c["intermediate_size"])
    header.add_head_count(c["num_attention_heads"])
    header.add_layer_norm_rms_eps(c["rms_norm_eps"])
    if family == "Llama":
        header.add_head_count_kv(c["num_key_value_heads"])
        header.add_key_length(c["head_dim"])
        header.add_value_length(c["head_dim"])
        header.add_rope_dimension_count(c["head_dim"])
    else:
        _add_latent_attention(header, c)
        _add_experts(header, family, c)


def _add_latent_attention(header: GGUFWriter, c: Mapping[str, Any]) -> None:
    """Attention over latents: to llama.cpp one wide head of keys that all heads of queries share."""
    layers, rank = c["num_hidden_layers"], c["q_lora_rank"]
    if rank is not None and (layers in WITHOUT_QUERY_LATENT or (layers, c["vocab_size"]) == _WITHOUT_QUERY_LATENT_OF):
        raise unsupported(
            f"llama.cpp takes a model of {layers} layers for one without q_lora_rank, and this has {rank}."
        )
    latent, rotated = c["kv_lora_rank"], c["qk_rope_head_dim"]
    header.add_head_count_kv(1)
    header.add_q_lora_rank(rank or 0)
    header.add_kv_lora_rank(latent)
    header.add_key_length(latent + rotated)
    header.add_value_length(latent)
    header.add_key_length_mla(c["qk_nope_head_dim"] + rotated)
    header.add_value_length_mla(c["v_head_dim"])
    header.add_rope_dimension_count(rotated)


def _add_experts(header: GGUFWriter, family: str, c: Mapping[str, Any]) -> None:
    header.add_leading_dense_block_count(min(c["first_k_dense_replace"], c["num_hidden_layers"]))
    header.add_expert_feed_forward_length(c["moe_intermediate_size"])
    header.add_expert_count(c["n_routed_experts"])
    header.add_expert_used_count(c["num_experts_per_tok"])
    header.add_expert_shared_count(c["n_shared_experts"])
    header.add_expert_weights_scale(c["routed_scaling_factor"])
    grouped = (c["n_group"] or 1) > 1 and c["topk_group"] < c["n_group"]
    if family == "DeepSeekV3":
        header.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
        header.add_expert_weights_norm(c["norm_topk_prob"])
        if grouped:
            header.add_expert_group_count(c["n_group"])
            header.add_expert_group_used_count(c["topk_group"])
        return
    if c["topk_method"] == "group_limited_greedy" and grouped:
        raise unsupported(
            f"Experts are chosen from the {c['topk_group']} of {c['n_group']} groups with the best single expert; "
            "llama.cpp goes by the best two of each."
        )
    header.add_expert_gating_func(ExpertGatingFuncType.SOFTMAX)
    header.add_expert_weights_norm(value=False)  # as transformers has it, whatever norm_topk_prob says
