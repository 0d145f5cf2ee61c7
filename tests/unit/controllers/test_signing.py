"""What is made here is signed by a Job that alone has the key, and signing makes nothing again."""

import json

from deepseek_operator.api.names import MODEL
from deepseek_operator.controllers.decision import Ref
from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.job import JOB, SignJob
from deepseek_runtime.wire.result import JobResult, encode

from tests.unit.controllers.builders import NAMESPACE, Builder, fetched, imported, run, scratch, trained
from tests.unit.controllers.world import World


def signed(builder: Builder, name: str = "release", **more: str) -> Builder:
    return builder.having("signing", {"keySecretRef": {"name": name, **more}})


def config(job: dict[str, object]) -> SignJob:
    environment = job["spec"]["template"]["spec"]["containers"][0]["env"]  # type: ignore[index]
    found = JOB.validate_json(next(item["value"] for item in environment if item["name"] == "DEEPSEEK_JOB"))
    assert isinstance(found, SignJob)
    return found


def test_every_variant_is_signed_and_a_base_from_outside_is_not() -> None:
    world = World().apply(signed(imported().variant("int8").variant("more", ignore=["x"]).evaluated())).settle()
    assert sorted(work for work in world.computed if work.startswith("sign")) == ["sign int8", "sign more"]
    base, *variants = world.status(MODEL, "own")["artifacts"]
    assert "signature" not in base
    for artifact in variants:
        assert artifact["signature"]["path"] == f"evaluations/{artifact['signature']['identity']}/model.sig"
        assert artifact["scores"]
    assert world.condition(MODEL, "own", "Signed") == ("True", "Complete", "int8, more: signed.")
    computed = list(world.computed)
    world.forget()
    world.settle()
    assert world.computed == computed


def test_a_base_that_is_made_here_is_signed_too() -> None:
    world = World().apply(scratch(), run(), signed(trained())).settle()
    assert [work for work in world.computed if work.startswith("sign")] == ["sign base"]
    assert world.status(MODEL, "handbook")["artifacts"][0]["signature"]
    world = World().apply(signed(scratch())).settle()
    assert world.computed == ["build base", "sign base"]


def test_the_job_names_the_work_that_was_sealed() -> None:
    world = World().apply(signed(scratch().variant("int8"))).settle()
    identities = {artifact["name"]: artifact["identity"] for artifact in world.status(MODEL, "seed")["artifacts"]}
    for job in world.jobs("sign"):
        found = config(job)
        assert digest(found.work) == identities[found.name.rpartition("/")[2]]


def test_an_export_is_signed_with_its_format() -> None:
    world = World().apply(signed(imported().export("edge", "q4_0"))).settle()
    assert world.computed == ["import base", "export edge", "sign edge"]
    base, edge = world.status(MODEL, "own")["artifacts"]
    assert world.condition(MODEL, "own", "Signed") == ("True", "Complete", "edge: signed.")
    (job,) = world.jobs("sign")
    found = config(job)
    assert (found.input_digest, digest(found.work)) == (edge["digest"], edge["identity"])
    assert found.work["kind"] == "export"
    assert found.work["inputs"] == {"digest": base["digest"]}
    assert found.work["recipe"] == {"format": "gguf", "type": "q4_0"}
    world.apply(signed(imported().export("edge", "q8_0"))).settle()
    assert world.computed[3:] == ["export edge", "sign edge"]


def test_the_key_is_a_file_of_the_job_that_signs_alone() -> None:
    world = World().apply(signed(fetched().variant("int8").evaluated(), key="k")).settle()
    for job in world.of_kind("Job"):
        spec = job["spec"]["template"]["spec"]
        secrets = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
        if "-sign-" not in job["metadata"]["name"]:
            assert secrets == []
            continue
        assert secrets == [{"secretName": "release", "defaultMode": 0o440, "items": [{"key": "k", "path": "key.pem"}]}]
        assert "release" not in json.dumps(spec["containers"][0]["env"])
        mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
        assert mounts["/input"]["readOnly"]
        assert mounts["/output"]["subPath"] == "evaluations"


def test_another_key_signs_anew_and_makes_nothing_again() -> None:
    world = World().apply(scratch().variant("int8").evaluated()).settle()
    assert world.condition(MODEL, "seed", "Signed") is None
    before = list(world.computed)
    identities = set()
    for name in ("first", "second"):
        world.apply(signed(scratch().variant("int8").evaluated(), name)).settle()
        identities.add(world.status(MODEL, "seed")["artifacts"][1]["signature"]["identity"])
    assert len(identities) == 2
    assert [work for work in world.computed if not work.startswith("sign")] == before
    world.apply(scratch().variant("int8").evaluated()).settle()
    assert all("signature" not in artifact for artifact in world.status(MODEL, "seed")["artifacts"])


def test_a_volume_that_is_made_anew_is_signed_anew() -> None:
    world = World().apply(signed(scratch().variant("int8"))).settle()
    lost = world.status(MODEL, "seed")["artifacts"][1]["claim"]
    del world.objects[Ref("PersistentVolumeClaim", NAMESPACE, lost)]
    world.settle()
    assert world.computed == ["build base", "quantize int8", "sign base", "sign int8", "quantize int8", "sign int8"]
    assert world.status(MODEL, "seed")["artifacts"][1]["signature"]


def test_a_key_that_cannot_sign_is_told_and_holds_nothing_else() -> None:
    world = World()
    world.held = {"sign"}
    world.apply(signed(imported().variant("int8").evaluated())).settle()
    (job,) = world.jobs("sign")
    said = JobResult(
        kind="sign", identity="x", outcome="failed", reason="InvalidKey", message="It is no key. Make one."
    )
    world.end_pod(job["metadata"]["name"], 64, encode(said))
    world.settle()
    found = world.condition(MODEL, "own", "Signed")
    assert found is not None
    assert found[:2] == ("False", "InvalidKey")
    assert "sign int8 failed: It is no key. Make one." in found[2]
    assert world.condition(MODEL, "own", "Evaluated")[0] == "True"  # type: ignore[index]
    assert world.condition(MODEL, "own", "VariantsReady")[0] == "True"  # type: ignore[index]
