"""Nothing is made of a base, trained on it or begun to be served with it before it has proven what is asked."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec
from deepseek_operator.api.names import MODEL, SERVICE, TRAINING, Annotation
from deepseek_operator.controllers.decision import Ref
from deepseek_operator.controllers.model_works import asked
from deepseek_runtime.wire.job import JOB, FetchJob, ImportJob
from deepseek_runtime.wire.result import JobResult, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.controllers.builders import NAMESPACE, Builder, fetched, imported, run, scratch, service
from tests.unit.controllers.test_properties import PATIENT
from tests.unit.controllers.world import World

KEY = "-----BEGIN PUBLIC KEY-----\n" + "A" * 124 + "\n-----END PUBLIC KEY-----\n"
SIGNED = {"signature": {"publicKey": KEY}}
PINNED = {"digest": "d" * 64, "files": [{"path": "config.json", "sha256": "e" * 64}]}
OWN, CHAT = Ref(MODEL, NAMESPACE, "own"), Ref(SERVICE, NAMESPACE, "chat")


def verified(asked: dict[str, Any] | None, builder: Builder | None = None) -> Builder:
    made = builder or imported()
    return made if asked is None else made.having("verification", asked)


def config(job: dict[str, Any]) -> Any:
    environment = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return JOB.validate_json(next(item["value"] for item in environment if item["name"] == "DEEPSEEK_JOB"))


def condition(world: World, type_: str = "Verified", kind: str = MODEL, name: str = "own") -> tuple[str, str, str]:
    found = world.condition(kind, name, type_)
    assert found is not None
    return found


def refuse(world: World, work: str, reason: str = "SignatureInvalid") -> None:
    """The newest Job of a work ends as the runtime ends it."""
    job = next(job for job in world.jobs(work) if not job.get("status", {}).get("conditions"))
    result = JobResult(
        kind=work, identity="x", outcome="failed", reason=reason, message="config.json: is bad. Mend it."
    )
    world.end_pod(job["metadata"]["name"], 65, encode(result))


@pytest.mark.parametrize("builder", [imported, lambda: fetched("own", exclude=["a*"])])
def test_the_job_that_brings_the_base_proves_it_and_no_other_is_needed(builder: Callable[[], Builder]) -> None:
    world = World().apply(verified({**PINNED, **SIGNED, "allow": ["AutoMap"]}, builder())).settle()
    assert [work.split()[0] for work in world.computed] in (["import"], ["fetch"])
    (job,) = world.of_kind("Job")
    document = config(job)
    assert isinstance(document, FetchJob | ImportJob)
    assert document.allow == ("AutoMap",)
    assert document.verification is not None
    assert document.verification.digest == "d" * 64
    assert document.verification.signature is not None
    assert document.verification.signature.exclude == (("a*",) if isinstance(document, FetchJob) else ())
    assert condition(world)[:2] == ("True", "Complete")
    assert world.status(MODEL, "own")["verification"]["files"] == 1
    world.forget()
    world.settle()
    assert len(world.computed) == 1
    assert condition(world)[0] == "True"


def test_nothing_is_asked_nothing_is_said() -> None:
    for asked_ in (None, {}, {"allow": ["AutoMap"]}):
        world = World().apply(verified(asked_)).settle()
        assert world.condition(MODEL, "own", "Verified") is None
        assert "verification" not in world.status(MODEL, "own")
        assert condition(world, "Ready")[0] == "True"


def test_a_refusal_seals_nothing_and_is_tried_again_when_what_is_asked_changes() -> None:
    world = World()
    world.held = {"import"}
    world.apply(verified(SIGNED).variant("int8"), service(model="own")).settle()
    assert condition(world)[:2] == ("False", "Pending")
    refuse(world, "import")
    world.settle()
    for type_ in ("Ready", "Acquired", "Verified"):
        assert condition(world, type_)[:2] == ("False", "SignatureInvalid")
        assert "config.json: is bad. Mend it." in condition(world, type_)[2]
    assert condition(world, "Stalled")[0] == "True"
    world.held = set()
    world.apply(verified(PINNED).variant("int8")).settle()
    assert world.computed == ["import base", "quantize int8"]
    assert condition(world, "Ready")[0] == "True"


def test_what_is_sealed_is_verified_anew_and_not_fetched_again() -> None:
    world = World().apply(imported().variant("int8").evaluated()).settle()
    before = world.status(MODEL, "own")["artifacts"]
    for question in (SIGNED, PINNED):
        world.apply(verified(question, imported().variant("int8").evaluated())).settle()
        assert condition(world)[0] == "True"
    assert [work for work in world.computed if work.startswith("verify")] == ["verify base"] * 2
    assert world.computed.count("import base") == 1
    assert world.status(MODEL, "own")["artifacts"] == before
    mounts = world.jobs("verify")[-1]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {mount["mountPath"]: mount["readOnly"] for mount in mounts if "subPath" in mount} == {
        "/input": True,
        "/output": False,
    }
    computed = list(world.computed)
    world.forget()
    world.settle()
    assert world.computed == computed
    assert condition(world)[0] == "True"


def test_a_sealed_base_that_fails_is_used_for_nothing_new() -> None:
    world = World().apply(imported().variant("int8")).settle()
    world.held = {"verify"}
    world.apply(verified(SIGNED, imported().variant("int8").variant("more", ignore=["x"]).evaluated())).settle()
    world.apply(service(model="own"), service("small", model="own", variant="int8"), run(base="own")).settle()
    assert world.status(MODEL, "own")["phase"] == "Verifying"
    assert condition(world, "ModelReady", SERVICE, "chat")[:2] == ("False", "WaitingForModel")
    refuse(world, "verify")
    world.settle()
    assert condition(world)[:2] == ("False", "SignatureInvalid")
    assert condition(world, "Stalled")[1] == "SignatureInvalid"
    assert world.status(MODEL, "own")["phase"] == "Failed"
    for kind, name in ((SERVICE, "chat"), (SERVICE, "small"), (TRAINING, "pretrain")):
        status, reason, message = condition(world, "Ready", kind, name)
        assert (status, reason) == ("False", "SignatureInvalid")
        assert "DeepSeekModel own is not verified" in message
    assert world.of_kind("Deployment") == world.jobs("train") == world.jobs("evaluate") == []
    assert world.computed == ["import base", "quantize int8"]
    assert [each["name"] for each in world.status(MODEL, "own")["artifacts"]] == ["base", "int8"], "it is kept"
    world.held = set()
    world.apply(imported().variant("int8")).settle()
    assert condition(world, "Ready", SERVICE, "small")[0] == "True"
    assert world.computed.count("quantize int8") == 1


def test_what_is_served_goes_on_and_says_so() -> None:
    world = World().apply(imported(), service(model="own")).settle()
    world.held = {"verify"}
    world.apply(verified(SIGNED)).settle()
    refuse(world, "verify")
    world.settle()
    assert len(world.of_kind("Deployment")) == 1
    assert condition(world, "Ready", SERVICE, "chat")[0] == "True"
    assert condition(world, "Stalled", SERVICE, "chat")[1] == "SignatureInvalid"


def test_whatever_ends_a_verification_is_told_to_who_waits_for_it() -> None:
    world = World().apply(imported()).settle()
    world.held = {"verify"}
    world.apply(verified(SIGNED), service(model="own")).settle()
    assert "is not verified yet: verify base is at work" in condition(world, "Ready", SERVICE, "chat")[2]
    refuse(world, "verify", "ExtraFile")
    world.settle()
    assert condition(world, "Stalled", SERVICE, "chat")[1] == "WorkFailed"
    assert "config.json: is bad. Mend it." in condition(world, "Ready", SERVICE, "chat")[2]


def test_a_service_reads_what_is_asked_now_and_not_what_was_proven_before() -> None:
    world = World().apply(verified(PINNED)).settle()
    world.held = {"verify"}
    world.apply(verified(SIGNED), service(model="own"))
    world.reconcile(CHAT)
    assert world.of_kind("Deployment") == []


def test_the_identity_of_what_makes_the_base_is_the_same_whatever_is_asked() -> None:
    identities = set()
    for question in (None, SIGNED, PINNED):
        world = World().apply(verified(question)).settle()
        identities.add(world.status(MODEL, "own")["artifacts"][0]["identity"])
    assert len(identities) == 1


def test_a_base_that_is_made_here_can_be_pinned() -> None:
    world = World().apply(scratch().having("verification", PINNED)).settle()
    assert world.computed == ["build base", "verify base"]
    assert condition(world, name="seed")[0] == "True"


def test_different_questions_have_different_identities() -> None:
    source = {"existingClaim": {"claimName": "a"}}
    questions: list[dict[str, Any]] = [PINNED, SIGNED, {"digest": "d" * 64}, {"digest": "f" * 64}]
    questions.append({"signature": {"publicKey": KEY, "file": "other.sig"}})
    found = [asked(DeepSeekModelSpec.model_validate({"source": source, "verification": each})) for each in questions]
    assert len({each.identity for each in found if each is not None}) == len(questions)
    spelled = {"signature": {"publicKey": KEY, "file": "model.sig"}, "allow": [], "files": []}
    plain = asked(DeepSeekModelSpec.model_validate({"source": source, "verification": spelled}))
    assert plain is not None
    assert found[1] is not None
    assert plain.identity == found[1].identity


SIGNER, ONE = "5" * 12, {"files": PINNED["files"]}


@pytest.mark.parametrize(
    ("question", "lost", "says"),
    [
        (SIGNED, (), f"signed by key {SIGNER} as tiny: as asked."),
        (SIGNED, ("signedName",), f"signed by key {SIGNER}: as asked."),
        (ONE, (), "1 file: as asked."),
        ({**PINNED, **SIGNED}, (), f"digest DIGEST, 1 file, signed by key {SIGNER} as tiny: as asked."),
        (SIGNED, ("signer", "signedName"), "digest DIGEST: as asked."),
    ],
)
def test_the_condition_names_what_was_proven(question: dict[str, Any], lost: tuple[str, ...], says: str) -> None:
    """Also where a proof names neither files nor a signer, as one that another version wrote may."""
    world = World().apply(verified(question)).settle()
    proof = world.objects[OWN]["status"]["verification"]
    for field in lost:
        del proof[field]
    world.reconcile(OWN)
    assert condition(world)[2] == says.replace("DIGEST", proof["digest"][:12])


QUESTIONS = [None, SIGNED, PINNED]


def _ask(index: int) -> Callable[[World], object]:
    return lambda world: world.apply(verified(QUESTIONS[index], imported().variant("int8")))


def _lose(ref: Ref) -> Callable[[World], object]:
    return lambda world: world.objects[ref].pop("status", None)


ACTIONS = st.one_of(
    st.integers(0, 2).map(_ask),
    st.sampled_from([OWN, CHAT]).map(_lose),
    st.sampled_from([OWN, CHAT]).map(lambda ref: lambda world: world.reconcile(ref)),
    st.just(lambda world: world._run_jobs()),
    st.just(lambda world: [world.drop(Ref.of(job)) for job in world.of_kind("Job")]),
    st.just(lambda world: world.step()),
)


@settings(PATIENT, max_examples=40)
@given(st.lists(ACTIONS, max_size=30))
def test_in_no_order_of_events_is_a_base_begun_to_be_served_that_has_not_proven_what_is_asked(
    actions: list[Callable[[World], object]],
) -> None:
    world = World().apply(verified(SIGNED, imported().variant("int8")), service(model="own", variant="int8"))
    carried_out = world._carry_out

    def served() -> str | None:
        annotations = [each["metadata"]["annotations"] for each in world.of_kind("Deployment")]
        return str(json.loads(annotations[0][Annotation.SERVING])["digest"]) if annotations else None

    def watched(manifest: Any, create_only: bool, adjust: Any) -> bool:
        before = served()
        wrote = carried_out(manifest, create_only, adjust)
        if manifest["kind"] == "Deployment" and served() != before:
            question = asked(DeepSeekModelSpec.model_validate(world.objects[OWN]["spec"]))
            proofs = [each.verification.asked for each in world.sealed.values() if each.verification is not None]
            assert question is None or question.identity in proofs
        return wrote

    world._carry_out = watched  # type: ignore[method-assign]
    for act in actions:
        act(world)
    world.settle(150)
    assert not world.step()
    assert condition(world, "Ready", SERVICE, "chat")[0] == "True"


def test_losses_while_it_is_verified_end_well() -> None:
    losses: list[Callable[[World], object]] = [
        _lose(OWN), lambda world: world.step(), lambda world: [world.drop(Ref.of(job)) for job in world.of_kind("Job")],
    ]  # fmt: skip
    for order in itertools.permutations(losses):
        world = World().apply(imported()).settle()
        world.held = {"verify"}
        world.apply(verified(SIGNED)).settle()
        for lose in order:
            lose(world)
        world.held = set()
        world.settle()
        assert world.computed == ["import base", "verify base"]
        assert condition(world, "Ready")[0] == "True"
