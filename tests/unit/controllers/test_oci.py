"""A model of a registry: pulled once, its password in no other pod."""

import json

from deepseek_operator.api.names import MODEL, Label
from deepseek_runtime.wire.job import JOB, FetchJob, OciSource

from tests.unit.controllers.builders import Builder
from tests.unit.controllers.world import World

REFERENCE = "registry.example/models/tiny:v1"


def model(**more: object) -> Builder:
    source = {"oci": {"reference": REFERENCE, **more}}
    return Builder(MODEL, "base", {"source": source, "storage": {"size": "1Gi"}})


def config(world: World) -> FetchJob:
    container = world.jobs("fetch")[0]["spec"]["template"]["spec"]["containers"][0]
    job = JOB.validate_json(next(item["value"] for item in container["env"] if item["name"] == "DEEPSEEK_JOB"))
    assert isinstance(job, FetchJob)
    return job


def test_it_is_fetched_once_and_says_from_where() -> None:
    world = World().apply(model()).settle()
    assert world.status(MODEL, "base")["phase"] == "Ready"
    assert world.status(MODEL, "base")["lineage"] == {"source": f"oci/{REFERENCE}"}
    assert config(world).oci == OciSource(reference=REFERENCE)
    world.forget()
    world.settle()
    assert world.computed.count("fetch base") == 1
    assert "deepseekmodel-base-fetch" in {policy["metadata"]["name"] for policy in world.of_kind("NetworkPolicy")}


def test_the_password_is_a_file_of_the_fetch_pod_alone() -> None:
    world = World().apply(model(pullSecretRef={"name": "pull"}).variant("int8")).settle()
    items = [{"key": ".dockerconfigjson", "path": ".dockerconfigjson"}]
    for job in world.of_kind("Job"):
        spec = job["spec"]["template"]["spec"]
        secrets = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
        fetches = job["metadata"]["labels"][Label.WORK] == "fetch"
        assert secrets == ([{"secretName": "pull", "defaultMode": 0o440, "items": items}] if fetches else [])
        assert '"pull"' not in json.dumps(spec["containers"])
    assert config(world).oci == OciSource(reference=REFERENCE, pull_secret="/token/.dockerconfigjson")
