"""What the process shows and is told: probes, metrics, options, log lines."""

import json
import logging
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import unused_port
from deepseek_operator import configuration
from deepseek_operator.api.names import MODEL
from deepseek_operator.api.price_sheet import EXAMPLE
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.engine.health import STUCK, Health
from deepseek_operator.engine.logs import JsonFormatter
from deepseek_operator.engine.metrics import ConditionCollector, Metrics
from deepseek_operator.engine.queue import WorkQueue


async def test_probes_and_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    queue = WorkQueue(metrics)
    health = Health(metrics, queue)
    metrics.registry.register(ConditionCollector({(MODEL, "Ready", "True"): 2}))
    ports = unused_port(), unused_port()
    close = await health.serve(*ports, host="127.0.0.1")
    async with aiohttp.ClientSession() as session:

        async def get(port: int, path: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status, await response.text()

        assert await get(ports[0], "/readyz") == (503, "waiting for the API server\n")
        health.waiting_for = None
        assert (await get(ports[0], "/readyz"))[0] == 200
        assert (await get(ports[0], "/healthz"))[0] == 200
        monkeypatch.setattr(queue, "longest_running", lambda: STUCK + 1)
        assert (await get(ports[0], "/healthz"))[0] == 500
        monkeypatch.undo()
        queue.add(Ref(MODEL, "team", "seed"))
        text = (await get(ports[1], "/metrics"))[1]
    await close()
    assert 'workqueue_depth{name="resources"} 1.0' in text
    assert f'status_condition{{condition="Ready",kind="{MODEL}",status="True"}} 2.0' in text
    assert "process_resident_memory_bytes" in text
    assert "seed" not in text, "no object is named in metrics"


def test_options_come_from_arguments_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_WATCH_NAMESPACES", "a, b,")
    monkeypatch.setenv("DEEPSEEK_WORKERS", "3")
    found = configuration.parse(["--workers", "5", "--log-format", "json"])
    assert (found.watch_namespaces, found.workers, found.json_logs) == (("a", "b"), 5, True)
    assert found.namespace is None


def test_the_price_sheet_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "sheet.json"
    file.write_text(EXAMPLE.model_dump_json(by_alias=True, exclude_none=True), "utf-8")
    assert configuration.parse(["--price-sheet", str(file)]).price_sheet == EXAMPLE
    assert configuration.parse([]).price_sheet is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers", "0"],
        ["--log-format", "xml"],
        ["--image-pull-policy", "Maybe"],
        ["--price-sheet", "/nowhere/sheet.json"],
        ["--price-sheet", "/dev/null"],
    ],
)
def test_a_wrong_option_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        configuration.parse(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_a_json_line_has_the_traceback() -> None:
    try:
        int("a bug")
    except ValueError:
        record = logging.LogRecord("engine", logging.ERROR, "", 1, "no %s", ("luck",), sys.exc_info())
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["logger"], line["message"]) == ("error", "engine", "no luck")
    assert "ValueError: invalid literal" in line["traceback"]
