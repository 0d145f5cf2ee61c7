"""What is counted is what the routers chose, once for each scored token."""

import json
from pathlib import Path

import pytest
import torch
from deepseek_runtime.evaluate import perplexity, routing
from deepseek_runtime.evaluate.routing import Load, RoutingMeter
from deepseek_runtime.evaluate.windows import windows
from deepseek_runtime.models import scratch
from deepseek_runtime.weights.load import load_model
from deepseek_runtime.wire.job import EvaluateJob
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tiny import Reports, build_job


@pytest.mark.parametrize("architecture", ["DeepSeekV3", "DeepSeekV2"])
def test_every_scored_token_is_counted_once_for_each_of_its_experts(architecture: str, tmp_path: Path) -> None:
    scratch.run(build_job(tmp_path, architecture), Reports())
    directory = tmp_path / "volume" / "artifact"
    documents = perplexity.read_documents(perplexity.load_tokenizer(directory), [tmp_path / "text.txt"], 150)
    network = load_model(directory, torch.float32)
    meter = RoutingMeter(network)
    perplexity.measure(network, documents, 32, Reports(), meter)
    (load,) = meter.loads()
    assert load.layer == 1
    assert sum(load.tokens) == 150 * network.config.num_experts_per_tok

    expected = torch.zeros(4, dtype=torch.int64)
    plain, seen = load_model(directory, torch.float32), []
    plain.model.layers[1].mlp.gate.register_forward_hook(lambda _m, _a, output: seen.append(output[2]))
    with torch.inference_mode():
        for window in windows(documents[0].tokens, plain.config.bos_token_id, 32):
            plain(torch.tensor([window.tokens]))
            expected += torch.bincount(seen.pop()[window.first :].flatten(), minlength=4)
    assert load.tokens == tuple(expected.tolist())


def test_the_table_is_sealed_beside_the_result_and_the_summary_in_it(evaluate_job: EvaluateJob) -> None:
    job = evaluate_job
    scores = perplexity.run(job, Reports()).scores
    table = json.loads((Path(job.output) / job.identity / routing.FILE).read_text("utf-8"))
    (layer,) = table["layers"]
    assert scores is not None
    assert scores.routing is not None
    assert sum(layer["tokensPerExpert"]) == 2 * scores.tokens
    assert scores.routing.max_to_mean == max(layer["tokensPerExpert"]) * 4 / sum(layer["tokensPerExpert"])
    assert scores.routing.dead_experts == layer["deadExperts"] == layer["tokensPerExpert"].count(0)


def test_a_dense_model_has_none(tmp_path: Path) -> None:
    scratch.run(build_job(tmp_path, "Llama"), Reports())
    meter = RoutingMeter(load_model(tmp_path / "volume" / "artifact"))
    assert meter.loads() == []
    assert routing.summary([]) is None


@given(st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=1, max_size=5))
def test_balance_is_between_perfect_and_all_on_one(counts: list[list[int]]) -> None:
    loads = [Load(tuple(tokens), layer) for layer, tokens in enumerate(counts)]
    found = routing.summary(loads)
    assert found is not None
    assert found.dead_experts == sum(tokens.count(0) for tokens in counts)
    assert found.mean_max_to_mean <= found.max_to_mean + 1e-9
    for load in loads:
        assert 1 <= load.max_to_mean <= 3
