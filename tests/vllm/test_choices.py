"""vLLM's own code reads what each scheme writes, and chooses for every layer the method that was asked for."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize.quantizer import Quantizer

from tests.unit.tiny import Reports, build_job

PYTHON = os.environ.get("VLLM_PYTHON", "build/vllm/bin/python")
SIZES: dict[str, dict[str, int]] = {
    "Llama": {"hidden_size": 128, "intermediate_size": 256},
    "DeepSeekV3": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "moe_intermediate_size": 128,
        "q_lora_rank": 128,
        "kv_lora_rank": 128,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 64,
        "v_head_dim": 64,
    },
}
"""Whole blocks of 128, which vLLM asks of every part of what it joins."""
EXPERTS = "model.layers.1.mlp.experts"
ATTENTION = ("self_attn.fused_qkv_a_proj", "self_attn.q_b_proj", "self_attn.kv_b_proj", "self_attn.o_proj")
LINEAR = {
    "Llama": {
        f"model.layers.{layer}.{name}"
        for layer in (0, 1)
        for name in ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
    },
    "DeepSeekV3": {
        *(f"model.layers.{layer}.{name}" for layer in (0, 1) for name in ATTENTION),
        *(f"model.layers.0.mlp.{name}" for name in ("gate_up_proj", "down_proj")),
        *(f"model.layers.1.mlp.shared_experts.{name}" for name in ("gate_up_proj", "down_proj")),
    },
}
"""Every linear layer as vLLM joins them; routers are none of them, for vLLM never quantizes these."""

Facts = Mapping[str, Any]
CHANNEL = {"strategy": "channel"}
INT8 = {"class": "CompressedTensorsWNA16", "num_bits": 8, "group_size": -1, "symmetric": True, **CHANNEL}
INT4 = {"class": "CompressedTensorsWNA16", "num_bits": 4, "group_size": 32, "symmetric": True, "strategy": "group"}
DYNAMIC = {"class": "CompressedTensorsW8A8Int8", "is_static_input_scheme": False, "input_symmetric": True, **CHANNEL}
FP8 = {"class": "CompressedTensorsW8A8Fp8", "is_static_input_scheme": False, **CHANNEL}
BLOCK = {"class": "Fp8LinearMethod", "weight_block_size": [128, 128], "block_quant": True, "act_q_static": False}
LAYERS: dict[str, Facts] = {
    "weightOnly": INT8,
    "dynamic": DYNAMIC,
    "static": {**DYNAMIC, "is_static_input_scheme": True},
    "roundToNearest": INT4,
    "gptq": INT4,
    "fp8": FP8,
    "fp8Block": BLOCK,
}
TOKEN = {"strategy": "token", "dynamic": True, "num_bits": 8, "symmetric": True}
FUSED: dict[str, Facts] = {
    "weightOnly": {**INT8, "class": "CompressedTensorsWNA16MoEMethod"},
    "dynamic": {
        "class": "CompressedTensorsW8A8Int8MoEMethod",
        "weight_quant": {"num_bits": 8, "type": "int", "strategy": "channel", "dynamic": False},
        "input_quant": {"type": "int", **TOKEN},
    },
    "roundToNearest": {**INT4, "class": "CompressedTensorsWNA16MoEMethod"},
    "gptq": {**INT4, "class": "CompressedTensorsWNA16MoEMethod"},
    "fp8": {
        "class": "CompressedTensorsW8A8Fp8MoEMethod",
        "weight_quant": {"num_bits": 8, "type": "float", "strategy": "channel", "dynamic": False},
        "input_quant": {"type": "float", **TOKEN},
    },
    "fp8Block": {"class": "Fp8MoEMethod", "weight_block_size": [128, 128], "block_quant": True},
}
CASES: dict[tuple[str, str], dict[str, Any]] = {
    **{(model, method): {"method": method} for model in SIZES for method in LAYERS},
    ("DeepSeekV3", "all"): {"method": "roundToNearest", "scope": "all"},
    ("DeepSeekV3", "experts"): {"method": "dynamic", "scope": "experts"},
    ("DeepSeekV3", "ignore"): {"method": "weightOnly", "ignore": ["*.shared_experts.*", "*.0.self_attn.*"]},
    ("DeepSeekV3", "ignored-experts"): {"method": "fp8", "ignore": ["*.experts.*"]},
    ("DeepSeekV3", "parted"): {"method": "weightOnly", "ignore": ["*.q_a_proj"]},
}


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """vLLM is asked about all models at once: it takes longer to begin than to answer."""
    root = tmp_path_factory.mktemp("vllm")
    bases = {}
    for name, sizes in SIZES.items():
        (root / name).mkdir()
        scratch.run(build_job(root / name, name, **sizes), Reports())
        bases[name] = root / name / "volume" / "artifact"
    copies = [_quantized(bases[model], root / model / case, **how) for (model, case), how in CASES.items()]
    script = Path(__file__).with_name("choices.py")
    environment = {**os.environ, "VLLM_TARGET_DEVICE": "cpu", "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": ""}
    asked = [PYTHON, str(script), str(root / "answers.json"), *map(str, copies)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(CASES, json.loads((root / "answers.json").read_text("utf-8")), strict=True))


def _quantized(base: Path, output: Path, method: str, **how: Any) -> Path:
    if method in ("static", "gptq"):
        how |= {"calibration": [base.parents[1] / "text.txt"], "samples": 4, "sequence_length": 32}
    quantizer = Quantizer.from_pretrained(base)
    return quantizer.quantize(output_path=output, quantization_method=method, group_size=32, **how).path


def _says(found: Any, wanted: Facts) -> bool:
    """Whether all that is wanted is found, in its parts, too."""
    return isinstance(found, dict) and all(
        _says(found.get(key), value) if isinstance(value, dict) else found.get(key) == value
        for key, value in wanted.items()
    )


def _check(answer: Any, model: str, layers: Facts | None, experts: Facts | None, kept: frozenset[str]) -> None:
    found = answer["layers"]
    assert {name for name in found if name.startswith("model.layers.")} == LINEAR[model] | (
        {EXPERTS} if model != "Llama" else set()
    )
    for name in LINEAR[model]:
        if layers is None or name in kept:
            assert found[name] is None, name
        else:
            assert _says(found[name], layers), (name, found[name])
    others = set(found) - LINEAR[model] - {EXPERTS}
    assert "lm_head" in others
    assert not [name for name in others if found[name] is not None], "neither embeddings nor the output layer"
    if model != "Llama":
        assert found[EXPERTS] is None if experts is None else _says(found[EXPERTS], experts), found[EXPERTS]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("method", LAYERS)
def test_every_layer_of_a_dense_model_is_read_as_it_is_written(answers: Any, method: str) -> None:
    answer = answers["Llama", method]
    assert answer["parser"] == ("Fp8Config" if method == "fp8Block" else "CompressedTensorsConfig")
    _check(answer, "Llama", LAYERS[method], None, frozenset())


@pytest.mark.timeout(400)
@pytest.mark.parametrize("method", FUSED)
def test_experts_are_read_as_they_are_written(answers: Any, method: str) -> None:
    experts_only = method in ("roundToNearest", "gptq")
    layers = None if experts_only else LAYERS[method]
    _check(answers["DeepSeekV3", method], "DeepSeekV3", layers, FUSED[method], frozenset())


@pytest.mark.timeout(400)
def test_what_is_left_out_is_left_out(answers: Any) -> None:
    _check(answers["DeepSeekV3", "all"], "DeepSeekV3", INT4, FUSED["roundToNearest"], frozenset())
    _check(answers["DeepSeekV3", "experts"], "DeepSeekV3", None, FUSED["dynamic"], frozenset())
    kept = frozenset(name for name in LINEAR["DeepSeekV3"] if "shared_experts" in name or ".0.self_attn" in name)
    _check(answers["DeepSeekV3", "ignore"], "DeepSeekV3", INT8, FUSED["weightOnly"], kept)
    _check(answers["DeepSeekV3", "ignored-experts"], "DeepSeekV3", FP8, None, frozenset())


@pytest.mark.timeout(400)
def test_what_vllm_does_not_take_is_what_the_table_says(answers: Any) -> None:
    """Should one of these be taken one day, the table in quantize/README.md is to say so."""
    assert "Unsupported FusedMoe scheme" in answers["DeepSeekV3", "static"]["error"]
    assert "different quantization schemes for the shards" in answers["DeepSeekV3", "parted"]["error"]
