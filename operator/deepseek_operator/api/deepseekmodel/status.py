"""`status` of a DeepSeekModel: what is."""

from typing import Literal

from pydantic import Field

from deepseek_operator.api.base import ApiModel, CommonStatus
from deepseek_operator.api.cost import CostStatus
from deepseek_operator.api.deepseekmodel.architecture import ArchitectureStatus
from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus, Lineage
from deepseek_operator.api.deepseekmodel.cache import CacheStatus
from deepseek_operator.api.deepseekmodel.verification import VerificationStatus
from deepseek_operator.api.fit import SizingStatus


class NextStatus(ApiModel):
    """A base of another source, made beside the one that is there until it and its variants have proven themselves."""

    digest: str | None = Field(default=None, description="SHA-256 of its manifest, once it is sealed.")
    revision: str | None = Field(default=None, description="What its source was then.")
    size: str | None = Field(default=None, description="Of its files, for people.")
    architecture: ArchitectureStatus | None = Field(default=None, description="What its weights are.")
    artifacts: list[ArtifactStatus] = Field(
        default=[],
        max_length=17,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The base, then every variant as far as they have come.",
    )
    lineage: Lineage | None = Field(default=None, description="Where it came from.")
    verification: VerificationStatus | None = Field(default=None, description="What it has proven.")


class DeepSeekModelStatus(CommonStatus):
    """What is."""

    phase: (
        Literal[
            "Pending",
            "Building",
            "Fetching",
            "Importing",
            "Publishing",
            "Verifying",
            "Quantizing",
            "Exporting",
            "Signing",
            "Evaluating",
            "Updating",
            "Ready",
            "Blocked",
            "Failed",
            "Terminating",
        ]
        | None
    ) = Field(
        default=None,
        description="One word for people; programs read the conditions. Blocked: by a gate. Updating: what is there stays Ready while what replaces it is made.",
    )
    digest: str | None = Field(default=None, description="SHA-256 of the base's manifest.")
    revision: str | None = Field(
        default=None,
        description="What the source of the base was then: the hub's commit, the manifest's digest, a digest of what a store or server had, or of what was copied from a claim.",
    )
    size: str | None = Field(default=None, description="Of the base's files, for people.")
    architecture: ArchitectureStatus | None = Field(default=None, description="What the weights are.")
    artifacts: list[ArtifactStatus] = Field(
        default=[],
        max_length=17,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="The base, then every variant.",
    )
    lineage: Lineage | None = Field(default=None, description="Where the base came from.")
    verification: VerificationStatus | None = Field(
        default=None, description="What the base has proven of spec.verification; absent until it has proven all of it."
    )
    sizing: SizingStatus | None = Field(
        default=None,
        description="What the base and the sealed quantized variants take, and on which GPUs of the price sheet each fits.",
    )
    cache: CacheStatus | None = Field(default=None, description="The copies on nodes, where spec.cache asks for some.")
    cost: CostStatus | None = Field(default=None, description="What the Jobs of this model have used and cost.")
    next: NextStatus | None = Field(
        default=None,
        description="What replaces the base after its source has changed. All other fields speak of what is there, the conditions besides Ready of both.",
    )
