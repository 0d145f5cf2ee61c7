import json
import shutil
from dataclasses import asdict
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import programs
from local.errors import LocalClusterError
from local.places import MOST_NODES, Cluster
from local.ranges import Ranges, choose, settle, taken


def test_defaults_where_nothing_is_taken() -> None:
    ranges = choose([])
    assert [str(network) for network in ranges.every()] == ["198.18.0.0/30", "10.244.0.0/18", "10.96.0.0/16"]
    assert (ranges.host, ranges.node, ranges.api, ranges.dns) == ("198.18.0.1", "198.18.0.2", "10.96.0.1", "10.96.0.10")


def test_nodes_have_addresses_of_their_own() -> None:
    ranges = choose([])
    assert [ranges.address(number) for number in range(MOST_NODES)][:3] == [
        "198.18.0.2",
        "10.244.63.2",
        "10.244.63.3",
    ]
    networks = [ranges.between, *(ranges.pods_of(number) for number in range(MOST_NODES))]
    assert all(network.subnet_of(ranges.pods) for network in networks)
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))


def test_takes_the_next_where_the_default_is_taken() -> None:
    ranges = choose([IPv4Network("10.244.3.0/24"), IPv4Network("10.96.0.0/12"), IPv4Network("198.18.0.1/32")][::2])
    assert [str(network) for network in ranges.every()] == ["198.18.0.4/30", "10.244.64.0/18", "10.96.0.0/16"]


def test_says_what_to_do_where_all_is_taken() -> None:
    with pytest.raises(LocalClusterError, match="ip route show table all"):
        choose([IPv4Network("10.0.0.0/8")])


@given(st.lists(st.integers(0, 255).map(lambda third: IPv4Network(f"198.18.{third}.0/24")), max_size=40))
def test_chosen_ranges_overlap_with_nothing(used: list[IPv4Network]) -> None:
    assert not any(mine.overlaps(other) for mine in choose(used).every() for other in used)


def test_default_routes_and_own_link_take_nothing() -> None:
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "0.0.0.0/1", "dev": "tun0"},
        {"dst": "128.0.0.0/1", "dev": "tun0"},
        {"dst": "10.244.0.0/16", "dev": "mine"},
        {"dst": "192.0.2.0/24", "dev": "eth0"},
        {"dst": "192.0.2.2", "dev": "eth0"},
    ]
    assert taken(routes, "mine") == [IPv4Network("192.0.2.0/24"), IPv4Network("192.0.2.2/32")]


def started(directory: Path) -> Ranges:
    directory.mkdir()
    return settle(Cluster(directory))


def test_a_cluster_that_is_down_keeps_its_ranges_until_it_is_purged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "output", lambda *_: "[]")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    every = [started(tmp_path / str(number)) for number in range(8)]
    assert not any(a.overlaps(b) for one, other in combinations(every, 2) for a in one.every() for b in other.every())
    shutil.rmtree(tmp_path / "3")
    assert started(tmp_path / "again") == every[3]
    assert started(tmp_path / "one too many") == choose([])  # there are eight ranges of Services


def test_a_cluster_keeps_its_ranges_and_says_who_took_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = [{"dst": "10.244.0.0/16", "dev": "other"}]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(programs, "output", lambda *_: json.dumps(routes))
    cluster = Cluster(tmp_path)
    first = settle(cluster)
    assert str(first.pods) == "10.245.0.0/18"
    routes.clear()
    assert asdict(settle(cluster)) == asdict(first)
    routes.append({"dst": "10.245.9.0/24", "dev": "vpn"})
    with pytest.raises(LocalClusterError, match=r"10\.245\.9\.0/24.*down --purge"):
        settle(cluster)
