"""Where a model fits: exact for what is known, an upper bound for what a rank holds, unknown for the rest."""

from dataclasses import replace
from typing import Any

import pytest
from deepseek_operator.api.deepseekmodel.architecture import ArchitectureStatus
from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.fit import GpuFit
from deepseek_operator.api.names import MODEL
from deepseek_operator.api.price_sheet import EXAMPLE, GpuPrice, PriceSheet
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.controllers.fit import rank_bytes, sizing
from deepseek_operator.controllers.sizing import GPU_ALIGNMENT, splits
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.wire.attention import Attention, cache_bytes
from deepseek_runtime.wire.elsewhere import architecture as described
from deepseek_runtime.wire.result import JobResult, Refused, encode
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.builders import fetched, scratch
from tests.unit.controllers.world import World

V3: dict[str, Any] = {
    "name": "DeepseekV3ForCausalLM",
    "parameters": 671_026_419_200,
    "layers": 61,
    "hidden_size": 7168,
    "attention_heads": 128,
    "key_value_heads": 128,
    "intermediate_size": 18432,
    "routed_experts": 256,
    "moe_intermediate_size": 2048,
    "vocab_size": 129280,
    "context_length": 163840,
    "attention": {"kind": "latent", "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64},
}
DISTILL_70B: dict[str, Any] = {
    "name": "LlamaForCausalLM",
    "parameters": 70_553_706_496,
    "layers": 80,
    "hidden_size": 8192,
    "attention_heads": 64,
    "key_value_heads": 8,
    "intermediate_size": 28672,
    "vocab_size": 128256,
    "context_length": 131072,
    "attention": {"kind": "groupedQuery", "head_dim": 128},
}


def artifact(weight_bytes: int, dtype: str = "bfloat16") -> ArtifactStatus:
    return ArtifactStatus(
        name="base",
        phase="Ready",
        identity="i",
        claim="c",
        bytes=weight_bytes + 9,
        weight_bytes=weight_bytes,
        dtype=dtype,
    )


def fits(architecture: dict[str, Any], weight_bytes: int, sheet: PriceSheet = EXAMPLE) -> dict[str, GpuFit]:
    found = sizing(ArchitectureStatus.model_validate(architecture), [artifact(weight_bytes)], sheet)
    assert found is not None
    return {gpu.name: gpu for gpu in found.artifacts[0].gpus}


def test_deepseek_v3_in_one_byte_fits_eight_h200_and_no_eight_h100() -> None:
    """What DeepSeek's own recipes say."""
    found = fits(V3, 685_000_000_000)
    assert found["h200"].tensor_parallel == 8
    assert found["h200"].hourly_micros == 8 * 4_000_000
    assert found["h200"].longest_context == 163840
    assert found["h100"].tensor_parallel is None
    assert "of each GPU" in str(found["h100"].problem)


def test_a_distill_takes_its_grouped_cache_into_account() -> None:
    found = fits(DISTILL_70B, 2 * DISTILL_70B["parameters"])
    assert found["h200"].tensor_parallel == 2
    assert found["h200"].longest_context == 131072
    assert found["h100"].tensor_parallel == 2
    assert 24_000 < (found["h100"].longest_context or 0) < 32_000
    assert found["l4"].tensor_parallel == 8
    whole = sizing(ArchitectureStatus.model_validate(DISTILL_70B), [artifact(9)], None)
    assert whole is not None
    assert whole.artifacts[0].kv_bytes_per_token == 80 * 2 * 8 * 128 * 2
    assert whole.artifacts[0].gpus == []


V4_FLASH: dict[str, Any] = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "vocab_size": 129280,
    "hidden_size": 4096,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 43,
    "num_attention_heads": 64,
    "num_key_value_heads": 1,
    "head_dim": 512,
    "q_lora_rank": 1024,
    "n_routed_experts": 256,
    "o_groups": 8,
    "o_lora_rank": 1024,
    "index_n_heads": 64,
    "index_head_dim": 128,
    "sliding_window": 128,
    "hc_mult": 4,
    "max_position_embeddings": 1048576,
    "tie_word_embeddings": False,
}
"""transformers' defaults."""


def refused_world(refused: Refused) -> World:
    """A hub's model that the fetch Job has refused for its architecture."""
    world = World()
    world.settings = replace(world.settings, price_sheet=EXAMPLE)
    world.held.add("fetch")
    world.apply(fetched()).settle()
    job = world.jobs("fetch")[0]["metadata"]["name"]
    said = JobResult(
        kind="fetch", identity="i", outcome="failed", reason="UnknownArchitecture", message="No.", refused=refused
    )
    world.end_pod(job, 65, encode(said))
    return world.settle()


def test_a_refused_deepseek_v4_is_sized_for_the_engine_that_serves_it() -> None:
    architecture = described(V4_FLASH)
    assert architecture is not None
    assert 280e9 < architecture.parameters < 290e9
    world = refused_world(Refused(name=architecture.name, weight_bytes=160_000_000_000, architecture=architecture))
    status = world.status(MODEL, "base")
    assert status["phase"] == "Failed"
    (base,) = status["sizing"]["artifacts"]
    assert base["kvBytesPerToken"] == 20 * 640 // 4 * 2 + 23 * 512 // 128 * 2
    assert base["kvBytesPerSequence"] > 43 * 127 * 512 * 2
    fits = {gpu["name"]: gpu for gpu in base["gpus"]}
    assert (fits["h200"]["tensorParallel"], fits["h200"]["longestContext"]) == (2, 1048576)
    assert fits["h100"]["tensorParallel"] == 4
    for pod in world.of_kind("Pod"):
        world.drop(Ref.of(pod))
    world.settle()
    assert world.status(MODEL, "base")["sizing"] == status["sizing"], "what the pod had told is forgotten with it"


def test_v4_is_not_split_across_its_groups_of_heads() -> None:
    architecture = described({**V4_FLASH, "o_groups": 4})
    assert architecture is not None
    assert splits(ArchitectureStatus.model_validate(architecture.model_dump())) == (1, 2, 4)


def test_a_refused_model_of_unknown_attention_is_no_number() -> None:
    found = refused_world(Refused(name="MistralForCausalLM", weight_bytes=9)).status(MODEL, "base")["sizing"]
    assert (found["reason"], found.get("artifacts", [])) == ("SizingUnknown", [])
    assert "MistralForCausalLM" in found["message"]


@given(
    memory=st.integers(1, 400),
    weights=st.integers(1, 2**41),
    reserve=st.integers(0, 90),
    architecture=st.sampled_from([V3, DISTILL_70B]),
)
def test_the_smallest_degree_that_leaves_the_reserve_is_told(
    memory: int, weights: int, reserve: int, architecture: dict[str, Any]
) -> None:
    row = GpuPrice(name="gpu", memory_gib=memory, hourly=1)
    sheet = PriceSheet(name="s", version="1", reserve_percent=reserve, gpus=[row])
    fit = fits(architecture, weights, sheet)["gpu"]
    shape = ArchitectureStatus.model_validate(architecture)
    attention = Attention.model_validate(architecture["attention"])
    usable = memory * 1024**3 * (100 - reserve) // 100

    def needed(degree: int) -> int:
        cache = cache_bytes(attention, shape.layers, shape.key_value_heads, degree) or 0
        return rank_bytes(weights, "bfloat16", shape, attention, degree) + 2048 * cache

    degrees = [degree for degree in splits(shape, GPU_ALIGNMENT) if degree <= 8]
    assert degrees == [1, 2, 4, 8]
    assert fit.tensor_parallel == next((degree for degree in degrees if needed(degree) <= usable), None)
    if fit.tensor_parallel is not None:
        assert 2048 <= (fit.longest_context or 0) <= shape.context_length


@given(width=st.integers(1, 4096), ranks=st.integers(1, 16), bytes_=st.integers(1, 2**40))
def test_no_rank_holds_more_than_the_bound(width: int, ranks: int, bytes_: int) -> None:
    shape = ArchitectureStatus.model_validate({**DISTILL_70B, "intermediate_size": max(width, ranks)})
    parts = [Shard(rank, ranks).bounds(shape.intermediate_size) for rank in range(ranks)]
    largest = max(end - start for start, end in parts) / shape.intermediate_size
    bound = rank_bytes(bytes_, "bfloat16", shape, Attention(kind="groupedQuery", head_dim=128), ranks)
    assert bound >= int(bytes_ * largest) - 1
    assert bound <= bytes_


@pytest.mark.parametrize("attention", [None, {"kind": "of a newer runtime"}])
def test_an_unknown_attention_is_no_number(attention: dict[str, Any] | None) -> None:
    shape = ArchitectureStatus.model_validate({**V3, "attention": attention})
    found = sizing(shape, [artifact(9)], EXAMPLE)
    assert found is not None
    assert (found.reason, found.artifacts) == ("SizingUnknown", [])
    assert "kubectl patch dsm" in str(found.message)


def test_a_layer_that_gpus_cannot_split_is_said() -> None:
    found = fits({**DISTILL_70B, "intermediate_size": 7}, 9)["h100"]
    assert "cannot be split" in str(found.problem)


def test_the_status_has_base_and_variants_and_rests() -> None:
    world = World()
    world.settings = type(world.settings)(
        world.settings.namespace,
        world.settings.runtime_image,
        world.settings.gateway_url,
        world.settings.master_key,
        price_sheet=EXAMPLE,
    )
    world.apply(scratch().variant("int8")).settle()
    found = world.status(MODEL, "seed")["sizing"]
    assert found["priceSheet"] == {"name": "example", "version": "1"}
    base, int8 = found["artifacts"]
    assert (base["name"], base["weightBytes"], base["kvBytesPerToken"]) == ("base", 800_000, 2 * 48 * 2)
    assert int8["gpus"][0] == {"name": "l4", "tensorParallel": 1, "longestContext": 256, "hourlyMicros": 1_000_000}
    assert base["gpus"][3]["breakEvenMonth"] > 1
