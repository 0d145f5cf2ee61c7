"""`spec.source`: where the weights come from."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import ApiModel, DataSource, Name, ShortName, SubPath, rules
from deepseek_operator.api.deepseekmodel.remote_sources import HttpSource, ObjectStoreSource, OciSource

ArchitectureName = Literal["DeepSeekV3", "DeepSeekV2", "Llama"]


class TokenizerSpec(ApiModel):
    """A byte-level BPE tokenizer, trained on text of yours."""

    vocab_size: int = Field(
        default=4096, ge=320, le=262144, description="Tokens, the 256 bytes and special tokens among them."
    )
    text: list[DataSource] = Field(min_length=1, max_length=16, description="The text it is trained on.")


class ScratchSource(ApiModel):
    """A new model with random weights."""

    architecture: ArchitectureName = Field(
        description="The family: DeepSeekV3, DeepSeekV2 (both with latent attention and experts) or Llama."
    )
    config: dict[str, Any] = Field(
        default={},
        max_length=64,
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
        description="Keys of the architecture's config.json, for example hidden_size and n_routed_experts; a key that the architecture lacks is refused. vocab_size comes from the tokenizer.",
    )
    tokenizer: TokenizerSpec = Field(description="How text becomes tokens.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Of the random weights.")


class SecretKey(ApiModel):
    """One key of a Secret of this namespace."""

    name: str = Field(
        min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", description="The Secret."
    )
    key: str = Field(
        default="token", min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$", description="The key in its data."
    )


FilePattern = Annotated[str, Field(min_length=1, max_length=253)]


class HuggingFaceSource(ApiModel):
    """A repository of models on a hub. It is fetched once: the commit that the revision means is kept in the status."""

    repo: str = Field(
        max_length=200,
        pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*/[A-Za-z0-9][-._A-Za-z0-9]*$",
        description="For example deepseek-ai/DeepSeek-V2-Lite.",
    )
    revision: str = Field(
        default="main",
        min_length=1,
        max_length=255,
        pattern=r"^[A-Za-z0-9][-._/+A-Za-z0-9]*$",
        description="A branch, tag or commit. A branch that moves later changes nothing; name another revision to fetch it anew.",
    )
    endpoint: str = Field(
        default="https://huggingface.co",
        max_length=253,
        pattern=r"^https?://[A-Za-z0-9][-.A-Za-z0-9]*(:[0-9]{1,5})?(/[-._~/A-Za-z0-9]*)?$",
        description="The hub, or a mirror that speaks its protocol. Private addresses need the chart's value fetch.allowedNetworks.",
    )
    token_secret_ref: SecretKey | None = Field(
        default=None,
        description="The access token, for private and gated repositories. It is mounted into the fetch pod and goes to the endpoint alone.",
    )
    include: list[FilePattern] = Field(
        default=[],
        max_length=32,
        description="Shell patterns of files to fetch. Absent: weights in safetensors, configuration, tokenizer and chat template. Pickles and code are refused.",
    )
    exclude: list[FilePattern] = Field(
        default=[], max_length=32, description="Shell patterns of files that are left out, whatever include says."
    )


class TrainingRunSource(ApiModel):
    """The export of a TrainingRun of this namespace."""

    name: Name = Field(description="The TrainingRun.")
    stage: ShortName | None = Field(default=None, description="One of its stages. Absent: the last.")


class ExistingClaimSource(ApiModel):
    """A model that lies on a PersistentVolumeClaim of this namespace. It is copied once and never changed."""

    claim_name: str = Field(
        min_length=1,
        max_length=253,
        description="The PersistentVolumeClaim, mounted read-only by the pod that copies.",
    )
    path: SubPath | None = Field(
        default=None,
        description="The folder of the model: config.json, safetensors, tokenizer; other files are left there. Absent: the root. What was copied stays as it is, so put other weights at another path.",
    )


class ModelSource(ApiModel):
    """Where the weights come from: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.existingClaim), has(self.http), has(self.huggingFace), has(self.objectStore), has(self.oci), has(self.scratch), has(self.trainingRun)].filter(given, given).size() == 1",
                "exactly one of existingClaim, http, huggingFace, objectStore, oci, scratch and trainingRun must be given",
            )
        )
    )
    existing_claim: ExistingClaimSource | None = Field(default=None, description="Weights that lie on a volume.")
    http: HttpSource | None = Field(default=None, description="Files behind URLs, or an archive, with their SHA-256.")
    hugging_face: HuggingFaceSource | None = Field(default=None, description="A repository of a hub.")
    object_store: ObjectStoreSource | None = Field(
        default=None,
        description="Objects below a prefix in S3, Google Cloud Storage, Azure Blob Storage or what speaks their protocols.",
    )
    oci: OciSource | None = Field(default=None, description="An artifact or image of a registry.")
    scratch: ScratchSource | None = Field(default=None, description="A new model with random weights.")
    training_run: TrainingRunSource | None = Field(
        default=None,
        description="What a TrainingRun made. Once it is copied, the model needs the run no more; the volume of a deleted run stays until the ended publish Job is deleted, too.",
    )

    @property
    def remote(self) -> bool:
        """Whether the weights come from outside of the cluster."""
        return any(source is not None for source in (self.hugging_face, self.object_store, self.http, self.oci))
