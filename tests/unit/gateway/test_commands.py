"""`keys create`, settings, health and metrics."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from deepseek_runtime.gateway.__main__ import main
from deepseek_runtime.gateway.settings import Address, SettingsError, from_environment
from deepseek_runtime.wire import api_key

from tests.unit.gateway.world import world

CREATE = ["keys", "create", "--namespace", "team-a", "--name", "alice", "--service-account", "reader"]
IN_CLUSTER = {"POD_NAMESPACE": "system", "POD_NAME": "gateway-0", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}


def test_the_key_is_shown_once_and_the_manifest_has_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(CREATE) == 0
    shown = capsys.readouterr()
    key = shown.err.splitlines()[-1]
    assert key not in shown.out
    manifest = yaml.safe_load(shown.out)
    assert manifest["metadata"]["labels"] == {api_key.LABEL: "v1"}
    assert manifest["data"]["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    left = datetime.fromisoformat(manifest["data"]["expires"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)


async def test_the_manifest_is_what_the_gateway_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*CREATE, "--expires", "1h", "--output", "json"])
    made = json.loads(capsys.readouterr().out)
    metadata = made["manifest"]["metadata"]
    async with world(tmp_path) as it:
        it.kubernetes.put(metadata["namespace"], metadata["name"], metadata["labels"], made["manifest"]["data"])
        it.kubernetes.allow("reader")
        assert (await it.post(made["key"], {"model": "chat", "prompt": "x"}))[0] == 200


@pytest.mark.parametrize(
    "wrong", [["--name", "a.b"], ["--name", "Alice"], ["--namespace", "../x"], ["--expires", "soon"],
              ["--expires", "0d"], ["--service-account", "a:b"], ["--expires", "9999999d"]]
)  # fmt: skip
def test_a_key_that_could_not_work_is_not_made(capsys: pytest.CaptureFixture[str], wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*CREATE, *wrong])
    assert exit_.value.code == 2
    assert api_key.PREFIX + "." not in capsys.readouterr().out


def test_settings_in_a_cluster() -> None:
    settings = from_environment({**IN_CLUSTER, "GATEWAY_LISTEN": "[::]:9", "GATEWAY_STALE_ALLOW_SECONDS": "0"})
    assert settings.kubernetes_url == "https://10.0.0.1:443"
    assert settings.kubernetes_ca_file == Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
    assert (settings.listen, settings.stale_allow_seconds) == (Address("::", 9), 0)
    assert settings.replica_directory == Path("/audit/gateway-0")


@pytest.mark.parametrize(
    "wrong",
    [{"POD_NAME": ""}, {"POD_NAME": ".."}, {"KUBERNETES_SERVICE_HOST": ""}, {"GATEWAY_LISTEN": "8080"},
     {"GATEWAY_DRAIN_SECONDS": "-1"}, {"GATEWAY_DRAIN_SECONDS": "nan"}, {"GATEWAY_MAX_BODY_BYTES": "1MB"},
     {"GATEWAY_LOG_LEVEL": "loud"}],
)  # fmt: skip
def test_a_wrong_setting_is_named(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong)).removeprefix("KUBERNETES_SERVICE_HOST") or "Not in a"):
        from_environment({**IN_CLUSTER, **wrong})


async def test_ready_says_what_is_missing(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        async with it.http.get(f"{it.url}/health/live") as response:
            assert response.status == 200
        async with it.http.get(f"{it.url}/health/ready") as response:
            assert (response.status, (await response.json())["missing"]) == (200, [])
        (tmp_path / "master").write_bytes(b"short")
        it.running.gateway.master_key._read_at = float("-inf")
        it.running.gateway.draining = True
        async with it.http.get(f"{it.url}/health/ready") as response:
            missing = (await response.json())["missing"]
        assert response.status == 503
        assert "shutting down" in missing[0]
        assert "5 bytes" in missing[1]
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        status, body = await it.post(key, {"model": "chat", "prompt": "x"})
        assert (status, body["error"]["code"]) == (503, "gateway_not_ready")


async def test_metrics_count_and_name_no_tenant(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        key = it.kubernetes.put_key()
        it.kubernetes.allow("reader")
        await it.post(key, {"model": "chat", "prompt": "x"})
        await it.post(None, {})
        async with it.http.get(f"http://127.0.0.1:{it.running.metrics_port}/metrics") as response:
            text = await response.text()
        for line in (
            'deepseek_gateway_requests_total{endpoint="completions",status="200"} 1.0',
            'deepseek_gateway_requests_total{endpoint="completions",status="401"} 1.0',
            'deepseek_gateway_tokens_total{kind="completion"} 5.0',
            "deepseek_gateway_audit_writable 1.0",
            "deepseek_gateway_routes 1.0",
        ):
            assert line in text
        assert "team-a" not in text
        async with it.http.get(f"{it.url}/metrics") as response:
            assert response.status == 404
