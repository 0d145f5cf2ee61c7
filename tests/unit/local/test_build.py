from pathlib import Path

import pytest

from local import places, servers, toolchain
from local.build import key, linker_flags, sources

SOURCES = [("go.mod", b"module m"), ("main.go", b"package main")]


def test_key_does_not_depend_on_the_order_of_files() -> None:
    assert key(SOURCES, "go1.26.6") == key(reversed(SOURCES), "go1.26.6")


@pytest.mark.parametrize(
    ("sources", "version"),
    [
        (SOURCES, "go1.26.7"),
        ([("go.mod", b"module m"), ("main.go", b"package main ")], "go1.26.6"),
        ([("go.mod", b"module m"), ("other.go", b"package main")], "go1.26.6"),
        ([("go.mod", b"module m")], "go1.26.6"),
        # the border between two files must not be movable
        ([("go.mod", b"module mmain.go"), ("main.go", b"")], "go1.26.6"),
    ],
)
def test_key_depends_on_names_contents_and_compiler(sources: list[tuple[str, bytes]], version: str) -> None:
    assert key(sources, version) != key(SOURCES, "go1.26.6")


def test_sources_are_all_that_go_compiles(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum", "s3/main.go", "absent/go.mod", "absent/absent.go", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = dict(sources(tmp_path))
    assert found.pop("s3/main.go") == b"s3/main.go"
    assert sorted(found) == ["absent/absent.go", "absent/go.mod", "go.mod", "go.sum"]


def test_programs_report_the_versions_of_go_mod() -> None:
    flags = linker_flags((places.SOURCES / "go.mod").read_text())
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.2" in flags
    assert "-X helm.sh/helm/v4/pkg/chart/common.k8sVersionMinor=34" in flags


def test_go_versions_compare_as_numbers() -> None:
    assert toolchain.numbers("go1.26.6") > toolchain.numbers("1.9")
    assert toolchain.numbers("go1.27rc1") == (1, 27)
    assert toolchain.numbers("devel") == ()


def test_go_mod_states_its_version() -> None:
    assert toolchain.wanted("module m\n\ngo 1.24.0\n\nrequire x v1\n") == "1.24.0"


@pytest.mark.parametrize("module", [places.SOURCES, servers.SOURCES], ids=lambda module: module.name)
def test_pinned_go_builds_the_sources(module: Path) -> None:
    need = toolchain.wanted((module / "go.mod").read_text())
    assert toolchain.numbers(toolchain.PINNED.split()[0].partition("==")[2]) >= toolchain.numbers(need)


def test_names_follow_from_the_state() -> None:
    one, other = places.Cluster(Path("/a")), places.Cluster(Path("/b"))
    assert one.host_link != other.host_link
    assert one.control_group != other.control_group
    assert len(one.host_link) <= 15  # the kernel's limit


def test_state_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(places.STATE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert places.default_state() == Path("/x/deepseek-operator/cluster")
    monkeypatch.setenv(places.STATE_VARIABLE, "/y")
    assert places.default_state() == Path("/y")
