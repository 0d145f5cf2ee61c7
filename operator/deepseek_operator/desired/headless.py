"""Headless Services: host names for the pods of a run, `<job>-<index>.<service>`."""

from deepseek_operator.api.names import Label
from deepseek_operator.desired.labels import Manifest, Owner

TRAIN = "train"


def headless_name(owner: Owner) -> str:
    """Of the Service of a run. Services' names begin with a letter (RFC 1035), those of runs may with a digit."""
    return f"run-{owner.name}"


def headless(owner: Owner) -> Manifest:
    """Names for all training pods of a run, ready or not: they look for each other before they can be ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(headless_name(owner), owner.labels("run")),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {Label.OWNER_UID: owner.uid, Label.WORK: TRAIN},
        },
    }
