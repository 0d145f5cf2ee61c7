"""Who may talk to the pods of a resource: NetworkPolicies, as long as the administrator wants the operator's."""

from collections.abc import Sequence
from dataclasses import dataclass

from deepseek_operator.controllers.attempts import remove
from deepseek_operator.controllers.decision import Child, Observed, Remove, Settings
from deepseek_operator.desired.labels import Manifest, Owner
from deepseek_operator.desired.networkpolicy import Egress, network_policies


@dataclass(frozen=True, slots=True)
class Isolation:
    """The policies that should be, and those that should no longer."""

    children: tuple[Child, ...]
    remove: tuple[Remove, ...]


def isolate(
    owner: Owner,
    ports: Sequence[int],
    observed: Observed,
    settings: Settings,
    *,
    among_themselves: bool = False,
    fetches: bool = False,
) -> Isolation:
    """Of a resource whose pods listen on `ports`.

    `among_themselves`: and that talk to each other; `fetches`: some of its Jobs reach out of the cluster.
    """
    wanted: tuple[Manifest, ...] = ()
    if settings.network_policies:
        egress = Egress() if fetches else None
        wanted = network_policies(owner, settings.namespace, ports, among_themselves=among_themselves, fetch=egress)
    names = {policy["metadata"]["name"] for policy in wanted}
    left = (obj for obj in observed.of_kind("NetworkPolicy") if obj["metadata"]["name"] not in names)
    why = "the pods need no such policy" if wanted else "the chart's value networkPolicies.enabled is false"
    return Isolation(
        tuple(Child(policy) for policy in wanted),
        tuple(removal for policy in left for removal in remove(policy, why)),
    )
