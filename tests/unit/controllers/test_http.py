"""A model behind URLs: its digests are what it is."""

from deepseek_operator.api.names import MODEL, Condition, Reason
from deepseek_runtime.wire.job import JOB, FetchJob, HttpFile

from tests.unit.controllers.builders import Builder
from tests.unit.controllers.world import World

SHA = "ab" * 32


def model(**http: object) -> Builder:
    return Builder(MODEL, "base", {"source": {"http": http}, "storage": {"size": "1Gi"}})


def config(world: World) -> FetchJob:
    container = world.jobs("fetch")[0]["spec"]["template"]["spec"]["containers"][0]
    job = JOB.validate_json(next(item["value"] for item in container["env"] if item["name"] == "DEEPSEEK_JOB"))
    assert isinstance(job, FetchJob)
    return job


def test_files_get_the_names_of_their_urls() -> None:
    files = [{"url": "https://x/a/config.json?s=1", "sha256": SHA}, {"url": "https://x/1", "sha256": SHA, "path": "w"}]
    world = World().apply(model(files=files)).settle()
    assert world.status(MODEL, "base")["phase"] == "Ready"
    assert world.status(MODEL, "base")["lineage"] == {"source": "http/https://x/a/config.json"}
    http = config(world).http
    assert http is not None
    assert http.files == (
        HttpFile(url="https://x/a/config.json?s=1", sha256=SHA, path="config.json"),
        HttpFile(url="https://x/1", sha256=SHA, path="w"),
    )
    assert "deepseekmodel-base-fetch" in {policy["metadata"]["name"] for policy in world.of_kind("NetworkPolicy")}


def test_the_same_bytes_elsewhere_are_not_fetched_again() -> None:
    world = World().apply(model(archive={"url": "https://x/m.tar", "sha256": SHA})).settle()
    world.apply(model(archive={"url": "https://y/m.tar", "sha256": SHA})).settle()
    assert world.computed.count("fetch base") == 1
    world.apply(model(archive={"url": "https://y/m.tar", "sha256": "cd" * 32})).settle()
    assert world.computed.count("fetch base") == 2


def test_two_files_with_one_name() -> None:
    files = [{"url": f"https://{host}/config.json", "sha256": SHA} for host in "xy"]
    world = World().apply(model(files=files)).settle()
    status, reason, message = world.condition(MODEL, "base", Condition.READY) or ("", "", "")
    assert (status, reason) == ("False", Reason.INVALID_CONFIG)
    assert "'config.json' twice" in message
