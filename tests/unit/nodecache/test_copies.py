"""A cache holds no more than it may, and nothing that somebody uses makes room."""

import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from deepseek_runtime.job.errors import ConfigurationError
from deepseek_runtime.job.reporter import Silent
from deepseek_runtime.nodecache import copies, keeper
from deepseek_runtime.nodecache.copies import Copy, evictions
from deepseek_runtime.nodecache.reading import find
from deepseek_runtime.wire.node_cache import CacheConfig
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.nodecache.artifacts import SIZE, artifact, copied

ENTRY = SIZE + 1000
"""More than a copy takes with what lies beside it, and less than two of them."""


def limited(root: Path, name: str, copies_at_most: int) -> CacheConfig:
    """An artifact in a cache that has room for so many."""
    return artifact(root, name).model_copy(update={"capacity": copies_at_most * ENTRY})


def kept(config: CacheConfig) -> bool:
    """Whether there is a copy."""
    held = find(Path(config.cache), config.digest)
    if held is not None:
        held.release()
    return held is not None


def last_kept(config: CacheConfig, when: float) -> None:
    os.utime(Path(config.cache) / config.digest / "keeper", (when, when))


def test_the_longest_unused_copy_makes_room(tmp_path: Path) -> None:
    first, second, third = (limited(tmp_path, name, 2) for name in "abc")
    for config, when in ((first, 2000), (second, 1000)):
        assert copied(config)
        last_kept(config, when)
    assert copied(third)
    assert [kept(config) for config in (first, second, third)] == [True, False, True]


def test_copies_stay_as_long_as_there_is_room(tmp_path: Path) -> None:
    configs = [limited(tmp_path, name, 3) for name in "abc"]
    assert all(copied(config) for config in configs)
    assert all(kept(config) for config in configs)


def test_what_a_pod_keeps_or_an_engine_reads_stays_and_is_named(tmp_path: Path) -> None:
    by_pod, by_engine, more = (limited(tmp_path, name, 2) for name in ("pod", "engine", "more"))
    holding = keeper.fill(by_pod, Silent())
    assert copied(by_engine)
    reading = find(Path(by_engine.cache), by_engine.digest)
    assert reading is not None
    with pytest.raises(ConfigurationError) as caught:
        keeper.fill(more, Silent())
    assert caught.value.reason == "CacheFull"
    for said in (f"{SIZE:,}", f"{2 * ENTRY:,}", "pod (", "engine ("):
        assert said in caught.value.message
    assert kept(by_pod)
    reading.release()
    assert copied(more)
    assert not kept(by_engine)
    holding.release()


def test_nothing_is_evicted_for_what_would_not_fit_even_so(tmp_path: Path) -> None:
    small, large = limited(tmp_path, "small", 2), artifact(tmp_path, "large")
    assert copied(small)
    assert not copied(large.model_copy(update={"capacity": SIZE - 1}))
    assert kept(small)


def test_a_copy_in_the_making_counts_with_all_that_it_will_need(tmp_path: Path) -> None:
    first, second = (limited(tmp_path, name, 1) for name in "ab")
    listed = keeper.manifest.compare(Path(first.input), first.digest)
    making = copies.Copies(Path(first.cache), first.capacity).claim(listed, "first")
    assert not copied(second), "the first has room reserved that it has not filled yet"
    making.release()  # its maker is gone
    assert copied(second)


def test_many_pods_at_once_never_take_more_than_the_capacity(tmp_path: Path) -> None:
    configs = [limited(tmp_path, name, 2) for name in "abcdef"]

    def fill_and_count(config: CacheConfig) -> None:
        for _ in range(15):
            try:
                held = keeper.fill(config, Silent())
            except ConfigurationError:
                time.sleep(0.01)
                continue
            with (Path(config.cache) / copies.LOCK_FILE).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # nothing is begun or evicted while it is counted
                if copies._bytes(Path(config.cache)) > config.capacity:
                    os._exit(7)
            held.release()

    processes = [multiprocessing.get_context("fork").Process(target=fill_and_count, args=(each,)) for each in configs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * len(configs)


def test_a_disk_that_is_smaller_than_the_capacity_is_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (artifact(tmp_path, name) for name in "ab")
    assert copied(first)
    usage = copies.shutil.disk_usage

    class Usage:
        free = copies.SPARE + SIZE - 1

    monkeypatch.setattr(copies.shutil, "disk_usage", lambda path: Usage() if kept(first) else usage(path))
    assert copied(second)
    assert not kept(first)


def test_what_an_interrupted_eviction_left_is_removed(tmp_path: Path) -> None:
    config = artifact(tmp_path, "a")
    left = Path(config.cache) / f".evicted-{'0' * 64}"
    left.mkdir()
    (left / "weights").write_bytes(b"weights")
    assert copied(config)
    assert not left.exists()


def test_other_things_on_the_disk_are_left_alone(tmp_path: Path) -> None:
    config = limited(tmp_path, "a", 1)
    other = Path(config.cache) / "lost+found"
    other.mkdir()
    assert copied(config)
    assert other.exists()


@pytest.mark.parametrize("what", ["nothing", "a file", "no cache"])
def test_an_engine_finds_no_copy_where_there_is_none_whatever_is_wrong(tmp_path: Path, what: str) -> None:
    config = artifact(tmp_path, "a")
    if what == "a file":
        (Path(config.cache) / config.digest).write_text("")
    cache = tmp_path / "elsewhere" if what == "no cache" else Path(config.cache)
    assert find(cache, config.digest) is None


COPIES = st.lists(
    st.builds(
        Copy,
        digest=st.text("0123456789abcdef", min_size=4, max_size=4),
        on_disk=st.integers(0, 100),
        held=st.booleans(),
        last_kept=st.integers(0, 5).map(float),
    ),
    max_size=8,
    unique_by=lambda copy: copy.digest,
)


@given(COPIES, st.integers(-50, 500))
def test_evictions_suffice_spare_what_is_held_and_are_no_more_than_needed(found: list[Copy], missing: int) -> None:
    chosen = evictions(found, missing)
    free = [copy for copy in found if not copy.held]
    if chosen is None:
        assert sum(copy.on_disk for copy in free) < missing
        return
    assert set(chosen) <= set(free)
    assert sum(copy.on_disk for copy in chosen) >= missing or not chosen
    assert not chosen or sum(copy.on_disk for copy in chosen[:-1]) < missing
    left = [copy for copy in free if copy not in chosen]
    assert all(gone.last_kept <= copy.last_kept for gone in chosen for copy in left)
