"""A stage that learns from a dataset of a hub: fetched once, before the stage, by the one pod that reaches out."""

import json

from deepseek_operator.api.names import TRAINING, Label, Reason
from deepseek_operator.controllers.decision import Object
from deepseek_runtime.wire.progress import Progress, Trouble
from deepseek_runtime.wire.result import JobResult, encode

from tests.unit.controllers.builders import Builder, run, scratch
from tests.unit.controllers.world import World

HUB = {"repo": "tiny/text", "tokenSecretRef": {"name": "hub"}}
SAME = {"huggingFace": HUB}
OTHER = {"huggingFace": {"repo": "tiny/other", "include": ["train*"]}}


def learning(*data: Object) -> Builder:
    builder = run(stages=("first", "second"))
    for stage in builder.spec["stages"]:
        stage["data"] = list(data)
    return builder


def told(job: Object) -> Object:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    document = next(entry["value"] for entry in container["env"] if entry["name"] == "DEEPSEEK_JOB")
    return dict(json.loads(document))


def mounts(job: Object) -> dict[str, Object]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


def test_it_is_fetched_once_and_read_by_every_stage_that_names_it() -> None:
    world = World().apply(scratch(), learning({"configMap": {"name": "text"}}, SAME, OTHER)).settle()
    assert world.condition(TRAINING, "pretrain", "Ready")[0] == "True"  # type: ignore[index]
    assert world.computed == ["build base", "dataset data", "dataset data", "train first", "train second"]
    shown = {each["repo"]: each for each in world.status(TRAINING, "pretrain")["datasets"]}
    assert {repo: (each["phase"], each["revision"], each["bytes"]) for repo, each in shown.items()} == {
        "tiny/text": ("Ready", "d" * 40, 4000),
        "tiny/other": ("Ready", "d" * 40, 4000),
    }
    for job in world.jobs("train"):
        config, mounted = told(job), mounts(job)
        assert config["data"] == ["/data/0", "/data/1", "/data/2"]
        assert config["datasets"] == {"/data/1": shown["tiny/text"]["digest"], "/data/2": shown["tiny/other"]["digest"]}
        for path, repo in (("/data/1", "tiny/text"), ("/data/2", "tiny/other")):
            assert mounted[path]["subPath"] == f"datasets/{shown[repo]['identity'][:32]}/artifact"
            assert mounted[path]["readOnly"] is True
    world.forget()
    world.settle()
    assert world.computed.count("dataset data") == 2, "what is sealed on the run's volume is found again"


def test_the_token_is_in_the_pod_that_fetches_and_nowhere_else() -> None:
    world = World().apply(scratch(), learning(SAME)).settle()
    (fetch,) = world.jobs("fetch")
    assert fetch["metadata"]["labels"][Label.OWNER_KIND] == TRAINING
    assert told(fetch)["tokenFile"] == "/token/token"
    assert mounts(fetch)["/input"]["readOnly"] is True
    for job in world.jobs("train"):
        assert not any("secret" in volume for volume in job["spec"]["template"]["spec"]["volumes"])
    policies = {policy["metadata"]["name"]: policy for policy in world.of_kind("NetworkPolicy")}
    assert policies["trainingrun-pretrain"]["spec"]["egress"] == []
    assert policies["trainingrun-pretrain-fetch"]["spec"]["podSelector"]["matchLabels"][Label.WORK] == "fetch"


def test_what_is_told_while_it_is_fetched() -> None:
    world = World()
    world.held = {"fetch"}
    world.apply(scratch(), learning(SAME)).settle()
    (fetch,) = world.jobs("fetch")
    status = world.status(TRAINING, "pretrain")
    assert status["phase"] == "Fetching"
    assert world.condition(TRAINING, "pretrain", "StagesComplete")[1] == Reason.FETCHING  # type: ignore[index]
    assert world.jobs("train") == []
    (pod,) = (pod for pod in world.of_kind("Pod") if pod["metadata"]["labels"][Label.WORK] == "fetch"
              and pod["metadata"]["ownerReferences"][0]["uid"] == fetch["metadata"]["uid"])  # fmt: skip
    limited = Trouble(reason="RateLimited", message="the hub limits requests (429)")
    world.progress[pod["metadata"]["name"]] = Progress(
        identity=told(fetch)["identity"], phase="fetching", unit="bytes", done=1 << 20, total=4 << 20, trouble=limited
    )
    world.settle()
    assert world.status(TRAINING, "pretrain")["progress"]["bytes"] == "1.0 MiB of 4.0 MiB"
    assert world.condition(TRAINING, "pretrain", "Ready")[1] == Reason.RATE_LIMITED  # type: ignore[index]
    world.get(TRAINING, "pretrain")["spec"]["suspend"] = True
    world.settle()
    assert world.jobs("fetch")[0]["spec"]["suspend"] is True
    assert world.status(TRAINING, "pretrain")["phase"] == "Suspended"


def test_a_fetch_that_failed_for_good_stalls_the_run() -> None:
    world = World()
    world.held = {"fetch"}
    world.apply(scratch(), learning(SAME)).settle()
    (fetch,) = world.jobs("fetch")
    message = "https://huggingface.co has no revision main of tiny/text (404). Correct repo or revision."
    result = JobResult(kind="dataset", identity="x", outcome="failed", reason="SourceNotFound", message=message)
    world.end_pod(fetch["metadata"]["name"], 64, encode(result))
    world.settle()
    stalled = world.condition(TRAINING, "pretrain", "Stalled")
    assert stalled is not None
    assert stalled[:2] == ("True", Reason.SOURCE_NOT_FOUND)
    assert "dataset tiny/text of stage first" in stalled[2]
    assert world.status(TRAINING, "pretrain")["lastFailure"]["message"].startswith(message)
    assert world.status(TRAINING, "pretrain")["datasets"][0]["phase"] == "Failed"
