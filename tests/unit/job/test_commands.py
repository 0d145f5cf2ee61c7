"""The command as a person or a pod runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deepseek_runtime import __main__ as command
from deepseek_runtime.job.standalone import complete
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.exit_codes import ExitCode
from deepseek_runtime.wire.job import PublishJob

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""
RUNTIME = Path(command.__file__).parents[1]


def _publish_document(source: Path, output: Path) -> dict[str, str]:
    source.mkdir()
    (source / "config.json").write_text("{}")
    manifest.write(source)
    return {"kind": "publish", "input": str(source), "output": str(output)}


def test_without_configuration_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DEEPSEEK_JOB", raising=False)
    assert command.main([]) == ExitCode.CONFIGURATION
    assert "DEEPSEEK_JOB is not set" in capsys.readouterr().err


def test_serve_refuses_a_newer_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("deepseek_runtime.serve.server")
    monkeypatch.setenv("DEEPSEEK_SERVE", json.dumps({"version": 7, "owner": "o", "servedName": "s"}))
    assert command.main(["serve"]) == ExitCode.CONFIGURATION
    assert "version 7, this runtime reads up to 1" in capsys.readouterr().err


def test_a_file_is_completed_and_the_same_file_has_the_same_identity(tmp_path: Path) -> None:
    document = _publish_document(tmp_path / "model", tmp_path / "out")
    first, second = json.loads(complete(json.dumps(document))), json.loads(complete(json.dumps(document)))
    assert first == second
    assert first["inputDigest"] == manifest.read(tmp_path / "model").digest
    assert len(first["identity"]) == 64
    moved = json.loads(complete(json.dumps({**document, "output": "elsewhere"})))
    assert moved["identity"] == first["identity"]
    assert json.loads(complete(json.dumps({**document, "identity": "mine"})))["identity"] == "mine"


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_file_that_is_no_object_is_64(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    assert command.main(["job", str(tmp_path / "job.json")]) == ExitCode.CONFIGURATION


def test_a_file_that_names_no_model_is_65(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"kind": "publish", "input": str(tmp_path)}))
    assert command.main(["job", str(tmp_path / "job.json")]) == ExitCode.DATA
    assert "manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize("place", range(3))
def test_options_may_stand_anywhere(place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["job", str(tmp_path / "none-such.json")]
    words[place:place] = ["--status-port", "0"]
    assert command.main(words) == ExitCode.CONFIGURATION
    assert "none-such.json cannot be read" in capsys.readouterr().err


def test_sigterm_ends_a_job_with_75_and_its_result(tmp_path: Path) -> None:
    """As process 1 of a container, where an unhandled SIGTERM would be ignored; here it waits for a busy volume."""
    volume, log = tmp_path / "volume", tmp_path / "termination-log"
    volume.mkdir()
    log.touch()
    job = PublishJob(identity="a" * 64, owner="o", input="/nowhere", input_digest="0", output=str(volume))
    environment = {**os.environ, "DEEPSEEK_JOB": job.to_json(), "PYTHONPATH": str(RUNTIME)}
    with (
        subprocess.Popen([sys.executable, "-c", HOLD, str(volume / ".lock")], stdout=subprocess.PIPE) as holding,
        subprocess.Popen(
            [sys.executable, "-m", "deepseek_runtime", "--status-port", "0", "--termination-log", str(log)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            assert holding.stdout is not None
            assert process.stdout is not None
            holding.stdout.readline()
            assert "job started" in process.stdout.readline()
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == ExitCode.INTERRUPTED
        finally:
            holding.kill()
            process.kill()
    assert json.loads(log.read_text())["reason"] == "Interrupted"
