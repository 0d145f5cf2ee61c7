"""The benchmark runs the engine that serves, for exactly the tokens that were asked for."""

from pathlib import Path

import pytest
from deepseek_runtime.evaluate import benchmark
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.serve.engine import Engine, Request
from deepseek_runtime.weights import manifest, seal
from deepseek_runtime.wire.job import BenchmarkJob
from deepseek_runtime.wire.result import MAX_BYTES, encode

from tests.unit.tiny import Reports


def _job(model: Path, output: Path, prompt: int = 20, answer: int = 5, concurrency: int = 3) -> BenchmarkJob:
    return BenchmarkJob(
        identity="6" * 64,
        owner="DeepSeekModel/test/tiny",
        output=str(output),
        input=str(model),
        input_digest=manifest.read(model).digest,
        prompt_tokens=prompt,
        output_tokens=answer,
        concurrency=concurrency,
    )


def test_every_request_gets_its_tokens_and_the_conditions_are_sealed(
    variant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []
    add = Engine.add

    def watched(engine: Engine, request: Request) -> None:
        asked.append(request)
        add(engine, request)

    monkeypatch.setattr(Engine, "add", watched)
    job, reports = _job(variant, tmp_path), Reports()
    result = benchmark.run(job, reports)
    found = result.benchmark
    assert found is not None
    measured = [request for request in asked if request.sequence.prompt_length == 20]
    assert len(measured) == (1 + benchmark.ROUNDS) * 3
    assert all(len(request.output) == 5 for request in measured)
    assert len({tuple(request.prompt) for request in measured}) == len(measured)
    assert 0 < found.slowest <= found.output_tokens_per_second <= found.fastest
    assert 0 < found.time_to_first_token_ms < 1000 * 15 / found.slowest + 1
    assert found.memory_bytes > 10_000_000
    assert (found.prompt_tokens, found.output_tokens, found.concurrency) == (20, 5, 3)
    assert found.processor
    assert found.dtype in ("float32", "bfloat16")
    assert seal.sealed(tmp_path / job.identity, job.identity) == result.model_copy(update={"cached": True})
    assert len(encode(result).encode()) < MAX_BYTES
    assert ("benchmarking", 4, 4) in reports.seen


@pytest.mark.parametrize(("prompt", "answer", "concurrency"), [(1, 2, 1), (62, 2, 5), (17, 47, 4)])
def test_nothing_is_computed_twice_for_want_of_cache(
    model: Path, tmp_path: Path, prompt: int, answer: int, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: set[Engine] = set()
    step = Engine.step

    def watched(engine: Engine) -> bool:
        engines.add(engine)
        return step(engine)

    monkeypatch.setattr(Engine, "step", watched)
    benchmark.run(_job(model, tmp_path, prompt, answer, concurrency), Reports())
    assert [engine.scheduler.preemptions for engine in engines] == [0] * len(engines)


def test_more_tokens_than_the_model_has_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"60 \+ 5 tokens; the model has 64") as caught:
        benchmark.run(_job(model, tmp_path, 60, 5), Reports())
    assert caught.value.reason == "ContextTooLong"


def test_a_cpu_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n")
    assert benchmark.processor(tmp_path / "cpuinfo") == "A CPU @ 2 GHz"
    assert benchmark.processor(tmp_path / "absent")
