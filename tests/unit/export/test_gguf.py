"""What a GGUF file holds is what the model's weights are, as the format's own reader and dequantizer read it."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.export.gguf import file, model
from deepseek_runtime.export.gguf.journal import PREFIX
from deepseek_runtime.job import space
from deepseek_runtime.job.errors import ConfigurationError, DataError
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.stored import StoredWeights

from tests.unit.export.exported import WIDE, base, change, export, job, read, state
from tests.unit.tiny import CONFIGS, Reports

LATENT = sorted(set(CONFIGS) - {"Llama"})


@pytest.fixture(scope="module")
def v3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("v3"), "DeepSeekV3", **WIDE)


def _expected(weights: dict[str, torch.Tensor], name: str, heads: int) -> torch.Tensor:
    """A projection of a latent by the head, as config.json of the tiny models has it."""
    return weights[name].view(heads, 16, -1)


@pytest.mark.parametrize("architecture", LATENT)
def test_latent_attention_and_experts_are_the_weights(architecture: str, tmp_path: Path) -> None:
    source = base(tmp_path, architecture, **({**WIDE, "q_lora_rank": None} if architecture == "DeepSeekV2" else WIDE))
    result = export(source, tmp_path / "out")
    keys, tensors, types = read(tmp_path / "out")
    weights = state(source)
    at = "model.layers.1"
    up = _expected(weights, f"{at}.self_attn.kv_b_proj.weight", 2)
    torch.testing.assert_close(tensors["blk.1.attn_k_b.weight"], up[:, :8].transpose(1, 2).half().float())
    torch.testing.assert_close(tensors["blk.1.attn_v_b.weight"], up[:, 8:].half().float())
    for gguf, name in (("gate", "gate_proj"), ("up", "up_proj"), ("down", "down_proj")):
        stacked = torch.stack([weights[f"{at}.mlp.experts.{expert}.{name}.weight"] for expert in range(4)])
        assert torch.equal(tensors[f"blk.1.ffn_{gguf}_exps.weight"], stacked.half().float())
    assert torch.equal(tensors["blk.1.ffn_gate_inp.weight"], weights[f"{at}.mlp.gate.weight"])
    assert types["blk.1.ffn_gate_inp.weight"] == types["output_norm.weight"] == "F32"
    assert torch.equal(tensors["token_embd.weight"], weights["model.embed_tokens.weight"].half().float())
    assert sum(tensor.numel() for tensor in tensors.values()) == sum(tensor.numel() for tensor in weights.values())
    assert keys["general.architecture"] == "deepseek2"
    assert keys["deepseek2.attention.head_count_kv"] == 1
    assert keys["deepseek2.attention.key_length"] == WIDE["kv_lora_rank"] + 4
    assert keys["deepseek2.attention.key_length_mla"] == 12
    assert keys["deepseek2.leading_dense_block_count"] == 1
    assert keys["deepseek2.expert_gating_func"] == {"DeepSeekV3": 2, "DeepSeekV2": 1}[architecture]
    assert result.export is not None
    assert result.export.tensors == len(tensors)
    assert result.export.unaligned_tensors == 0


def test_llamas_pairs_of_rotated_dimensions_are_neighbours(tmp_path: Path) -> None:
    source = base(tmp_path, "Llama")
    export(source, tmp_path / "out")
    keys, tensors, _ = read(tmp_path / "out")
    query = state(source)["model.layers.0.self_attn.q_proj.weight"].half().float()
    for head in range(4):
        for pair in range(4):
            assert torch.equal(tensors["blk.0.attn_q.weight"][head * 8 + 2 * pair], query[head * 8 + pair])
            assert torch.equal(tensors["blk.0.attn_q.weight"][head * 8 + 2 * pair + 1], query[head * 8 + 4 + pair])
    assert "output.weight" not in tensors, "the embeddings are tied"
    assert keys["llama.attention.head_count_kv"] == 2
    assert keys["llama.rope.dimension_count"] == 8


@pytest.mark.parametrize(("kind", "levels", "steps"), [("q8_0", 127, 0.5), ("q4_0", 8, 1.0)])
def test_rounding_stays_within_its_step_of_each_block(
    v3: Path, tmp_path: Path, kind: str, levels: int, steps: float
) -> None:
    result = export(v3, tmp_path, kind)
    _, tensors, types = read(tmp_path)
    weights, name = state(v3), "blk.0.ffn_gate.weight"
    assert types[name] == kind.upper()
    wanted = weights["model.layers.0.mlp.gate_proj.weight"].view(-1, 32)
    step = wanted.abs().amax(1, keepdim=True) / levels
    # Half a step, and a whole one at the end that four bits do not reach; then what float16 makes of the scale.
    allowed = step * (steps + levels * 2**-11)
    assert ((tensors[name].view(-1, 32) - wanted).abs() <= allowed + 1e-7).all()
    assert types["token_embd.weight"] == types["output.weight"] == "Q8_0"
    assert types["blk.1.attn_k_b.weight"] == "F16", "a head's rows of 8 are no block"
    assert result.export is not None
    assert result.artifact is not None
    assert result.export.unaligned_tensors == 2 + 2
    assert result.export.weight_bytes_after == result.artifact.weight_bytes < result.export.weight_bytes_before / 2
    assert result.artifact.dtype == kind


def test_it_is_sealed_with_a_manifest(v3: Path, tmp_path: Path) -> None:
    whole = export(v3, tmp_path / "whole", "q8_0")
    assert whole.artifact is not None
    listed = manifest.verify(tmp_path / "whole" / "artifact", whole.artifact.digest)
    assert [each.path for each in listed.files] == [model.FILE]
    assert whole.export is not None
    assert listed.files[0].sha256 == whole.export.sha256


STACK = 4 * 32 * 64 // 256
"""Bands of a layer's experts, which are one tensor."""


class KilledError(BaseException):
    """Ends a process as SIGKILL does, as far as files go."""


def kill(source: Path, output: Path, updates: int) -> None:
    """An export of it that dies after so many reports."""

    class Kill(Reports):
        def update(self, phase: str, *, unit: str, done: int, total: int, **figures: float | None) -> None:
            super().update(phase, unit=unit, done=done, total=total)
            if len(self.seen) > updates:
                raise KilledError

    with pytest.raises(KilledError):
        model.run(job(source, output, "q8_0"), Kill())
    assert not (output / "artifact").exists()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Narrow bands and a journal of every tensor; the names of the stored tensors that are read."""
    reads: list[str] = []
    read_ = StoredWeights.read

    def watched(self: StoredWeights, name: str, *rest: Any) -> torch.Tensor:
        reads.append(name)
        return read_(self, name, *rest)

    monkeypatch.setattr(StoredWeights, "read", watched)
    monkeypatch.setattr(file, "BAND", 256)
    monkeypatch.setattr(file, "MARK", 1)
    return reads


@pytest.mark.parametrize("updates", [1, 20, 60, 150])
def test_a_killed_export_goes_on_behind_its_last_whole_tensor_and_the_bytes_are_the_same(
    v3: Path, tmp_path: Path, small: list[str], updates: int
) -> None:
    whole = export(v3, tmp_path / "whole", "q8_0")
    reads = len(small)
    small.clear()
    kill(v3, tmp_path / "killed", updates)
    finished = sum(1 for name in small if name != small[-1])
    small.clear()
    reports = Reports()
    again = model.run(job(v3, tmp_path / "killed", "q8_0"), reports)
    assert again.export == whole.export is not None
    assert again.artifact == whole.artifact
    assert len(small) <= reads - finished + STACK, "what is whole is not read again"
    assert reports.seen[-1][1] == reports.seen[-1][2] == whole.export.weight_bytes_after if whole.export else 0
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [
        "artifact", "evaluations", "result.json",
    ]  # fmt: skip
    assert {path.name for path in (tmp_path / "killed" / "artifact").iterdir()} == {model.FILE, "manifest.json"}


def _cut(output: Path) -> None:
    """Less than the journal says has reached the disk."""
    (partial,) = output.glob(".partial-*")
    os.truncate(partial / model.FILE, 10_000)


def _spoil(output: Path) -> None:
    (partial,) = output.glob(".partial-*")
    content = bytearray((partial / model.FILE).read_bytes())
    content[9_000] ^= 1
    (partial / model.FILE).write_bytes(content)


def _tear(output: Path) -> None:
    """The last line of the journal is cut."""
    (journal,) = output.glob(f"{PREFIX}*")
    journal.write_bytes(journal.read_bytes()[:-20])


def _rename(output: Path) -> None:
    """Another work's journal, and another's beginning of a file."""
    (journal,) = output.glob(f"{PREFIX}*")
    journal.rename(output / f"{PREFIX}{'4' * 64}")


def _other_head(output: Path) -> None:
    """As another version of the library writes it."""
    (partial,) = output.glob(".partial-*")
    content = bytearray((partial / model.FILE).read_bytes())
    content[4] = 2
    (partial / model.FILE).write_bytes(content)
    (journal,) = output.glob(f"{PREFIX}*")
    offset = int(journal.read_text().split()[-2])
    journal.write_text(f"{offset} {hashlib.sha256(content[:offset]).hexdigest()}\n")


@pytest.mark.parametrize("harm", [_cut, _spoil, _tear, _rename, _other_head])
def test_what_a_killed_export_left_is_only_taken_for_what_it_proves_to_be(
    v3: Path, tmp_path: Path, small: list[str], harm: Callable[[Path], None]
) -> None:
    whole = export(v3, tmp_path / "whole", "q8_0")
    kill(v3, tmp_path / "killed", 150)
    harm(tmp_path / "killed")
    again = model.run(job(v3, tmp_path / "killed", "q8_0"), Reports())
    assert (again.export, again.artifact) == (whole.export, whole.artifact)
    assert not list((tmp_path / "killed").glob(".*"))


def test_an_export_that_was_killed_before_its_seal_is_sealed(v3: Path, tmp_path: Path, small: list[str]) -> None:
    whole = export(v3, tmp_path, "q8_0")
    (tmp_path / "result.json").unlink()
    assert export(v3, tmp_path, "q8_0").artifact == whole.artifact


def test_a_full_volume_is_told_before_anything_is_written(
    v3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "SPARE", 1 << 60)
    with pytest.raises(ConfigurationError, match=r"Raise storage\.size") as caught:
        export(v3, tmp_path)
    assert caught.value.reason == "StorageTooSmall"
    assert not list(tmp_path.rglob(model.FILE))


def _json(name: str, edit: Callable[[Any], object]) -> Callable[[Path], None]:
    def apply(source: Path) -> None:
        value = json.loads((source / name).read_text())
        edit(value)
        (source / name).write_text(json.dumps(value))
        manifest.write(source)

    return apply


def _without(letter: str) -> Callable[[Any], None]:
    """The tokenizer with another name for the token of a byte that its merges do not speak of."""

    def edit(tokenizer: Any) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary[f"no {letter}"] = vocabulary.pop(letter)

    return edit


def _weight(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def apply(source: Path) -> None:
        weights = state(source)
        change(source, name, value(weights.get(name, torch.zeros(2))))

    return apply


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("spoil", "reason", "told"),
    [
        (_json("config.json", lambda c: c.update(rope_parameters=YARN)), "UnsupportedExport", "YaRN with no mscale"),
        (
            _json("config.json", lambda c: c.update(rope_parameters={**YARN, "mscale": 1.0, "mscale_all_dim": 0.5})),
            "UnsupportedExport",
            "mscale 1.0, mscale_all_dim 0.5",
        ),
        (
            _json("tokenizer.json", lambda t: t.update(normalizer={"type": "NFC"})),
            "UnsupportedExport",
            r"normalizes text \(NFC\)",
        ),
        (
            _json("tokenizer.json", lambda t: t["pre_tokenizer"].update(add_prefix_space=True)),
            "UnsupportedExport",
            "no name for: ByteLevel",
        ),
        (
            _json("tokenizer.json", lambda t: t["added_tokens"][3].update(rstrip=True)),
            "UnsupportedExport",
            "takes the space around it",
        ),
        (_json("tokenizer.json", _without("\u00f4")), "UnsupportedExport", "no token for 1 of the 243 bytes of UTF-8"),
        (_weight("model.layers.0.self_attn.o_proj.bias", lambda _: torch.zeros(32)), "UnsupportedExport", "proj.bias"),
        (_weight("model.layers.0.mlp.up_proj.weight", lambda w: w.index_fill(0, torch.tensor([0]), 1e5)),
         "UnsupportedExport", "blk.0.ffn_up.weight has a number of 1e"),
        (_weight("model.norm.weight", lambda w: w * float("nan")), "NotFinite", "model.norm.weight"),
    ],
)  # fmt: skip
def test_what_llama_cpp_would_treat_otherwise_is_refused_by_name(
    spoil: Callable[[Path], None], reason: str, told: str, tmp_path: Path
) -> None:
    source = base(tmp_path, "DeepSeekV3", **WIDE)
    spoil(source)
    with pytest.raises(DataError, match=told) as caught:
        export(source, tmp_path / "out")
    assert caught.value.reason == reason
    assert not (tmp_path / "out" / "artifact").exists()


def test_bytes_that_no_text_has_need_no_token(tmp_path: Path) -> None:
    """Neither of the two that would spell a letter of ASCII at length, nor of those beyond the last character."""
    source = base(tmp_path, "DeepSeekV3", **WIDE)
    for letter in "\u00c0\u00c1\u00f5\u00ff":
        _json("tokenizer.json", _without(letter))(source)
    export(source, tmp_path / "out")
    assert "no \u00ff" in read(tmp_path / "out")[0]["tokenizer.ggml.tokens"]


def test_groups_by_their_best_expert_are_refused(tmp_path: Path) -> None:
    groups = {"topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1, "q_lora_rank": None}
    source = base(tmp_path, "DeepSeekV2", **{**WIDE, **groups})
    with pytest.raises(DataError, match="the best single expert"):
        export(source, tmp_path / "out")


@pytest.mark.parametrize("layers", [26, 27])
def test_layers_that_llama_cpp_takes_for_another_model_are_refused(layers: int, tmp_path: Path) -> None:
    source = base(tmp_path, "DeepSeekV3", **{**WIDE, "num_hidden_layers": layers})
    with pytest.raises(DataError, match=f"takes a model of {layers} layers"):
        export(source, tmp_path / "out")


def test_the_tokenizer_is_in_the_file(v3: Path, tmp_path: Path) -> None:
    export(v3, tmp_path)
    keys, _, _ = read(tmp_path)
    described = json.loads((v3 / "tokenizer.json").read_text())
    assert (keys["tokenizer.ggml.model"], keys["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert {text: number for number, text in enumerate(keys["tokenizer.ggml.tokens"])} == described["model"]["vocab"]
    assert [merge.split(" ", 1) for merge in keys["tokenizer.ggml.merges"]] == described["model"]["merges"]
    assert keys["tokenizer.ggml.token_type"][:6] == [3, 3, 3, 3, 3, 1]
    assert (keys["tokenizer.ggml.bos_token_id"], keys["tokenizer.ggml.eos_token_id"]) == (0, 1)
    assert keys["tokenizer.ggml.add_bos_token"] is True
    assert keys["tokenizer.ggml.add_eos_token"] is False
    assert keys["tokenizer.chat_template"] == (v3 / "chat_template.jinja").read_text()
