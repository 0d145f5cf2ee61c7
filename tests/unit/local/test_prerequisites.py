from pathlib import Path

import pytest

from local import prerequisites
from local.errors import LocalClusterError
from local.prerequisites import CLUSTER, Need


def test_missing_programs_are_one_sentence_with_their_packages() -> None:
    needs = prerequisites.missing(CLUSTER, which=lambda name: None if name in {"ctr", "containerd", "runc"} else name)
    text = prerequisites.sentence(needs)
    assert "\n" not in text
    assert text.startswith("not installed: containerd, ctr, runc; run `python3 -m local prerequisites --install`")
    assert text.endswith("containerd runc")


def test_a_package_is_named_once() -> None:
    assert prerequisites.packages([Need("a", "p"), Need("b", "p"), Need("c", "o")]) == ["o", "p"]


def test_nothing_missing() -> None:
    assert prerequisites.missing(CLUSTER, which=str) == []


def test_not_root_is_one_sentence() -> None:
    with pytest.raises(LocalClusterError, match="needs root: run it with sudo"):
        prerequisites.require_root("python3 -m local up", effective_user=1000)
    prerequisites.require_root("python3 -m local up", effective_user=0)


@pytest.mark.parametrize("place", ["/run/x", "/var/lib/x", "/var/log"])
def test_state_may_not_lie_where_the_node_has_its_own(place: str) -> None:
    with pytest.raises(LocalClusterError, match="--state or XDG_STATE_HOME"):
        prerequisites.require_state_place(Path(place))


def test_install_asks_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "cluster_needs", lambda: [Need("runc", "runc")])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LocalClusterError, match="sudo python3 -m local prerequisites --install"):
        prerequisites.report(install=True)


def test_report_without_install_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prerequisites, "cluster_needs", lambda: [Need("runc", "runc")])
    monkeypatch.setattr(prerequisites, "missing", lambda needs: [])
    assert prerequisites.report(install=False) == 1
    assert "runc" in capsys.readouterr().out
