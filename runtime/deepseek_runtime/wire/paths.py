"""Where volumes are mounted in pods, and what lies where on them.

An artifact volume holds `artifact/` (the model, sealed by `result.json` beside it) and `evaluations/<identity>/`, in
each a `result.json` and, of a mixture-of-experts model's evaluation, the whole table of its routing.
A run's volume holds `checkpoints/<stage>/`, `stages/<stage>/` and `datasets/<identity>/`, the latter two laid out like
artifact volumes.
"""

OUTPUT = "/output"  # the volume that the Job writes: an artifact volume, or a run's volume
INPUT = "/input"  # a sealed model, read-only
BASE = "/base"  # the sealed base that a variant is compared with, read-only
DATA = "/data"  # /data/<index>: one mount for each data source, read-only
MODEL = "/model"  # the sealed model that an engine serves, read-only
CACHE = "/cache"  # copies on the node's own disk: written by the pods that keep them, read-only in engines
TOKEN = "/token"  # noqa: S105 the Secret that a fetch authenticates with: a directory that no other pod has
SIGNING = "/signing"  # the Secret with the key that a sign Job signs with: a directory that no other pod has
SCRATCH = "/tmp"  # noqa: S108 an emptyDir; HOME and every cache lie in it

ARTIFACT = "artifact"
EVALUATIONS = "evaluations"
CHECKPOINTS = "checkpoints"
STAGES = "stages"
DATASETS = "datasets"
RESULT_FILE = "result.json"
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "model.sig"  # in evaluations/<identity>/: the signature of the artifact, its provenance in it
PROVENANCE_FILE = "provenance.sigstore.json"  # beside it: the provenance alone, signed by the same key
KEY_FILE = "key.pem"
TOKEN_FILE = "token"  # noqa: S105 a file's name

TERMINATION_LOG = "/dev/termination-log"

JOB_ENVIRONMENT = "DEEPSEEK_JOB"  # a Job's configuration as JSON
SERVE_ENVIRONMENT = "DEEPSEEK_SERVE"  # an engine's configuration as JSON
CACHE_ENVIRONMENT = "DEEPSEEK_CACHE"  # as JSON, of a pod that keeps a copy on its node
IMAGE_ENVIRONMENT = "DEEPSEEK_IMAGE"  # the image that the pod runs, for provenance

INDEX_ENVIRONMENT = "JOB_COMPLETION_INDEX"  # which of a Job's pods this is; set by Kubernetes, absent: the only one

RENDEZVOUS_PORT = 29400  # where the first pod of a run waits for the others; torch.distributed's store has the next
STATUS_PORT = 9400  # progress and metrics of every pod
PROGRESS_PATH = "/progress"
METRICS_PATH = "/metrics"
READY_PATH = "/readyz"
ENGINE_PORT = 8000  # an engine's OpenAI-compatible API
GATEWAY_PORT = 8080
