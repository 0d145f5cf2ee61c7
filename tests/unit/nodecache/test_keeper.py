"""Killed at any moment, a cache has a whole copy or none, and the next fill goes on where the last one was."""

import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepseek_runtime
import pytest
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.job.reporter import Silent
from deepseek_runtime.nodecache import keeper
from deepseek_runtime.nodecache.held import Held
from deepseek_runtime.nodecache.reading import find
from deepseek_runtime.weights import copying, manifest
from deepseek_runtime.wire.node_cache import CacheConfig
from deepseek_runtime.wire.result import decode

from tests.unit.nodecache.artifacts import SIZE, Killed, artifact, copied, elsewhere, fill

STEPS = 48
"""A fill has no more, also when it finds the leftovers of a killed one."""


def _killed_at(step: int, config: CacheConfig, count: Path) -> None:
    """Fill, and die at a step: before a change of the volume, or behind a part of a file."""
    reporter = Killed(step)

    def guard(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            reporter.step()
            return original(*args, **kwargs)

        return call

    changes = ((os, "fsync"), (shutil, "rmtree"), (Path, "rename"), (Path, "mkdir"), (Path, "write_text"))
    for owner, name in changes:
        setattr(owner, name, guard(getattr(owner, name)))
    copying.CHUNK = SIZE // 4
    keeper.fill(config, reporter)
    with count.open("w") as file:
        file.write(str(reporter.count))


def _whole(config: CacheConfig) -> bool:
    """Whether an engine would find a copy, which then is what was promised."""
    held = find(Path(config.cache), config.digest)
    if held is None:
        return False
    manifest.verify(held.artifact, config.digest)
    held.release()
    return True


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_kill_at_any_step_leaves_a_whole_copy_or_none(tmp_path: Path, step: int) -> None:
    config, count = artifact(tmp_path, "a"), tmp_path / "count"
    code = elsewhere(_killed_at, step, config, count)
    assert code in (0, 9)
    assert _whole(config) or code == 9
    elsewhere(_killed_at, step, config, count)  # and its successor, on what it has left
    assert copied(config)
    assert _whole(config)
    (place,) = (path for path in Path(config.cache).iterdir() if path.is_dir())
    assert sorted(path.name for path in place.iterdir()) == ["artifact", "evaluations", "keeper", "result.json"]


def test_the_steps_cover_all_of_a_fill(tmp_path: Path) -> None:
    config, count = artifact(tmp_path, "a"), tmp_path / "count"
    assert elsewhere(_killed_at, 10**6, config, count) == 0
    assert 10 < int(count.read_text()) < STEPS


def _half(config: CacheConfig) -> Path:
    """The part of a file that a killed fill has left."""
    (part,) = Path(config.cache).glob(f"{config.digest}/.partial-*/sub/weights")
    return part


@pytest.fixture
def interrupted(tmp_path: Path) -> CacheConfig:
    """A fill that was killed in the middle of its largest file."""
    config = artifact(tmp_path, "a")
    step = 0
    while not (parts := list(Path(config.cache).glob("*/.partial-*/sub/weights"))) or not parts[0].stat().st_size:
        step += 1
        elsewhere(_killed_at, step, config, tmp_path / "count")
    assert 0 < _half(config).stat().st_size < SIZE - 2
    return config


def test_what_a_killed_fill_has_copied_is_not_read_again(interrupted: CacheConfig) -> None:
    there = _half(interrupted).stat().st_size
    source = Path(interrupted.input) / "sub" / "weights"
    source.write_bytes(b"x" * there + source.read_bytes()[there:])
    assert copied(interrupted)
    assert _whole(interrupted)


def test_a_part_that_a_power_failure_has_spoilt_is_copied_again(interrupted: CacheConfig) -> None:
    part = _half(interrupted)
    part.write_bytes(bytes(part.stat().st_size))
    assert copied(interrupted)
    assert _whole(interrupted)


def test_a_source_that_is_not_what_was_promised_is_never_kept(tmp_path: Path) -> None:
    config = artifact(tmp_path, "a")
    weights = Path(config.input) / "sub" / "weights"
    weights.write_bytes(weights.read_bytes().replace(b"a", b"b"))
    with pytest.raises(DataError, match="sub/weights"):
        keeper.fill(config, Silent())
    assert not _whole(config)


def test_a_damaged_copy_is_made_anew_once_no_engine_reads_it(tmp_path: Path) -> None:
    config = artifact(tmp_path, "a")
    assert copied(config)
    damaged = Path(config.cache) / config.digest / "artifact" / "sub" / "weights"
    damaged.write_bytes(bytes(SIZE - 2))
    reading = find(Path(config.cache), config.digest)
    assert reading is not None
    with pytest.raises(JobError) as caught:
        keeper.fill(config, Silent())
    assert caught.value.reason == "CacheBusy"
    reading.release()
    assert copied(config)
    assert _whole(config)


def test_a_disk_that_others_fill_meanwhile_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = artifact(tmp_path, "a")

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(copying.Copier, "go_on", full)
    with pytest.raises(ConfigurationError, match=r"cache\.capacity") as caught:
        keeper.fill(config, Silent())
    assert caught.value.reason == "CacheFull"


def test_two_pods_that_want_the_same_copy_make_it_once(tmp_path: Path) -> None:
    config = artifact(tmp_path, "a")
    place = Path(config.cache) / config.digest
    place.mkdir()
    making = Held.take(place, fcntl.LOCK_EX)
    assert making is not None
    with subprocess.Popen([sys.executable, "-c", _FILL, config.to_json()], env=_ENVIRONMENT) as waiting:
        time.sleep(0.6)
        assert waiting.poll() is None
        assert list(place.iterdir()) == []
        making.release()
        assert waiting.wait(10) == 0
    assert _whole(config)


def test_a_volume_that_is_not_writable_is_told_with_its_remedy(tmp_path: Path) -> None:
    config = artifact(tmp_path, "a")
    Path(config.cache).chmod(0o555)

    def as_nobody() -> None:
        os.setuid(65534)
        try:
            fill(config)
        except JobError as error:
            os._exit(7 if error.reason == "CacheUnwritable" and "2770" in error.message else 8)

    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    everybodys = Path(tempfile.gettempdir())
    for parent in (tmp_path, *tmp_path.parents):
        if parent != everybodys and parent.is_relative_to(everybodys):
            parent.chmod(0o755)
    assert elsewhere(as_nobody) == 7


_RUNTIME = Path(deepseek_runtime.__file__).parents[1]
_ENVIRONMENT = {"PYTHONPATH": str(_RUNTIME)}
_FILL = """
import sys
from deepseek_runtime.job.reporter import Silent
from deepseek_runtime.nodecache import keeper
from deepseek_runtime.wire.node_cache import CacheConfig
keeper.fill(CacheConfig.model_validate_json(sys.argv[1]), Silent())
"""


def _start(config: CacheConfig, log: Path) -> subprocess.Popen[bytes]:
    file = log.with_suffix(".json")
    file.write_text(config.to_json())
    log.touch()
    command = [sys.executable, "-m", "deepseek_runtime", "cache", str(file), "--termination-log", str(log)]
    return subprocess.Popen(command, env=_ENVIRONMENT)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        assert error.code == 503
        error.close()
    except urllib.error.URLError:
        pass
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_pod_is_ready_once_it_keeps_a_copy_and_ends_at_once_when_told(tmp_path: Path) -> None:
    config = artifact(tmp_path, "a").model_copy(update={"status_port": _free_port()})
    place = Path(config.cache) / config.digest
    place.mkdir()
    making = Held.take(place, fcntl.LOCK_EX)
    assert making is not None
    process = _start(config, tmp_path / "log")
    try:
        _until(lambda: Path(f"/proc/{process.pid}/task").exists() and _answers(config.status_port))
        assert not _ready(config.status_port)
        making.release()
        _until(lambda: _ready(config.status_port))
        assert _whole(config)
        assert Held.take(place, fcntl.LOCK_EX) is None
        os.utime(place / "keeper", (0, 0))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 2
        assert (place / "keeper").stat().st_mtime > 1
        unheld = Held.take(place, fcntl.LOCK_EX)
        assert unheld is not None
        unheld.release()
    finally:
        process.kill()
        process.wait()


def test_a_pod_without_room_says_so_and_ends(tmp_path: Path) -> None:
    config = artifact(tmp_path, "a").model_copy(update={"capacity": SIZE - 1, "status_port": _free_port()})
    process = _start(config, tmp_path / "log")
    assert process.wait(20) == 64
    said = decode((tmp_path / "log").read_text())
    assert said is not None
    assert (said.kind, said.reason) == ("cache", "CacheFull")
    assert said.message is not None
    assert f"{SIZE:,}" in said.message
    assert f"{SIZE - 1:,}" in said.message
    assert [path.name for path in Path(config.cache).iterdir()] == [".lock"]


@pytest.mark.parametrize(("change", "named"), [({"unknown": 1}, "unknown"), ({"version": 99}, "version 99")])
def test_a_configuration_that_this_runtime_does_not_know_is_refused(
    tmp_path: Path, change: dict[str, int], named: str
) -> None:
    file = tmp_path / "cache.json"
    file.write_text(json.dumps({**json.loads(artifact(tmp_path, "a").to_json()), **change}))
    command = [sys.executable, "-m", "deepseek_runtime", "cache", str(file)]
    done = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert named in done.stderr


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
