"""Small sealed artifacts, and fills of a cache in processes of their own, which can be killed."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepseek_runtime.job.reporter import Silent
from deepseek_runtime.nodecache import keeper
from deepseek_runtime.weights import manifest
from deepseek_runtime.wire.node_cache import CacheConfig

SIZE = 5000
"""Bytes of each artifact's files."""


def artifact(root: Path, name: str) -> CacheConfig:
    """An artifact that differs from those of other names, and how it is to be cached beside them."""
    directory = root / name
    (directory / "sub").mkdir(parents=True)
    weights = (name.encode() * SIZE)[: SIZE - 2]
    (directory / "sub" / "weights").write_bytes(weights)
    (directory / "config.json").write_text("{}")
    digest = manifest.write(directory).digest
    cache = root / "cache"
    cache.mkdir(exist_ok=True)
    return CacheConfig(keeper=name, digest=digest, capacity=10**9, input=str(directory), cache=str(cache))


def elsewhere(do: Callable[..., Any], *args: Any) -> int:
    """Run in another process, whose locks go with it; its exit code."""
    process = multiprocessing.get_context("fork").Process(target=do, args=args)
    process.start()
    process.join(20)
    assert process.exitcode is not None
    return process.exitcode


def fill(config: CacheConfig) -> None:
    """Fill and end."""
    keeper.fill(config, Silent())


def copied(config: CacheConfig) -> bool:
    """Fill in a process of its own; whether it was done."""
    return elsewhere(fill, config) == 0


class Killed(Silent):
    """A Reporter that ends the process at a step; others count their steps with it, too."""

    def __init__(self, at: int) -> None:
        self.count = 0
        self._at = at

    def step(self) -> None:
        self.count += 1
        if self.count == self._at:
            os._exit(9)

    def update(self, phase: str, **figures: object) -> None:
        self.step()
