"""NetworkPolicies: what the pods of one resource may be asked, and whom they may talk to.

Policies add up: what one allows no other can forbid, so pods that need more are left out of the policy that denies it
(https://kubernetes.io/docs/concepts/services-networking/network-policies/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from deepseek_runtime.wire.paths import STATUS_PORT

from deepseek_operator.api.names import Label
from deepseek_operator.desired.labels import Manifest, Owner

FETCH = "fetch"
"""The work that reaches out of the cluster."""

_LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")
"""Where clouds hand out the credentials of a node."""
_DNS: Manifest = {"ports": [{"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("UDP", "TCP")]}
"""Any resolver: a node's own cache has a link-local address, and OpenShift's pods listen on 5353."""


@dataclass(frozen=True, slots=True)
class Egress:
    """Fetch Jobs reach everything but link-local addresses and `blocked` (CIDR ranges of either IP version)."""

    blocked: tuple[str, ...] = ()


def network_policies(
    owner: Owner,
    callers: str,
    ports: Sequence[int],
    *,
    among_themselves: bool = False,
    fetch: Egress | None = None,
) -> tuple[Manifest, ...]:
    """The policy of all pods of a resource and, with `fetch`, one more for its fetch Jobs.

    `callers` is the namespace that may reach `ports`, the operator's. With `among_themselves` the pods may reach each
    other on every port, and DNS.
    """
    selector: Manifest = {"matchLabels": {Label.OWNER_UID: owner.uid}}
    if fetch is not None:
        selector["matchExpressions"] = [{"key": Label.WORK, "operator": "NotIn", "values": [FETCH]}]
    name = f"{owner.kind.lower()}-{owner.name}"
    ingress, egress = [_from(callers, ports)], []
    if among_themselves:
        peers = [{"podSelector": selector}]
        ingress, egress = [*ingress, {"from": peers}], [{"to": peers}, _DNS]
    policy = _policy(owner, name, selector, ingress, egress)
    if fetch is None:
        return (policy,)
    fetchers: Manifest = {"matchLabels": {Label.OWNER_UID: owner.uid, Label.WORK: FETCH}}
    outside = [_DNS, {"to": _everywhere_but((*_LINK_LOCAL, *fetch.blocked))}]
    return (policy, _policy(owner, f"{name}-{FETCH}", fetchers, [_from(callers, (STATUS_PORT,))], outside))


def _policy(owner: Owner, name: str, pods: Manifest, ingress: list[Manifest], egress: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(name, owner.labels("network-policy")),
        "spec": {"podSelector": pods, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress},
    }


def _from(namespace: str, ports: Sequence[int]) -> Manifest:
    """The label is set by the API server, so nobody can put another namespace's name on theirs."""
    return {
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}],
        "ports": [{"protocol": "TCP", "port": port} for port in ports],
    }


def _everywhere_but(blocked: Sequence[str]) -> list[Manifest]:
    """One block for each IP version; ValueError where a range is none."""
    ranges = [ip_network(text) for text in blocked]
    return [
        {"ipBlock": {"cidr": everything, "except": [str(block) for block in ranges if block.version == version]}}
        for everything, version in (("0.0.0.0/0", 4), ("::/0", 6))
    ]
