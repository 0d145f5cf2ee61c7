"""TrainingRun: ordered stages, run once."""

from typing import Literal

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import (
    ApiModel,
    CommonStatus,
    DataSource,
    Figure,
    Name,
    PodSettings,
    ShortName,
    Storage,
    rules,
)
from deepseek_operator.api.deepseekmodel.source import FilePattern, HuggingFaceSource


class BaseModelReference(ApiModel):
    """The DeepSeekModel of this namespace that training starts from."""

    model: Name = Field(description="The DeepSeekModel; training waits until its base is sealed.")


class HubDataset(HuggingFaceSource):
    """Text from a dataset of a hub. It is fetched once, onto the run's own volume: checkpoint.storage must hold it."""

    repo: str = Field(
        max_length=200,
        pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*/[A-Za-z0-9][-._A-Za-z0-9]*$",
        description="The dataset, for example HuggingFaceH4/no_robots.",
    )
    include: list[FilePattern] = Field(
        default=[],
        max_length=32,
        description="Shell patterns of files to fetch, of the *.txt and *.jsonl files that the dataset has in whatever folder. Absent: all of them. Other formats are not read.",
    )


class StageData(DataSource):
    """Where a stage's data comes from: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.claim), has(self.configMap), has(self.huggingFace)].filter(given, given).size() == 1",
                "exactly one of claim, configMap and huggingFace must be given",
            )
        )
    )
    hugging_face: HubDataset | None = Field(default=None, description="A dataset of a hub.")


class HyperparametersSpec(ApiModel):
    """AdamW (Loshchilov and Hutter, 2019) with linear warm-up and cosine decay."""

    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="At the end of warm-up. Absent: 3e-4 for pretrain, 2e-5 for sft."
    )
    min_learning_rate_ratio: float = Field(default=0.1, ge=0, le=1, description="What is left of it at the last step.")
    warmup_steps: int | None = Field(
        default=None,
        ge=0,
        description="Steps from zero to the full learning rate. Absent: 100 for pretrain, 10 for sft.",
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        le=65536,
        description="Sequences for each optimizer step, over all processes. Of sft every sequence is packed with as many examples as fit.",
    )
    sequence_length: int = Field(
        default=256,
        ge=8,
        le=131072,
        description="Tokens in one sequence. An example of sft that is longer ends with its last answer that fits; if none fits, it is left out.",
    )
    weight_decay: float = Field(default=0.1, ge=0, le=1, description="Of matrices; vectors have none.")
    gradient_clip: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Decay of the mean of gradients.")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="Decay of the mean of their squares.")
    precision: Literal["bfloat16", "float32"] = Field(
        default="bfloat16",
        description="Of the matrix products, but for those of routed experts on CPUs; weights and optimizer are float32.",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Of the order of the data.")


class Until(ApiModel):
    """When the stage ends: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.steps) != has(self.epochs)", "exactly one of steps and epochs must be given")
        )
    )
    steps: int | None = Field(default=None, ge=1, le=100_000_000, description="Optimizer steps.")
    epochs: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="How often all the data is met. The status shows the steps as soon as the pod has read the data.",
    )


class StageSpec(ApiModel):
    """One stage."""

    name: ShortName = Field(description="What the status and a DeepSeekModel's source call it.")
    type: Literal["pretrain", "sft"] = Field(
        description="pretrain: next-token prediction on plain text. sft: supervised fine-tuning on examples, which learns their answers only."
    )
    data: list[StageData] = Field(
        min_length=1,
        max_length=16,
        description='For pretrain text files, in directories *.txt. For sft JSON lines, in directories *.jsonl, each {"messages": [{"role": …, "content": …}, …]} or {"prompt": …, "completion": …}.',
    )
    hyperparameters: HyperparametersSpec = Field(default=HyperparametersSpec(), description="How it learns.")
    until: Until = Field(description="When it ends.")


class TrainingParallelism(ApiModel):
    """How the model is spread over all processes."""

    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        default="auto",
        description="ddp: every process holds the whole model, only gradients are exchanged. fsdp: every process holds its share of parameters, gradients and optimizer state (FSDP2). auto: fsdp from 1e9 parameters.",
    )


class ComputeSpec(PodSettings):
    """The pods that train. They see the same batches and learn the same, however many they are, but for rounding."""

    nodes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Pods. Several need volumes that are ReadWriteMany: checkpoint.storage, and the base model's storage. When one is lost, the others wait for its successor, and all go on from the newest checkpoint.",
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes (torchrun) in each pod, each with its share of every batch: one for each GPU, or one for each CPU core.",
    )
    parallelism: TrainingParallelism = Field(
        default=TrainingParallelism(), description="How the model is spread over all processes."
    )


class CheckpointSpec(ApiModel):
    """What survives a killed pod."""

    every_steps: int = Field(default=200, ge=1, description="Steps between two checkpoints.")
    keep: int = Field(default=2, ge=1, le=100, description="How many are kept.")
    storage: Storage = Field(default=Storage(), description="The run's own volume: checkpoints and exports.")


class PublishSpec(ApiModel):
    """What is made of the last stage's export."""

    model: Name = Field(
        description="A DeepSeekModel of this name is created with this run as its source, if there is none. It is never edited, and stays when the run goes."
    )
    storage: Storage = Field(default=Storage(), description="Its volumes.")


class TrainingRunSpec(ApiModel):
    """What is wanted. A run happens once: what it learns from cannot be changed, only whether it goes on."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.base == oldSelf.base && self.stages == oldSelf.stages",
                "a run happens once: base and stages cannot be changed; make a new TrainingRun",
            ),
            (
                "self.stages.all(stage, stage.hyperparameters.batchSize % (self.compute.nodes * self.compute.processes) == 0)",
                "batchSize must be a multiple of compute.nodes times compute.processes",
            ),
        )
    )
    base: BaseModelReference = Field(description="What training starts from.")
    stages: list[StageSpec] = Field(
        min_length=1,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Run in this order, each on the result of the one before.",
    )
    compute: ComputeSpec = Field(
        default=ComputeSpec(),
        description="The pods that train. A change reaches the next stage, and one that is suspended or stuck; one that is at work keeps what it has.",
    )
    checkpoint: CheckpointSpec = Field(default=CheckpointSpec(), description="What survives a killed pod.")
    publish: PublishSpec | None = Field(default=None, description="What is made of the last stage's export.")
    suspend: bool = Field(
        default=False, description="True: stop after writing a checkpoint, and hold no machine until it is false again."
    )


class ExamplesStatus(ApiModel):
    """What was found in a stage's data."""

    total: int = Field(description="Examples in all.")
    cut: int = Field(description="Longer than sequenceLength: they end with the last answer that fits.")
    left_out: int = Field(description="Left out, since not even their first answer fits.")


class StageStatus(ApiModel):
    """One stage."""

    name: str = Field(description="The stage.")
    phase: Literal["Pending", "Running", "Suspended", "Complete", "Failed"] = Field(description="Where it stands.")
    identity: str = Field(description="Of its work: its inputs, recipe and algorithm.")
    step: int = Field(default=0, description="Optimizer steps done, at most 15 s old.")
    steps: int | None = Field(
        default=None, description="Steps in all; of a stage that counts epochs, once its data is read."
    )
    loss: Figure | None = Field(default=None, description="Training loss of the last step shown.")
    tokens_per_second: Figure | None = Field(default=None, description="Over all processes.")
    remaining: str | None = Field(default=None, description="Time left, for example 3m20s.")
    restarts: int = Field(
        default=0,
        description="Pods that failed and were replaced; lastFailure names the last one. Pods that were evicted or preempted do not count.",
    )
    checkpoint_step: int | None = Field(default=None, description="Step of the newest checkpoint.")
    examples: ExamplesStatus | None = Field(default=None, description="Of sft: what was found in the data.")
    digest: str | None = Field(default=None, description="SHA-256 of the export's manifest.")
    bytes: int | None = Field(default=None, description="Size of the export.")
    seconds: Figure | None = Field(default=None, description="Of training, over all pods.")
    image: str | None = Field(default=None, description="The image that finished it.")


class DatasetStatus(ApiModel):
    """One dataset of a hub."""

    repo: str = Field(description="The dataset.")
    identity: str = Field(description="Of the work that fetches it: repository, revision, endpoint and patterns.")
    phase: Literal["Fetching", "Ready", "Failed"] = Field(description="Where it stands; Ready is sealed.")
    revision: str | None = Field(default=None, description="The commit that was fetched.")
    digest: str | None = Field(default=None, description="SHA-256 of its manifest.")
    bytes: int | None = Field(default=None, description="Size of its files.")


class StartStatus(ApiModel):
    """The base as a run has found it."""

    digest: str = Field(description="SHA-256 of its manifest.")
    claim: str = Field(description="The volume that it lies on.")
    one_node: bool = Field(description="Whether that can be used on one node at a time.")


class TrainingRunStatus(CommonStatus):
    """What is."""

    phase: Literal["Pending", "Fetching", "Training", "Suspended", "Complete", "Failed", "Terminating"] | None = Field(
        default=None, description="One word for people; programs read the conditions."
    )
    stage: str | None = Field(default=None, description="The stage at work, or the last.")
    percent: int | None = Field(
        default=None,
        description="Of all steps of all stages; absent while one counts epochs and has not read its data.",
    )
    base: StartStatus | None = Field(
        default=None,
        description="What the first stage has started from. Until that is complete the run goes on with it, whatever becomes of the model, and its volume is kept.",
    )
    stages: list[StageStatus] = Field(
        default=[],
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Every stage.",
    )
    datasets: list[DatasetStatus] = Field(
        default=[],
        max_length=128,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["identity"]},
        description="Datasets of hubs, as far as stages have needed them.",
    )
    claim: str | None = Field(default=None, description="The run's own volume.")
    published_model: str | None = Field(default=None, description="The DeepSeekModel that holds the result.")
