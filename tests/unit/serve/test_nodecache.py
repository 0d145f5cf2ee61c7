"""An engine reads its node's copy where that is whole and intact, and its own volume in every other case."""

import fcntl
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.job.reporter import Silent
from deepseek_runtime.nodecache import keeper
from deepseek_runtime.nodecache.held import Held
from deepseek_runtime.serve import loading
from deepseek_runtime.serve.metrics import Metrics
from deepseek_runtime.serve.team import Team
from deepseek_runtime.wire.node_cache import CacheConfig
from deepseek_runtime.wire.serve import ServeConfig

from tests.unit.serve.conftest import Model


@pytest.fixture
def cache(models: Callable[[str], Model], tmp_path: Path) -> CacheConfig:
    model = models("v3")
    directory = tmp_path / "cache"
    directory.mkdir()
    return CacheConfig(
        keeper="v3", digest=model.digest, capacity=10**9, input=str(model.directory), cache=str(directory)
    )


def source(config: ServeConfig, caplog: pytest.LogCaptureFixture) -> str:
    """Load, and where the weights came from, as the log says."""
    with caplog.at_level(logging.INFO):
        loaded = loading.load(config, Team(config), Metrics("tiny"), Silent(), lambda: None)
    loaded.chat.close()
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("engine ready")]
    return line.split("weights=")[1].split()[0]


def test_a_whole_copy_is_read_and_not_evicted_meanwhile(
    models: Callable[[str], Model], cache: CacheConfig, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.fill(cache, Silent()).release()
    config = models("v3").config(model="/nowhere", model_digest=cache.digest, cache=cache.cache)
    assert source(config, caplog) == f"{cache.cache}/{cache.digest}/artifact"
    assert Held.take(Path(cache.cache) / cache.digest, fcntl.LOCK_EX) is None


@pytest.mark.parametrize("copy", ["none", "unsealed", "damaged"])
def test_without_one_the_own_volume_is_read(
    copy: str, models: Callable[[str], Model], cache: CacheConfig, caplog: pytest.LogCaptureFixture
) -> None:
    model = models("v3")
    if copy != "none":
        held = keeper.fill(cache, Silent())
        held.release()
        (held.place / "result.json").unlink() if copy == "unsealed" else None
        (held.artifact / "config.json").write_text("{}") if copy == "damaged" else None
    config = model.config(model_digest=cache.digest, cache=cache.cache)
    assert source(config, caplog) == str(model.directory)
    assert ("the node's copy is not used" in caplog.text) == (copy == "damaged")


def test_the_own_volume_is_verified_all_the_same(
    cache: CacheConfig, tmp_path: Path, models: Callable[[str], Model]
) -> None:
    (tmp_path / "other").mkdir()
    config = models("v3").config(model=str(tmp_path / "other"), model_digest=cache.digest, cache=cache.cache)
    with pytest.raises(DataError):
        loading.load(config, Team(config), Metrics("tiny"), Silent(), lambda: None)
