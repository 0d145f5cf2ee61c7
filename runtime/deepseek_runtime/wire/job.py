"""What the operator tells a Job: one JSON document in the environment, without any secret.

A runtime refuses a field that it does not know: work that leaves out what was asked would be sealed as if it had done
it. So that an operator still drives the runtime before it, a document leaves out what is at its default.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter

from deepseek_runtime.wire.base import WireModel
from deepseek_runtime.wire.paths import ARTIFACT, BASE, DATA, INPUT, OUTPUT
from deepseek_runtime.wire.verification import Allowed, Verification

ALGORITHMS: dict[str, int] = {
    "build": 2,
    "fetch": 1,
    "dataset": 1,
    "import": 1,
    "publish": 1,
    "quantize": 1,
    "export": 1,
    "export onnx int8": 2,
    "evaluate": 1,
    "compare": 1,
    "longcontext": 1,
    "task": 1,
    "benchmark": 1,
    "train": 1,
    "verify": 1,
    "sign": 1,
}
"""Raised by hand when the same recipe would give other bytes: part of the identity of work, unlike the image.

A format and type of export that changes alone has a number of its own, so that the others are not written again.
"""


def algorithm(kind: str, recipe: Mapping[str, object]) -> int | None:
    """The number of a recipe; None where the kind is none."""
    own = f"{kind} {recipe.get('format')} {recipe.get('type')}"
    return ALGORITHMS.get(own, ALGORITHMS.get(kind))


VERSION = 2
"""The newest version of a Job's document that this code reads. Runtimes of version 1 ignore fields they do not know."""


class _Job(WireModel):
    UNHEARD: ClassVar[frozenset[str]] = frozenset()
    """Fields that a runtime of version 1 would ignore: a document that says one of them is of version 2."""
    version: int = 1
    identity: str  # SHA-256 of inputs, recipe and algorithm; names the sealed result
    owner: str  # "<Kind>/<namespace>/<name>", for people who read logs
    credential: str | None = (
        None  # public key that requests to port 9400 are checked with; None: open (without a cluster)
    )
    output: str = OUTPUT

    def to_json(self) -> str:
        """Compact JSON in camelCase: what is not at its default, with the version that a reader of it needs."""
        fields = type(self).model_fields
        unheard = any(getattr(self, name) != fields[name].default for name in self.UNHEARD)
        head = {"version": VERSION if unheard else self.version, "kind": fields["kind"].default}
        said = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return json.dumps(head | said, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Tokenizer(WireModel):
    """A byte-level BPE tokenizer trained on text files (paths of files or directories)."""

    vocab_size: int
    text: tuple[str, ...]


class BuildJob(_Job):
    """Make a model with random weights and a tokenizer. `config` has the keys of the architecture's config.json."""

    kind: Literal["build"] = "build"
    architecture: str
    config: dict[str, Any]
    tokenizer: Tokenizer
    seed: int = 0


class ObjectStoreSource(WireModel):
    """The objects right below a prefix: `url` is s3://bucket/prefix, gs://bucket/prefix or az://container/prefix."""

    url: str
    endpoint: str | None = None
    region: str | None = None
    credentials: str | None = None  # the directory where the Secret's keys are files


class HttpFile(WireModel):
    """A file behind a URL, which its SHA-256 proves; `path` is what it is called on the volume."""

    url: str
    sha256: str
    path: str = ""


class HttpSource(WireModel):
    """Files, or one archive (tar, tar.gz or zip) with the model's folder in it."""

    files: tuple[HttpFile, ...] = ()
    archive: HttpFile | None = None


class OciSource(WireModel):
    """One manifest of a registry: `registry/repository:tag` or `@sha256:…`; `pull_secret` is a file with passwords."""

    reference: str
    plain_http: bool = False
    pull_secret: str | None = None


class FetchJob(_Job):
    """Copy a model from outside: from a repository of a hub, checked against its hashes, or from another source.

    Credentials are in files that only this pod has.
    """

    UNHEARD = frozenset({"verification"})
    kind: Literal["fetch"] = "fetch"
    endpoint: str | None = None  # of a hub, as are the next two
    repo: str | None = None
    revision: str | None = None
    object_store: ObjectStoreSource | None = None
    http: HttpSource | None = None
    oci: OciSource | None = None
    include: tuple[str, ...] = ()  # shell patterns; none: what the runtime reads
    exclude: tuple[str, ...] = ()
    token_file: str | None = None
    allowed_networks: tuple[str, ...] = ()  # CIDRs of private addresses that may be connected to
    storage_size: str | None = None  # of the volume, for messages
    verification: Verification | None = None  # what must be proven, or nothing is sealed
    allow: tuple[Allowed, ...] = ()


class DatasetJob(_Job):
    """Copy text from a dataset of a hub, checked against the hub's hashes. The token is in a file of this pod alone."""

    kind: Literal["dataset"] = "dataset"
    endpoint: str
    repo: str
    revision: str
    include: tuple[str, ...] = ()  # shell patterns; none: *.txt and *.jsonl in whatever folder
    exclude: tuple[str, ...] = ()
    token_file: str | None = None
    allowed_networks: tuple[str, ...] = ()  # CIDRs of private addresses that may be connected to
    storage_size: str | None = None  # of the volume, for messages


class ImportJob(_Job):
    """Copy a model from somebody's volume, which is mounted whole and read-only, once it has proven to be one."""

    UNHEARD = frozenset({"verification"})
    kind: Literal["import"] = "import"
    source: str = "the volume"  # "existingClaim/<claim>/<path>", for people
    input: str = INPUT  # not there when only what is sealed already is looked for
    path: str | None = None  # the model's folder on it; None: its root
    storage_size: str | None = None  # of the volume that is written, for messages
    verification: Verification | None = None  # what must be proven, or nothing is sealed
    allow: tuple[Allowed, ...] = ()


class PublishJob(_Job):
    """Copy a stage's sealed export to a volume of its own, checked against its manifest."""

    kind: Literal["publish"] = "publish"
    source: str | None = None  # "trainingRun/<name>/<stage>", for people
    input: str = INPUT  # not there when the run is gone: then only what is sealed already can be found
    input_digest: str


class Calibration(WireModel):
    """Text (paths of files or directories) that a quantization is calibrated with. Bounds as in the API."""

    text: tuple[str, ...]
    samples: int = Field(default=128, ge=1, le=8192)  # sequences, at most
    sequence_length: int = Field(default=512, ge=16, le=131072)


class QuantizeJob(_Job):
    """Write a copy in another stored form; the API's QuantizationSpec says what each scheme does."""

    UNHEARD = frozenset({"method", "scope", "calibration", "pods"})
    kind: Literal["quantize"] = "quantize"
    input: str = INPUT
    input_digest: str
    scheme: Literal["int8", "int4", "fp8", "fp8Block", "bf16"]
    method: Literal["weightOnly", "dynamic", "static", "roundToNearest", "gptq"] | None = None  # None: as in the API
    scope: Literal["all", "experts"] | None = None  # None: int4 of a mixture-of-experts model experts, else all
    group_size: int = Field(default=128, ge=1)  # inputs that share a scale, of int4
    ignore: tuple[str, ...] = ()  # shell patterns of module names that stay as they are
    calibration: Calibration | None = None  # of `static` and `gptq`, which need it
    pods: int = Field(default=1, ge=1, le=64)  # that share the files of a method without calibration


class ExportJob(_Job):
    """Write a model as one file of another engine's format; the API's GgufSpec and OnnxSpec say what a type stores."""

    kind: Literal["export"] = "export"
    input: str = INPUT
    input_digest: str
    format: Literal["gguf", "onnx"] = "gguf"
    type: Literal["f16", "q8_0", "q4_0", "float32", "int8"]  # the first three of gguf, the others of onnx
    calibration: Calibration | None = None  # of onnx in int8, which needs it


class EvaluateJob(_Job):
    """Measure a model on held-out text; the result lies in `output/<identity>/` beside the artifact."""

    kind: Literal["evaluate"] = "evaluate"
    input: str = INPUT
    input_digest: str
    text: tuple[str, ...]
    context_length: int
    max_tokens: int | None = None


class CompareJob(_Job):
    """Measure how far a variant's predictions are from its base's; the result lies beside that of the evaluation."""

    kind: Literal["compare"] = "compare"
    input: str = INPUT
    input_digest: str
    base: str = BASE
    base_digest: str
    text: tuple[str, ...]
    context_length: int
    max_tokens: int | None = None


class LongContextJob(_Job):
    """Measure the same tokens of held-out text after a long context and after a short one."""

    kind: Literal["longcontext"] = "longcontext"
    input: str = INPUT
    input_digest: str
    text: tuple[str, ...]
    tokens: int
    context_length: int  # the short one
    windows: int


class TaskJob(_Job):
    """Measure a model by a task file of lm-evaluation-harness and the documents beside it, in `folder`."""

    kind: Literal["task"] = "task"
    input: str = INPUT
    input_digest: str
    folder: str
    file: str
    limit: int | None = None  # documents, the first
    few_shot: int | None = None  # None: as the file says


class BenchmarkJob(_Job):
    """Measure the builtin engine with a model: requests of random tokens, all at once."""

    kind: Literal["benchmark"] = "benchmark"
    input: str = INPUT
    input_digest: str
    prompt_tokens: int
    output_tokens: int
    concurrency: int = 1


class VerifyJob(_Job):
    """Check a sealed model against what is asked of it now; the result lies in `output/<identity>/` beside it."""

    kind: Literal["verify"] = "verify"
    input: str = INPUT
    input_digest: str
    verification: Verification


class SignJob(_Job):
    """Sign a sealed artifact and where it comes from; the signature lies in `output/<identity>/` beside it.

    `input` is `artifact/` of its volume, with `result.json` beside it. `work` is what made it: kind, inputs, recipe and
    algorithm, whose digest is the identity of the sealed result.
    """

    kind: Literal["sign"] = "sign"
    input: str = f"{INPUT}/{ARTIFACT}"
    input_digest: str
    name: str  # what the signature calls the artifact
    work: dict[str, Any]
    key_file: str


class Hyperparameters(WireModel):
    """AdamW with linear warm-up and cosine decay; see the TrainingRun's reference for each."""

    learning_rate: float
    min_learning_rate_ratio: float
    warmup_steps: int
    batch_size: int  # sequences for each optimizer step, over all processes
    sequence_length: int
    weight_decay: float
    gradient_clip: float
    beta1: float
    beta2: float
    precision: Literal["bfloat16", "float32"]
    seed: int


class TrainJob(_Job):
    """One stage of a TrainingRun, on `processes` processes in each of `nodes` pods. `output` is the run's volume.

    Ends after `steps`, or after `epochs`: exactly one of them is given.
    """

    kind: Literal["train"] = "train"
    stage: str
    type: Literal["pretrain", "sft"] = "pretrain"
    input: str = INPUT
    input_digest: str
    data: tuple[str, ...]
    datasets: dict[str, str] = Field(default={})  # of `data`, the sealed ones with the digest of each
    hyperparameters: Hyperparameters
    steps: int | None = None
    epochs: int | None = None
    processes: int = 1
    nodes: int = 1
    rendezvous: str | None = None  # host:port of the first pod, where there are several; the next port is used as well
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    checkpoint_every_steps: int
    keep_checkpoints: int = 2


Beside = EvaluateJob | CompareJob | LongContextJob | TaskJob | BenchmarkJob | VerifyJob | SignJob
"""Jobs that read a sealed model and leave their results beside it, in `output/<identity>/`."""
Job = Annotated[
    BuildJob | FetchJob | DatasetJob | ImportJob | PublishJob | QuantizeJob | ExportJob | Beside | TrainJob,
    Field(discriminator="kind"),
]
JOB: TypeAdapter[Job] = TypeAdapter(Job)


def data_path(index: int, path: str = "") -> str:
    """Where data source number `index` is found in the pod."""
    return f"{DATA}/{index}/{path}".rstrip("/")
