"""NetworkPolicies over the life of resources: one for each, none where the administrator wants none."""

import dataclasses

from deepseek_operator.api.names import Label

from tests.unit.controllers.builders import scratch, service
from tests.unit.controllers.world import World

NAMES = ["deepseekmodel-seed", "inferenceservice-seed"]


def names(world: World) -> list[str]:
    return sorted(policy["metadata"]["name"] for policy in world.of_kind("NetworkPolicy"))


def test_resources_of_one_name_have_a_policy_each_that_selects_their_own_pods() -> None:
    world = World().apply(scratch(), service("seed", model="seed")).settle()
    assert names(world) == NAMES
    for policy in world.of_kind("NetworkPolicy"):
        uid = policy["metadata"]["labels"][Label.OWNER_UID]
        assert policy["spec"]["podSelector"] == {"matchLabels": {Label.OWNER_UID: uid}}
    (engine,) = world.of_kind("Deployment")
    job = world.of_kind("Job")[0]
    for kind, pods in (("DeepSeekModel", job), ("InferenceService", engine)):
        (policy,) = (p for p in world.of_kind("NetworkPolicy") if p["metadata"]["labels"][Label.OWNER_KIND] == kind)
        wanted = policy["spec"]["podSelector"]["matchLabels"].items()
        assert wanted <= pods["spec"]["template"]["metadata"]["labels"].items()


def test_they_go_when_they_are_switched_off_and_come_back() -> None:
    world = World().apply(scratch(), service("seed", model="seed")).settle()
    on = world.settings
    world.settings = dataclasses.replace(on, network_policies=False)
    world.settle()
    assert names(world) == []
    assert sorted(ref.name for ref in world.removed) == NAMES
    world.settings = on
    world.settle()
    assert names(world) == NAMES
