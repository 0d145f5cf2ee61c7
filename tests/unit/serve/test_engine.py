import random
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from deepseek_runtime.serve.engine import Delta, Engine, Request
from deepseek_runtime.serve.sampler import SamplingParams

from tests.unit.serve.conftest import Model
from tests.unit.serve.models import END, VOCABULARY, greedy

GREEDY = SamplingParams(temperature=0)
Models = Callable[[str], Model]


def request(
    prompt: list[int], max_tokens: int, params: SamplingParams = GREEDY, **fields
) -> tuple[Request, list[Delta]]:
    deltas: list[Delta] = []
    fields.setdefault("ignore_end", True)
    return Request(prompt, max_tokens, params, deltas.append, **fields), deltas


def run(engine: Engine, *requests: Request) -> None:
    free = len(engine.scheduler.pool.free)
    for each in requests:
        engine.add(each)
    while engine.step():
        pass
    assert len(engine.scheduler.pool.free) == free, "blocks leaked"


@pytest.mark.parametrize("cache_tokens", [2048, 288])
@pytest.mark.parametrize("name", ["v3", "v2", "llama"])
def test_greedy_tokens_are_those_of_transformers(models: Models, name: str, cache_tokens: int) -> None:
    """Staggered arrivals, chunked prefill, and (in the small cache) preemption change no token."""
    model = models(name)
    engine = model.engine(cache_tokens=cache_tokens, budget=72)
    rnd = random.Random(3)
    asked = [
        ([rnd.randrange(2, VOCABULARY) for _ in range(length)], rnd.randrange(30, 45))
        for length in (1, 5, 17, 62, 61, 63, 200, 3)
    ]
    requests = [request(prompt, count)[0] for prompt, count in asked]
    for each in requests:
        engine.add(each)
        for _ in range(3):
            engine.step()
    while engine.step():
        pass
    for each, (prompt, count) in zip(requests, asked, strict=True):
        assert each.output == greedy(model.reference, prompt, count), f"prompt of {len(prompt)} tokens"
    assert (engine.scheduler.preemptions > 0) == (cache_tokens == 288)
    assert engine.scheduler.pool.used == 0


def test_latent_cache_has_one_row_of_latent_and_rope_key_for_each_token(models: Models) -> None:
    for name, numbers in (("v3", 32 + 8), ("v2", 32 + 8), ("llama", 2 * 2 * 16)):
        model = models(name)
        model.engine()
        assert model._runners[2048].cache.bytes_per_token == 3 * numbers * 4, name


def test_a_seeded_request_does_not_depend_on_its_batch(models: Models) -> None:
    params = SamplingParams(temperature=0.9, top_p=0.9, top_k=50, seed=4)
    alone, _ = request([5, 6, 7, 8], 20, params)
    run(models("v3").engine(), alone)
    others = [request([5, 6, 7, 8 + i], 15 + i, SamplingParams(temperature=1.3, seed=i))[0] for i in range(5)]
    among, _ = request([5, 6, 7, 8], 20, params)
    run(models("v3").engine(budget=16), *others, among)
    other_seed, _ = request([5, 6, 7, 8], 20, SamplingParams(temperature=0.9, top_p=0.9, top_k=50, seed=5))
    run(models("v3").engine(), other_seed)
    assert alone.output == among.output != other_seed.output


def test_narrow_sampling_is_greedy(models: Models) -> None:
    best, _ = request([9, 10], 12)
    top_k, _ = request([9, 10], 12, SamplingParams(temperature=1.5, top_k=1))
    top_p, _ = request([9, 10], 12, SamplingParams(temperature=1.5, top_p=1e-6))
    run(models("llama").engine(), best, top_k, top_p)
    assert best.output == top_k.output == top_p.output


def test_penalties_keep_tokens_from_coming_again(models: Models) -> None:
    plain, _ = request([9, 10], 30)
    repetition, _ = request([9, 10], 30, SamplingParams(temperature=0, repetition_penalty=1e6))
    frequency, _ = request([9, 10], 30, SamplingParams(temperature=0, frequency_penalty=2.0, presence_penalty=2.0))
    run(models("v3").engine(), plain, repetition, frequency)
    assert len(set(repetition.output) | {9, 10}) == 32
    assert len(set(plain.output)) < 30
    assert len(set(frequency.output)) > len(set(plain.output))


def test_the_end_token_ends_an_answer_and_is_counted(models: Models) -> None:
    model = models("v3")
    engine = model.engine()
    first, _ = request([9, 10], 8)
    run(engine, first)
    ender = first.output[3]
    model.tokenizer.end = frozenset({ender})
    try:
        ended, deltas = request([9, 10], 8, ignore_end=False)
        ignored, _ = request([9, 10], 8, ignore_end=True)
        run(engine, ended, ignored)
    finally:
        model.tokenizer.end = frozenset({END})
    assert ended.output == first.output[: first.output.index(ender) + 1]
    assert ignored.output == first.output
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].completion_tokens == len(ended.output)
    assert "".join(d.text for d in deltas) == model.tokenizer.decode(ended.output[:-1])


def test_stop_strings_are_found_across_tokens_and_never_shown(models: Models) -> None:
    model = models("llama")
    whole, deltas = request([9, 10], 40, SamplingParams(temperature=0, logprobs=0))
    run(model.engine(), whole)
    text = "".join(d.text for d in deltas)
    assert text == model.tokenizer.decode(whole.output)
    names = [token for d in deltas for token in d.scored]
    boundary = next(b.offset for a, b in pairwise(names) if b.offset > 3 and b.offset > a.offset)
    stop = text[boundary - 2 : boundary + 1]
    cut, parts = request([9, 10], 40, SamplingParams(temperature=0, logprobs=0), stop=("never", stop))
    run(model.engine(), cut)
    shown = "".join(d.text for d in parts)
    assert shown == text[: text.index(stop)]
    assert parts[-1].finish_reason == "stop"
    assert len(cut.output) < 40
    assert all(token.offset < len(shown) for d in parts for token in d.scored)


def test_logprobs_are_the_models_own(models: Models) -> None:
    model = models("v3")
    asked, deltas = request([5, 6, 7], 6, SamplingParams(temperature=0, logprobs=3, frequency_penalty=0.0))
    run(model.engine(), asked)
    tokens = torch.tensor([[5, 6, 7, *asked.output]])
    with torch.inference_mode():
        expected = model.reference(tokens).logits[0, 2:-1].log_softmax(-1)
    scored = [token for d in deltas for token in d.scored]
    assert len(scored) == 6
    for token, values, chosen in zip(scored, expected, asked.output, strict=True):
        assert token.logprob == pytest.approx(values[chosen].item(), abs=1e-4)
        assert list(token.top.values()) == pytest.approx(values.topk(3)[0].tolist(), abs=1e-4)
        assert max(token.top.values()) == token.logprob


def test_cancelling_waiting_running_and_finished_requests_leaks_no_block(models: Models) -> None:
    engine = models("v3").engine(max_sequences=2)
    asked = [request([9] * 40, 30)[0] for _ in range(4)]
    for each in asked:
        engine.add(each)
    for _ in range(3):
        engine.step()
    assert engine.scheduler.running
    assert engine.scheduler.waiting
    for each in asked:
        engine.cancel(each)
        engine.cancel(each)
    assert not engine.step()
    assert engine.scheduler.pool.used == 0
