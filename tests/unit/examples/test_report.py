"""The end of the demonstration: what was reached, and whether it is worth anything."""

import json
from pathlib import Path
from typing import Any

import pytest

from examples.quickstart.report import shortfall, table

SECONDS = [("cluster up", 6.2), ("pretrained", 180.0)]
ANSWER = {"choices": [{"text": " installs it."}], "usage": {"total_tokens": 9}}
RUNS = {"pretrain": {"status": {"stages": [{"step": 600, "seconds": 170.0, "tokensPerSecond": 3500.4, "loss": 2.71}]}}}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.json").write_text(json.dumps({"heldout": {"bytes": 1, "gzip": 3.52, "xz": 3.17}}))
    return tmp_path


def models(**bits: float) -> dict[str, Any]:
    counted = {"expertBytesBefore": 9_000_000, "expertBytesAfter": 2_300_000}
    artifacts = [
        {
            "name": name,
            "bytes": 13_800_000,
            "scores": {"perplexity": 200.0, "bitsPerByte": value},
            **({"quantization": counted} if name != "base" else {}),
        }
        for name, value in bits.items()
    ]
    architecture = {"name": "DeepseekV3ForCausalLM", "parameters": 3_450_000}
    return {"handbook": {"status": {"architecture": architecture, "artifacts": artifacts}}}


def test_the_table_has_times_sizes_scores_and_compressors(text: Path) -> None:
    shown = table(SECONDS, models(base=2.5, int8=2.51), RUNS, text, "The package", ANSWER)
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line.strip()}
    assert lines["all"][-1] == "186"
    assert lines["base"][1:] == ["13,800,000", "9,000,000", "200.00", "2.500"]
    assert lines["int8"][1:] == ["13,800,000", "2,300,000", "200.00", "2.510"]
    assert (lines["gzip"][-1], lines["xz"][-1]) == ("3.520", "3.170")
    assert "trained 600 steps in 170 s at 3500 tokens/s, last loss 2.710" in shown
    assert "installs it." in shown


def test_a_model_that_learned_less_than_a_compressor_is_told(text: Path) -> None:
    assert shortfall(models(base=3.16, int8=3.169), text) is None
    missed = shortfall(models(base=3.16, int8=3.17), text)
    assert missed is not None
    assert missed.startswith("int8 (3.170) did not beat 3.170")
    assert "until.steps" in missed
