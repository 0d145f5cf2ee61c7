"""Port 9400: figures for whoever proves to be the operator, health for everybody, and never in the work's way."""

import http.client
import logging

import pytest
from deepseek_runtime.job.status_server import StatusServer
from deepseek_runtime.wire.credential import private_key, public_key
from deepseek_runtime.wire.progress import Progress
from deepseek_runtime.wire.proof import prove


def _get(server: StatusServer, path: str, **headers: str) -> tuple[int, str]:
    assert server.port is not None
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_progress_and_metrics_are_what_was_reported() -> None:
    with StatusServer("abc", port=0) as server:
        server.update("step", unit="steps", done=3, total=9, loss=2.25, checkpoint_step=2)
        status, body = _get(server, "/progress?x=1")
        assert status == 200
        progress = Progress.model_validate_json(body)
        assert (progress.identity, progress.done, progress.total, progress.loss) == ("abc", 3, 9, 2.25)
        status, body = _get(server, "/metrics")
        assert status == 200
        assert 'deepseek_job_loss{phase="step",unit="steps"} 2.25' in body
        assert "deepseek_job_learning_rate{" not in body
        assert "process_resident_memory_bytes" in body
        assert _get(server, "/elsewhere")[0] == 404


def test_with_a_credential_every_request_needs_a_proof_of_its_own_and_health_none() -> None:
    master, now = bytes(32), 1e9
    with StatusServer("abc", public_key(master, "mine"), port=0, wall_clock=lambda: now) as server:
        for path, other in (("/progress", "/metrics"), ("/metrics?name[]=x", "/metrics")):
            sent = prove(private_key(master, "mine"), "GET", path, b"", now)
            assert _get(server, path)[0] == 401
            assert _get(server, other, Authorization=sent)[0] == 401
            assert _get(server, path, Authorization=sent)[0] == 200
            assert _get(server, path, Authorization=sent) == (401, "The proof was used before.\n")
            for key, made in (("mine", now - 61), ("mine", now + 61), ("another", now)):
                sent = prove(private_key(master, key), "GET", path, b"", made)
                assert _get(server, path, Authorization=sent)[0] == 401
        assert _get(server, "/healthz") == (200, "ok\n")


def test_a_taken_port_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with StatusServer("a", port=0) as first, caplog.at_level(logging.WARNING):
        assert first.port is not None
        with StatusServer("b", port=first.port) as second:
            second.update("step", unit="steps", done=1, total=2)
            assert second.port is None
    assert "no status server" in caplog.text


def test_a_client_that_says_nothing_keeps_nobody_waiting() -> None:
    with StatusServer("abc", port=0) as server:
        assert server.port is not None
        silent = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=5) for _ in range(8)]
        for connection in silent:
            connection.connect()
        assert _get(server, "/healthz")[0] == 200
        for connection in silent:
            connection.close()
