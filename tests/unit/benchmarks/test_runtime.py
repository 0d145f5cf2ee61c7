"""The scenarios that need no cluster, with tiny numbers: what they measure here means nothing, but they measure."""

from pathlib import Path

import pytest

from benchmarks.runtime import manifest, rounds


def test_a_manifest_is_checked_beside_sha256sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "FILES", 2)
    monkeypatch.setattr(manifest, "BYTES", 1 << 16)
    speed, ratio = manifest.run(tmp_path)
    assert speed.value > 0
    assert ratio.target is not None
    assert not list(tmp_path.iterdir())


def test_ways_take_turns_from_either_end() -> None:
    order: list[str] = []
    taken = rounds.in_turns({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 3, "b": 3}
    assert rounds.middle(rounds.ratios([2, 9, 4], [1, 3, 1]), "x") == (3, "2-4 x, n=3")
