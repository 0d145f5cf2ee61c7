"""Address ranges of a cluster: the usual ones, or the next that neither the machine nor a stopped cluster uses."""

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path

from local import places, programs
from local.errors import LocalClusterError
from local.places import Cluster

# the first candidate of each is the default; 198.18.0.0/15 is set aside for tests of devices (RFC 2544)
LINKS = IPv4Network("198.18.0.0/15")
_PODS = IPv4Network("10.244.0.0/14")
_SERVICES = IPv4Network("10.96.0.0/13")


@dataclass(frozen=True)
class Ranges:
    """The three ranges of a cluster, and the addresses in them that mean something."""

    link: IPv4Network
    pods: IPv4Network
    services: IPv4Network

    @property
    def host(self) -> str:
        """The machine's end of the link."""
        return str(self.link[1])

    @property
    def node(self) -> str:
        """The first node's end of the link."""
        return str(self.link[2])

    @property
    def api(self) -> str:
        """The address of the `kubernetes` Service."""
        return str(self.services[1])

    @property
    def dns(self) -> str:
        """The address of the `kube-dns` Service."""
        return str(self.services[10])

    @property
    def between(self) -> IPv4Network:
        """The network of the nodes among themselves, which only they see: the end of the pods' range."""
        return list(self.pods.subnets(new_prefix=24))[-1]

    def address(self, number: int) -> str:
        """The address that a node is known by."""
        return str(self.between[number + 1]) if number else self.node

    def pods_of(self, number: int) -> IPv4Network:
        """The pods' addresses of a node."""
        return list(self.pods.subnets(new_prefix=22))[number]

    def every(self) -> tuple[IPv4Network, ...]:
        """All three."""
        return self.link, self.pods, self.services


def choose(taken: Iterable[IPv4Network]) -> Ranges:
    """The first candidate of each kind that overlaps with nothing that is taken."""
    used = list(taken)

    def first(block: IPv4Network, length: int) -> IPv4Network:
        for candidate in islice(block.subnets(new_prefix=length), 1024):
            if not any(candidate.overlaps(other) for other in used):
                return candidate
        raise LocalClusterError(
            f"no range of this machine is free in {block}: routes of other networks cover it all "
            "(`ip route show table all`); stop the VPN or container network that holds them"
        )

    return Ranges(first(LINKS, 30), first(_PODS, 18), first(_SERVICES, 16))


def taken(routes: Iterable[dict[str, str]], but_for_link: str) -> list[IPv4Network]:
    """The networks that the machine's routes lead to, without the default route and a cluster's own link."""
    found = []
    for route in routes:
        if route.get("dst", "default") != "default" and route.get("dev") != but_for_link:
            network = IPv4Network(route["dst"], strict=False)
            # a default route is also written as 0.0.0.0/0 or as two halves of it
            if network.prefixlen > 1:
                found.append(network)
    return found


def settle(cluster: Cluster) -> Ranges:
    """The ranges of a cluster, chosen at its first start; they are in its certificates and its stored Services."""
    used = taken(json.loads(programs.output(["ip", "-json", "-4", "route", "show", "table", "all"])), cluster.host_link)
    file = cluster.state / "ranges.json"
    if file.exists():
        ranges = read(file)
        for mine in ranges.every():
            for other in used:
                if mine.overlaps(other):
                    raise LocalClusterError(
                        f"{mine} belongs to this cluster ({file}), and the machine now has a route to {other}: remove "
                        "that route, or run `python3 -m local down --purge`, which removes all it holds"
                    )
    else:
        try:
            ranges = choose([*used, *_kept()])
        except LocalClusterError:  # rather those of a cluster that may never start again than none
            ranges = choose(used)
        file.write_text(json.dumps({name: str(network) for name, network in asdict(ranges).items()}))
    _remember(cluster, file)
    return ranges


def _known() -> Path:
    """A link to the ranges of each cluster that was started; it leads nowhere once the cluster is purged."""
    return places.cache() / "ranges"


def _remember(cluster: Cluster, file: Path) -> None:
    link = _known() / cluster.identity
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(file.absolute())


def _kept() -> list[IPv4Network]:
    """The networks of clusters that are there, also of those that are down."""
    known = _known()
    found: list[IPv4Network] = []
    for link in sorted(known.iterdir()) if known.exists() else ():
        if link.exists():
            found += read(link).every()
        else:
            link.unlink()
    return found


def read(file: Path) -> Ranges:
    """The ranges written by an earlier start."""
    return Ranges(**{name: ipaddress.IPv4Network(text) for name, text in json.loads(file.read_text()).items()})
