"""Who a child belongs to: labels, owner reference, and the name under which its pods are addressed."""

from dataclasses import dataclass
from typing import Any

from deepseek_runtime.wire import credential
from deepseek_runtime.wire.base import digest

from deepseek_operator.api.names import MANAGED_BY, Label

Manifest = dict[str, Any]

_VOLUME_DIGITS = 16
_IDENTITY_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that children are made for."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, resource: Manifest) -> "Owner":
        """The owner that a resource is."""
        meta = resource["metadata"]
        return cls(resource["apiVersion"], resource["kind"], meta["namespace"], meta["name"], meta["uid"])

    @property
    def path(self) -> str:
        """For people who read logs."""
        return f"{self.kind}/{self.namespace}/{self.name}"

    @property
    def workload(self) -> str:
        """Whose key requests to the pods are signed with."""
        return credential.workload(self.kind, self.namespace, self.name, self.uid)

    def public_key(self, master: bytes) -> str:
        """What the pods check requests with."""
        return credential.public_key(master, self.workload)

    def labels(self, name: str, **more: str) -> dict[str, str]:
        """Labels of a child; `name` says what it is. The engine room finds children by the owner's."""
        return {
            Label.MANAGED_BY: MANAGED_BY,
            Label.NAME: name,
            Label.OWNER_KIND: self.kind,
            Label.OWNER_NAME: self.name,
            Label.OWNER_NAMESPACE: self.namespace,
            Label.OWNER_UID: self.uid,
            **more,
        }

    def metadata(self, name: str, labels: dict[str, str]) -> Manifest:
        """Metadata of a child in the owner's namespace, which goes when the owner goes."""
        reference = {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        return {"name": name, "namespace": self.namespace, "labels": labels, "ownerReferences": [reference]}


def work_labels(work: str, subject: str, identity: str) -> dict[str, str]:
    """Labels of a Job and its pods: what is done, for which part of the owner, and the identity of it."""
    return {Label.WORK: work, Label.SUBJECT: subject, Label.IDENTITY: identity[:_IDENTITY_DIGITS]}


def identity_label(identity: str) -> str:
    """An identity as far as a label holds it."""
    return identity[:_IDENTITY_DIGITS]


def digest_label(digest: str) -> str:
    """A digest as far as a label holds it."""
    return digest[:_IDENTITY_DIGITS]


def volume_label(claim: str) -> str:
    """A claim's name as a label value, which may be shorter than the name."""
    return digest(claim)[:_VOLUME_DIGITS]
