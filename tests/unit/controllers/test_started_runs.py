"""A run happens once: what has started goes on from what it started with, whatever becomes of the model."""

from deepseek_operator.api.names import MODEL, TRAINING
from deepseek_operator.controllers.decision import Object, Ref

from tests.unit.controllers.builders import NAMESPACE, run, scratch
from tests.unit.controllers.world import World


def training() -> tuple[World, Object]:
    """A run whose first stage is at work, and its Job."""
    world = World()
    world.held = {"train"}
    world.apply(scratch(), run()).settle()
    (job,) = world.jobs("train")
    return world, job


def gone(world: World) -> None:
    """The model goes without asking: its finalizer was removed by hand."""
    world.drop(Ref(MODEL, NAMESPACE, "seed"))


def other_weights() -> Object:
    """The model with another source."""
    return scratch().having("source.scratch.seed", 7).build()


def test_it_ends_well_though_its_model_is_gone() -> None:
    world, job = training()
    gone(world)
    assert world.settle().status(TRAINING, "pretrain")["phase"] == "Training"
    assert world.jobs("train") == [job]
    world.held = set()
    assert world.settle().status(TRAINING, "pretrain")["phase"] == "Complete"
    assert "base" not in world.status(TRAINING, "pretrain"), "nothing is held for what is complete"


def test_it_can_be_suspended_though_its_model_is_gone() -> None:
    world, job = training()
    gone(world)
    world.apply(run().having("suspend", True)).settle()
    assert job["spec"]["suspend"] is True
    assert world.status(TRAINING, "pretrain")["phase"] == "Suspended"


def test_it_goes_on_from_the_weights_of_before_and_these_stay_until_it_needs_them_no_more() -> None:
    world, job = training()
    held = world.status(TRAINING, "pretrain")["base"]
    world.apply(other_weights()).settle()
    sealed = world.status(MODEL, "seed")["artifacts"][0]
    assert (world.status(MODEL, "seed")["phase"], sealed["claim"] != held["claim"]) == ("Ready", True)
    assert world.jobs("train") == [job]
    assert Ref("PersistentVolumeClaim", NAMESPACE, held["claim"]) in world.objects
    world.held = set()
    assert world.settle().status(TRAINING, "pretrain")["phase"] == "Complete"
    assert world.computed.count("train pretrain") == 1
    assert Ref("PersistentVolumeClaim", NAMESPACE, held["claim"]) not in world.objects


def test_its_model_cannot_be_deleted_until_the_first_stage_is_complete() -> None:
    world, _ = training()
    world.delete(MODEL, "seed")
    world.settle()
    blocked = world.condition(MODEL, "seed", "DeletionBlocked")
    assert blocked is not None
    assert "TrainingRun pretrain" in blocked[2]
    world.held = set()
    world.settle()
    assert Ref(MODEL, NAMESPACE, "seed") not in world.objects
    assert world.status(TRAINING, "pretrain")["phase"] == "Complete"
