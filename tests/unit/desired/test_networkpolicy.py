"""What NetworkPolicies let through, read as a network plugin reads them."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from deepseek_operator.api.names import Label
from deepseek_operator.desired.labels import Owner
from deepseek_operator.desired.networkpolicy import Egress, network_policies
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.kubernetes_checks import check

OWNER = Owner("deepseek-operator.io/v1alpha1", "DeepSeekModel", "team", "m" * 40, "uid-1")
POD = {Label.OWNER_UID: OWNER.uid, Label.WORK: "build"}
FETCHER = {Label.OWNER_UID: OWNER.uid, Label.WORK: "fetch"}
ENGINE = {Label.OWNER_UID: OWNER.uid}
STRANGER = {Label.OWNER_UID: "uid-2"}
METADATA = "169.254.169.254"

Object = dict[str, Any]


def built(*ports: int, **more: Any) -> tuple[Object, ...]:
    policies = network_policies(OWNER, "system", ports or (9400,), **more)
    for policy in policies:
        check(policy)
    return policies


def enters(policies: tuple[Object, ...], pod: Object, port: int, *, namespace: str, labels: Object) -> bool:
    """Whether a pod of that namespace, with those labels, may ask the pod."""
    mine = [policy["spec"] for policy in policies if _selects(policy["spec"]["podSelector"], pod)]
    return not mine or any(
        _port(rule, "TCP", port) and any(_peer(peer, namespace, labels) for peer in rule["from"])
        for spec in mine
        for rule in spec["ingress"]
    )


def leaves(policies: tuple[Object, ...], pod: Object, to: str | Object, port: int, protocol: str = "TCP") -> bool:
    """Whether the pod may talk to an address, or to a pod of its namespace with those labels."""
    mine = [policy["spec"] for policy in policies if _selects(policy["spec"]["podSelector"], pod)]
    return not mine or any(
        _port(rule, protocol, port) and ("to" not in rule or any(_destination(peer, to) for peer in rule["to"]))
        for spec in mine
        for rule in spec["egress"]
    )


def _selects(selector: Object, labels: Object) -> bool:
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "NotIn"
        exact = exact and labels.get(expression["key"]) not in expression["values"]
    return exact


def _peer(peer: Object, namespace: str, labels: Object) -> bool:
    if "namespaceSelector" in peer:
        return _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
    return namespace == OWNER.namespace and _selects(peer["podSelector"], labels)


def _destination(peer: Object, to: str | Object) -> bool:
    if isinstance(to, dict):
        return "podSelector" in peer and _selects(peer["podSelector"], to)
    if "ipBlock" not in peer:
        return False
    address, block = ip_address(to), peer["ipBlock"]
    return address in ip_network(block["cidr"]) and not any(address in ip_network(no) for no in block["except"])


def _port(rule: Object, protocol: str, port: int) -> bool:
    return "ports" not in rule or {"protocol": protocol, "port": port} in rule["ports"]


@pytest.mark.parametrize("pod", [POD, FETCHER, ENGINE], ids=("job", "fetch", "engine"))
def test_a_pod_is_asked_from_the_operators_namespace_alone_and_reaches_nothing(pod: Object) -> None:
    policies = built(8000, 9400)
    assert len(policies) == 1
    for port in (8000, 9400):
        assert enters(policies, pod, port, namespace="system", labels={})
        assert not enters(policies, pod, port, namespace="team", labels=POD)
        assert not enters(policies, pod, port, namespace="elsewhere", labels={})
    assert not enters(policies, pod, 29500, namespace="system", labels={})
    for to in ("10.0.0.1", "8.8.8.8", METADATA, POD):
        assert not leaves(policies, pod, to, 443)
        assert not leaves(policies, pod, to, 53, "UDP")


def test_pods_of_others_are_left_alone() -> None:
    policies = built(fetch=Egress(), among_themselves=True)
    assert enters(policies, STRANGER, 1, namespace="elsewhere", labels={})
    assert leaves(policies, STRANGER, METADATA, 80)


def test_a_port_that_a_kind_has_not_is_closed() -> None:
    assert not enters(built(9400), POD, 8000, namespace="system", labels={})


def test_pods_of_one_run_reach_each_other_and_dns() -> None:
    policies = built(among_themselves=True)
    for port in (29500, 41234, 9400):
        assert enters(policies, POD, port, namespace="team", labels=POD)
        assert not enters(policies, POD, port, namespace="team", labels=STRANGER)
        assert not enters(policies, POD, port, namespace="elsewhere", labels=POD)
        assert leaves(policies, POD, POD, port)
        assert not leaves(policies, POD, STRANGER, port)
        assert not leaves(policies, POD, "10.0.0.1", port)
    for protocol in ("UDP", "TCP"):
        assert leaves(policies, POD, "10.96.0.10", 53, protocol)
        assert leaves(policies, POD, "169.254.20.10", 53, protocol)


def test_only_fetch_jobs_reach_out() -> None:
    policies = built(fetch=Egress(("10.0.0.0/8", "fd00::/8")))
    assert len({policy["metadata"]["name"] for policy in policies}) == 2
    for open_ in ("8.8.8.8", "2001:db8::1", "192.168.1.1"):
        assert leaves(policies, FETCHER, open_, 443)
        assert not leaves(policies, POD, open_, 443)
        assert not leaves(policies, ENGINE, open_, 443)
    for closed in (METADATA, "fe80::1", "10.1.2.3", "fd12::1"):
        assert not leaves(policies, FETCHER, closed, 443)
    assert leaves(policies, FETCHER, "10.96.0.10", 53, "UDP")
    assert enters(policies, FETCHER, 9400, namespace="system", labels={})
    assert not enters(policies, FETCHER, 8000, namespace="system", labels={})
    assert not enters(policies, FETCHER, 9400, namespace="team", labels=POD)


@given(st.lists(st.ip_addresses().map(str)), st.ip_addresses().map(str))
def test_a_blocked_address_is_never_reached(blocked: list[str], other: str) -> None:
    policies = built(fetch=Egress(tuple(blocked)))
    assert not any(leaves(policies, FETCHER, address, 443) for address in blocked)
    link_local = ip_address(other).is_link_local
    assert leaves(policies, FETCHER, other, 443) == (other not in blocked and not link_local)


def test_what_is_no_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        built(fetch=Egress(("10.0.0.0/99",)))
