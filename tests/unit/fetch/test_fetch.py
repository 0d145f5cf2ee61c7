"""Whatever a hub and a network do, the end is the same bytes or a sentence that says what to do."""

import logging
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import deepseek_runtime
import pytest
from deepseek_runtime.fetch import download, model
from deepseek_runtime.fetch.ledger import Ledger
from deepseek_runtime.fetch.transport import Reply
from deepseek_runtime.weights import manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hub_server import Fault, Hub, running
from tests.unit.fetch.world import QUICK, REPO, TOKEN, Silent, fetch, job, repository, small_chunks, token_file

NEEDED = {"config.json", "model.safetensors.index.json", "tokenizer.json"}


class Killed(BaseException):
    """The process ends here."""


def assert_fetched(hub: Hub, output: Path, digest: str) -> None:
    artifact = output / "artifact"
    manifest.verify(artifact, digest)
    for path in manifest.walk(artifact):
        assert path == "manifest.json" or (artifact / path).read_bytes() == hub.files[path]
    assert not list(output.glob(".fetch-*"))


def test_what_is_needed_is_fetched_sealed_and_told(tmp_path: Path) -> None:
    hub, reporter = Hub(REPO, repository(50_000, 70_000)), Silent()
    with running(hub) as url, small_chunks():
        result = fetch(url, tmp_path, reporter)
        again = sum(end - begin for _, begin, end in hub.sent)
    assert result.artifact is not None
    assert result.fetched is not None
    assert_fetched(hub, tmp_path, result.artifact.digest)
    assert result.fetched.commit == hub.commit
    assert set(result.fetched.left_out) == {"README.md", "modeling_tiny.py", "pytorch_model.bin"}
    assert result.fetched.left_out_files == 3
    assert result.artifact.dtype == "bfloat16"
    wanted = sum(len(data) for path, data in hub.files.items() if path not in result.fetched.left_out)
    assert again == wanted == result.fetched.bytes
    last = reporter.told[-1]
    assert (last["unit"], last["done"], last["total"]) == ("bytes", wanted, wanted)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503, headers={"Retry-After": "0"}),
        Fault(status=429, headers={"Retry-After": "0"}),
        Fault(cut_after=0),
        Fault(cut_after=9000),
        Fault(corrupt=True),
        Fault(whole=True),
        Fault(wrong_range=True),
    ],
    ids=lambda fault: str({name: value for name, value in vars(fault).items() if value not in (0, None, False, {})}),
)
def test_one_fault_more_or_less_changes_nothing(tmp_path: Path, fault: Fault) -> None:
    hub = Hub(REPO, repository(60_000, 30_000))
    hub.faults.extend([fault, Fault()] if fault.corrupt else [fault, Fault(), fault, fault])
    with running(hub) as url, small_chunks():
        result = fetch(url, tmp_path)
    assert result.artifact is not None
    assert_fetched(hub, tmp_path, result.artifact.digest)


def test_a_server_that_gives_no_parts_is_read_as_a_whole(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(200_000), ranges=False)
    hub.faults.extend([Fault()] * 4 + [Fault(cut_after=100_000)])
    with running(hub) as url, small_chunks():
        result = fetch(url, tmp_path)
    assert result.artifact is not None
    assert_fetched(hub, tmp_path, result.artifact.digest)


FAULTS = st.builds(Fault, status=st.sampled_from([0, 0, 429, 500, 502]), cut_after=st.none() | st.integers(0, 40_000))


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(0, 90_000), min_size=1, max_size=5),
    st.lists(st.integers(1, 120_000), max_size=5),
    st.lists(FAULTS, max_size=8),
    st.booleans(),
)
def test_no_finished_byte_is_fetched_again_whenever_it_is_killed(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], kills: list[int], faults: list[Fault], redirected: bool
) -> None:
    output = tmp_path_factory.mktemp("volume")
    hub = Hub(REPO, repository(*sizes), cdn="cdn" if redirected else None)
    hub.faults.extend(faults)
    with running(hub) as url, small_chunks(4096):
        for allowed in kills:
            finished = _finished(output)
            hub.sent.clear()
            if _killed_after(allowed, url, output):
                assert not _overlap(finished, hub.sent)
        finished = _finished(output)
        hub.sent.clear()
        result = fetch(url, output)
        assert not _overlap(finished, hub.sent)
    assert result.artifact is not None
    assert_fetched(hub, output, result.artifact.digest)


def _killed_after(allowed: int, url: str, output: Path) -> bool:
    """Run until so many bytes have arrived, and no cleaner end than a kill; whether it came to that."""
    received = 0
    into = Reply.into

    def counting(reply: Reply, buffer: memoryview) -> int:
        nonlocal received
        count = into(reply, buffer)
        received += count
        if received > allowed:
            raise Killed
        return count

    if (output / "result.json").exists():
        return False
    with mock.patch.object(Reply, "into", counting), mock.patch.object(download, "BUFFER", 3000):
        try:
            fetch(url, output)
        except Killed:
            return True
    (output / "result.json").unlink()  # sealed before so many bytes: as if killed just before the end
    return False


def _finished(output: Path) -> dict[str, set[tuple[int, int]]]:
    if not list(output.glob(".fetch-*")):
        return {}
    with Ledger(output, "0" * 64) as ledger:
        plan = ledger.plan
        if plan is None:
            return {}
        return {
            plan.files[index].path: {(chunk * plan.chunk, (chunk + 1) * plan.chunk) for chunk in chunks}
            for index, chunks in ledger.finished.items()
        }


def _overlap(finished: dict[str, set[tuple[int, int]]], sent: list[tuple[str, int, int]]) -> list[object]:
    return [
        (path, begin, end)
        for path, begin, end in sent
        for first, last in finished.get(path, ())
        if begin < last and first < end
    ]


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    """kill -9 of a real process, a branch that moves meanwhile, and bytes of the commit that was planned."""
    hub = Hub(REPO, repository(400_000, 300_000), bytes_per_second=15_000)
    code = (
        "import sys; from pathlib import Path; from tests.unit.fetch.world import fetch, small_chunks\n"
        "with small_chunks(): fetch(sys.argv[1], Path(sys.argv[2]))"
    )
    root, runtime = Path(__file__).parents[3], Path(deepseek_runtime.__file__).parents[1]
    with running(hub) as url, small_chunks():
        environment = {"PYTHONPATH": f"{root}:{runtime}"}
        process = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path)], env=environment)
        journal = tmp_path / f".fetch-{'0' * 64}" / "journal"
        deadline = time.monotonic() + 60
        while not journal.exists() or journal.read_text().count("\n") < 12:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.wait()
        finished = _finished(tmp_path)
        hub.sent.clear()
        hub.bytes_per_second, hub.branch = None, "another"
        result = fetch(url, tmp_path)
    assert sum(map(len, finished.values())) >= 8
    assert not _overlap(finished, hub.sent)
    assert result.artifact is not None
    assert result.artifact.bytes == sum(
        len(hub.files[path]) for path in manifest.walk(tmp_path / "artifact") if path in hub.files
    )
    assert_fetched(hub, tmp_path, result.artifact.digest)


def test_killed_between_the_renaming_and_the_seal(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(50_000))
    with running(hub) as url, small_chunks():
        with mock.patch.object(model.seal, "now", side_effect=Killed), pytest.raises(Killed):
            fetch(url, tmp_path)
        assert (tmp_path / "artifact").exists()
        hub.sent.clear()
        result = fetch(url, tmp_path)
    assert hub.sent == []
    assert result.artifact is not None
    assert_fetched(hub, tmp_path, result.artifact.digest)


def test_the_token_is_for_the_hub_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hub = Hub(REPO, repository(20_000), token=TOKEN, cdn="cdn")
    with running(hub) as url:
        result = fetch(url, tmp_path / "volume", token_file=token_file(tmp_path))
    assert hub.cdn_tokens == []
    assert TOKEN not in result.to_json() + caplog.text
    assert "signature" not in result.to_json() + caplog.text
    assert not [
        path for path in (tmp_path / "volume").rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]


def test_expired_links_are_asked_for_anew(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(60_000), cdn="cdn")
    hub.faults.extend([Fault(cut_after=5000), Fault(status=403), Fault(), Fault(status=410)])
    with running(hub) as url, small_chunks():
        result = fetch(url, tmp_path)
    assert result.artifact is not None
    assert_fetched(hub, tmp_path, result.artifact.digest)


def test_what_troubles_is_shown_while_it_is_waited_for(tmp_path: Path) -> None:
    hub, reporter = Hub(REPO, repository(20_000), refusal=(429, {"Retry-After": "3600"})), Silent()

    def noticing(phase: str, **figures: object) -> None:
        reporter.told.append({"phase": phase, **figures})
        if figures.get("trouble"):
            raise Killed

    watcher = mock.Mock(update=noticing)
    with running(hub) as url, pytest.raises(Killed):
        model.run(job(url, tmp_path), watcher, QUICK)
    trouble = reporter.told[-1]["trouble"]
    assert trouble.reason == "RateLimited"
    assert "asks to wait 3600 s" in trouble.message


def test_no_thread_and_no_connection_is_left(tmp_path: Path) -> None:
    """pytest turns an unclosed socket or a thread that dies into a failure; the kill must end waits at once."""
    hub = Hub(REPO, repository(500_000), bytes_per_second=20_000)
    begun = time.monotonic()
    with running(hub) as url, small_chunks():
        assert _killed_after(30_000, url, tmp_path)
    assert time.monotonic() - begun < 15
