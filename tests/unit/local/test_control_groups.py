from pathlib import Path

import pytest

from local import control_groups
from local.errors import LocalClusterError
from local.places import Cluster, Node

CLUSTER = Cluster(Path("/somewhere/cluster"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def version_2(root: Path) -> Path:
    (root / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma\n")
    (root / "cgroup.subtree_control").write_text("memory pids\n")
    return root


@pytest.fixture
def version_1(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    trees = [root / "cpu", root / "memory"]
    for tree in trees:
        tree.mkdir()
    (root / "cpuacct").symlink_to("cpu")
    monkeypatch.setattr(Path, "is_mount", lambda path: path in trees)
    return trees


def test_version_2_gives_the_groups_what_the_kubelet_asks_for(version_2: Path) -> None:
    control_groups.make(CLUSTER.first)
    assert (version_2 / "cgroup.subtree_control").read_text() == "+cpuset +cpu +memory +hugetlb +pids"
    assert control_groups.present(CLUSTER) == [version_2 / CLUSTER.first.control_group]


def test_version_2_says_what_to_do_where_controllers_cannot_be_enabled(version_2: Path) -> None:
    (version_2 / "cgroup.subtree_control").unlink()
    (version_2 / "cgroup.subtree_control").mkdir()
    with pytest.raises(LocalClusterError, match="--cgroupns=host"):
        control_groups.make(CLUSTER.first)


def test_version_1_has_a_group_in_each_tree(version_1: list[Path]) -> None:
    node = Node(CLUSTER, 1)
    control_groups.make(node)
    assert control_groups.present(CLUSTER) == [tree / node.control_group for tree in version_1]


def test_a_node_goes_without_the_others(version_2: Path) -> None:
    first, second = CLUSTER.first, Node(CLUSTER, 1)
    for node in (first, second):
        control_groups.make(node)
        (version_2 / node.control_group / "kubepods" / "pod").mkdir(parents=True)
    control_groups.remove(second)
    assert control_groups.present(CLUSTER) == [version_2 / first.control_group]
    control_groups.remove(CLUSTER)
    assert control_groups.present(CLUSTER) == []
