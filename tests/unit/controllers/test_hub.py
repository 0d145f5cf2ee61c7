"""A model of a hub: fetched once, its token in no other pod, its trouble shown where people look."""

import json

import pytest
from deepseek_operator.api.names import MODEL, Condition, Label, Reason
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.controllers.decision import Warning as WarningEvent
from deepseek_runtime.wire.job import JOB, FetchJob
from deepseek_runtime.wire.progress import Progress, Trouble

from tests.unit.controllers.builders import NAMESPACE, fetched
from tests.unit.controllers.world import World

TOKEN = {"tokenSecretRef": {"name": "hub", "key": "read"}}


def config(world: World) -> FetchJob:
    container = world.jobs("fetch")[0]["spec"]["template"]["spec"]["containers"][0]
    job = JOB.validate_json(next(item["value"] for item in container["env"] if item["name"] == "DEEPSEEK_JOB"))
    assert isinstance(job, FetchJob)
    return job


def working(world: World) -> World:
    """Its fetch Job at work."""
    world.held.add("fetch")
    return world.apply(fetched(**TOKEN)).settle()


def test_it_is_fetched_once_and_says_from_where() -> None:
    world = World().apply(fetched().variant("int8").evaluated()).settle()
    assert world.computed.count("fetch base") == 1
    status = world.status(MODEL, "base")
    assert status["phase"] == "Ready"
    assert status["revision"] == status["artifacts"][0]["revision"] == "c" * 40
    assert "revision" not in status["artifacts"][1]
    assert status["lineage"] == {"source": "huggingFace/tiny/model"}
    world.forget()
    world.settle()
    assert world.computed.count("fetch base") == 1
    assert world.status(MODEL, "base")["revision"] == "c" * 40


def test_another_revision_is_another_fetch() -> None:
    world = World().apply(fetched()).settle()
    world.apply(fetched(revision="v2")).settle()
    assert world.computed.count("fetch base") == 2


def test_the_token_is_a_file_of_the_fetch_pod_alone() -> None:
    world = World().apply(fetched(**TOKEN).variant("int8").evaluated()).settle()
    for job in world.of_kind("Job"):
        spec = job["spec"]["template"]["spec"]
        secrets = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
        assert "hub" not in json.dumps(spec["containers"][0]["env"]).replace("huggingface", "")
        if job["metadata"]["labels"][Label.WORK] != "fetch":
            assert secrets == []
            continue
        items = [{"key": "read", "path": "token"}]
        assert secrets == [{"secretName": "hub", "defaultMode": 0o440, "items": items}]
        (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["mountPath"] == "/token")
        assert mount["readOnly"] is True
    assert config(world).token_file == "/token/token"


def test_only_its_fetch_pods_reach_out() -> None:
    world = World().apply(fetched()).settle()
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in world.of_kind("NetworkPolicy")}
    assert policies["deepseekmodel-base"]["egress"] == []
    assert policies["deepseekmodel-base-fetch"]["podSelector"]["matchLabels"][Label.WORK] == "fetch"


@pytest.mark.parametrize(
    "said",
    [
        'MountVolume.SetUp failed for volume "volume-1" : secret "hub" not found',
        'MountVolume.SetUp failed for volume "volume-1" : references non-existent secret key: read',
    ],
)
def test_a_missing_secret_or_key(said: str) -> None:
    world = working(World())
    (pod,) = world.of_kind("Pod")
    pod["status"] = {"phase": "Pending"}
    world.warnings[pod["metadata"]["uid"]] = (WarningEvent("FailedMount", said, "2026-01-01T00:00:09Z"),)
    world.reconcile(Ref(MODEL, NAMESPACE, "base"))
    status, reason, message = world.condition(MODEL, "base", Condition.READY) or ("", "", "")
    assert (status, reason) == ("False", Reason.SECRET_MISSING)
    assert said in message
    assert "tokenSecretRef" in message


def test_progress_and_what_it_cannot_get_past() -> None:
    world = working(World())
    (pod,) = world.of_kind("Pod")
    name, identity = pod["metadata"]["name"], config(world).identity
    figures = {"identity": identity, "phase": "fetching ccccccc", "unit": "bytes", "done": 3 << 30, "total": 12 << 30}
    world.progress[name] = Progress(**figures, bytes_per_second=85.2 * 2**20, remaining_seconds=108.0)
    world.settle()
    assert world.status(MODEL, "base")["progress"] == {
        "work": "fetch base",
        "phase": "fetching ccccccc",
        "percent": 25,
        "remaining": "1m48s",
        "bytes": "3.0 GiB of 12.0 GiB",
        "speed": "85.2 MiB/s",
    }
    assert world.status(MODEL, "base")["phase"] == "Fetching"
    trouble = Trouble(reason="RateLimited", message="https://hub limits requests (429); it asks to wait 60 s")
    world.progress[name] = Progress(**figures, trouble=trouble)
    world.settle()
    status, reason, message = world.condition(MODEL, "base", Condition.READY) or ("", "", "")
    assert (status, reason) == ("False", Reason.RATE_LIMITED)
    assert message.startswith("https://hub limits requests (429); it asks to wait 60 s. It is tried again")
    world.progress[name] = Progress(**figures)
    world.settle()
    assert (world.condition(MODEL, "base", Condition.READY) or ())[1] == Reason.FETCHING


def test_more_storage_tries_a_fetch_that_did_not_fit_again() -> None:
    world = working(World())
    (job,) = world.jobs("fetch")
    world.end_pod(job["metadata"]["name"], 64)
    world.settle()
    assert world.status(MODEL, "base")["phase"] == "Failed"
    world.apply(fetched(**TOKEN).having("storage.size", "2Gi")).settle()
    assert len(world.jobs("fetch")) == 2
