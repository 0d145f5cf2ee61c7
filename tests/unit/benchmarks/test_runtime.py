"""The scenarios that need no cluster, with tiny numbers: what they measure here means nothing, but they measure."""

from pathlib import Path

import pytest
from deepseek_runtime.serve import runner as runners
from deepseek_runtime.serve.shard import Shard
from deepseek_runtime.wire.serve import ServeConfig

from benchmarks.runtime import decode, manifest, models, rounds, size, streaming

TINY = {
    "hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "q_lora_rank": 16, "kv_lora_rank": 16, "vocab_size": 64,
}  # fmt: skip


def test_a_manifest_is_checked_beside_sha256sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "FILES", 2)
    monkeypatch.setattr(manifest, "BYTES", 1 << 16)
    speed, ratio = manifest.run(tmp_path)
    assert speed.value > 0
    assert ratio.target is not None
    assert not list(tmp_path.iterdir())


def test_quantization_is_weighed_in_files_and_timed_beside_hashing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "HIDDEN", 256)
    monkeypatch.setattr(streaming, "LAYERS", 2)
    monkeypatch.setattr(streaming, "ROUNDS", 1)
    hashing, *found = streaming.run(tmp_path)
    assert hashing.value > 0
    assert [each.target is not None and each.value > 0 for each in found] == [True] * 4
    assert not list(tmp_path.iterdir())


def test_ways_take_turns_from_either_end() -> None:
    order: list[str] = []
    taken = rounds.in_turns({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 3, "b": 3}
    assert rounds.middle(rounds.ratios([2, 9, 4], [1, 3, 1]), "x") == (3, "2-4 x, n=3")


def test_a_model_and_its_variants_are_weighed_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "CONFIG", {**models.CONFIG, **TINY})
    monkeypatch.setattr(decode, "TOKENS", 3)
    shares = [each for each in size.run(tmp_path) if each.target is not None]
    assert len(shares) == 3
    assert all(share.value > 0 for share in shares)
    directory = models.model(tmp_path, "int8 dynamic")
    config = ServeConfig(
        owner="test", served_name="tiny", model=str(directory), dtype="float32", cache_tokens=256, context_length=64
    )
    runner = runners.start(config, Shard(), lambda done, total: None)
    assert decode._decode(runner, runners.blocks(config), 2) > 0
