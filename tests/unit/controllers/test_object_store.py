"""A model in an object store: fetched once, its keys in no other pod."""

import json

from deepseek_operator.api.names import MODEL, Label
from deepseek_runtime.wire.job import JOB, FetchJob, ObjectStoreSource

from tests.unit.controllers.builders import stored
from tests.unit.controllers.world import World

SECRET = {"credentialsSecretRef": {"name": "store"}}


def config(world: World) -> FetchJob:
    container = world.jobs("fetch")[0]["spec"]["template"]["spec"]["containers"][0]
    job = JOB.validate_json(next(item["value"] for item in container["env"] if item["name"] == "DEEPSEEK_JOB"))
    assert isinstance(job, FetchJob)
    return job


def test_it_is_fetched_once_and_says_from_where() -> None:
    world = World().apply(stored(region="eu-west-1", endpoint="https://s3.example/").variant("int8")).settle()
    status = world.status(MODEL, "base")
    assert status["phase"] == "Ready"
    assert status["revision"] == "c" * 40
    assert status["lineage"] == {"source": "objectStore/s3://models/tiny"}
    expected = ObjectStoreSource(url="s3://models/tiny", region="eu-west-1", endpoint="https://s3.example")
    assert config(world).object_store == expected
    assert config(world).repo is None
    world.forget()
    world.settle()
    assert world.computed.count("fetch base") == 1


def test_the_keys_are_files_of_the_fetch_pod_alone() -> None:
    world = World().apply(stored(**SECRET).variant("int8").evaluated()).settle()
    for job in world.of_kind("Job"):
        spec = job["spec"]["template"]["spec"]
        secrets = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
        fetches = job["metadata"]["labels"][Label.WORK] == "fetch"
        assert secrets == ([{"secretName": "store", "defaultMode": 0o440}] if fetches else [])
        assert '"store"' not in json.dumps(spec["containers"])
    assert (config(world).object_store or ObjectStoreSource(url="")).credentials == "/token"


def test_only_its_fetch_pods_reach_out() -> None:
    world = World().apply(stored()).settle()
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in world.of_kind("NetworkPolicy")}
    assert policies["deepseekmodel-base"]["egress"] == []
    assert policies["deepseekmodel-base-fetch"]["podSelector"]["matchLabels"][Label.WORK] == "fetch"


def test_another_prefix_is_another_fetch() -> None:
    world = World().apply(stored()).settle()
    world.apply(stored(url="s3://models/v2")).settle()
    assert world.computed.count("fetch base") == 2
