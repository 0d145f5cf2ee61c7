"""Every name that others may rely on: group, kinds, labels, annotations, condition types, reasons."""

GROUP = "deepseek-operator.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

MODEL = "DeepSeekModel"
TRAINING = "TrainingRun"
SERVICE = "InferenceService"
PLURALS = {MODEL: "deepseekmodels", TRAINING: "trainingruns", SERVICE: "inferenceservices"}

FIELD_MANAGER = "deepseek-operator"
FINALIZER_IN_USE = f"{GROUP}/in-use"

MAX_NAME = 40
"""Longest name of a resource: with work, hash and attempt a pod's name still fits into a label."""


class Label:
    """Labels of children. A child is found by its owner's kind, name and, across namespaces, namespace."""

    MANAGED_BY = "app.kubernetes.io/managed-by"
    NAME = "app.kubernetes.io/name"  # what it is: the work, or "engine"
    OWNER_KIND = f"{GROUP}/owner-kind"
    OWNER_NAME = f"{GROUP}/owner-name"
    OWNER_NAMESPACE = f"{GROUP}/owner-namespace"
    OWNER_UID = f"{GROUP}/owner-uid"
    WORK = f"{GROUP}/work"  # build, fetch, import, publish, verify, quantize, export, sign, train, what measures
    IDENTITY = f"{GROUP}/identity"  # first 32 digits of the work's identity
    INDEX = "batch.kubernetes.io/job-completion-index"  # of pods of a Job that has several; set by Kubernetes
    SUBJECT = f"{GROUP}/subject"  # which part of the owner: base, a variant, a stage
    DIGEST = f"{GROUP}/digest"  # of pods that keep a copy: first 32 digits of the digest of what they keep
    VOLUME = f"{GROUP}/volume"  # of pods: hash of the claim they read, by which pods on one ReadWriteOnce claim meet


MANAGED_BY = "deepseek-operator"
SELECTOR = f"{Label.MANAGED_BY}={MANAGED_BY}"


class Annotation:
    """Annotations of children and, for RECONCILE, of resources."""

    RECONCILE = f"{GROUP}/reconcile"  # change it to have a resource looked at now: any change of a resource does
    APPLIED_HASH = f"{GROUP}/applied"  # of what was applied last: the planner's fast path
    TEMPLATE_HASH = f"{GROUP}/template"  # of a Job's pod template: a stuck or failed one is made anew when it changed
    STORAGE_SIZE = f"{GROUP}/storage-size"  # of a Job's pod template: what a Job had too little room for is another one
    VOLUME_HASH = f"{GROUP}/volume"  # of what a claim asks for but its size: one without a volume is made anew
    ATTEMPT = f"{GROUP}/attempt"
    LINEAGE = f"{GROUP}/lineage"  # of a base's claim: where the base came from, as JSON; it outlives source and status
    SERVING = (
        f"{GROUP}/serving"  # of a Deployment: the model, variant, digest and claim that its template runs, as JSON
    )


class Condition:
    """Types of conditions."""

    READY = "Ready"  # always there: the summary
    RECONCILING = "Reconciling"  # only when true
    STALLED = "Stalled"  # only when true: nothing goes on until somebody changes something
    ACQUIRED = "Acquired"  # model: the base revision is sealed and proven
    VERIFIED = "Verified"  # model with a verification: the base has proven all that is asked
    VARIANTS_READY = "VariantsReady"  # model with variants
    SIGNED = "Signed"  # model with signing: what is made here is signed
    EVALUATED = "Evaluated"  # model with an evaluation
    GATES_PASSED = "GatesPassed"  # model with a gate: no variant is blocked
    CACHED = "Cached"  # model with a cache: every wanted copy is ready; no part of Ready
    DELETION_BLOCKED = "DeletionBlocked"  # model: a service still runs on it
    STAGES_COMPLETE = "StagesComplete"  # run
    PROGRESS_REACHABLE = "ProgressReachable"  # false when a working pod does not answer
    MODEL_READY = "ModelReady"  # service
    ENGINE_READY = "EngineReady"  # service
    ROUTED = "Routed"  # service: the gateway has its route


class Reason:
    """Reasons of conditions and events. CamelCase, stable, few."""

    READY = "Ready"
    PENDING = "Pending"
    BUILDING = "Building"
    FETCHING = "Fetching"
    IMPORTING = "Importing"
    PUBLISHING = "Publishing"
    VERIFYING = "Verifying"
    QUANTIZING = "Quantizing"
    EXPORTING = "Exporting"
    SIGNING = "Signing"
    EVALUATING = "Evaluating"
    CACHING = "Caching"
    TRAINING = "Training"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    STARTING = "Starting"
    ROLLING_OUT = "RollingOut"
    SCALED_TO_ZERO = "ScaledToZero"
    WAITING_FOR_MODEL = "WaitingForModel"
    WAITING_FOR_TRAINING_RUN = "WaitingForTrainingRun"
    MODEL_NOT_FOUND = "ModelNotFound"
    VARIANT_NOT_FOUND = "VariantNotFound"
    VARIANT_NOT_SERVED = "VariantNotServed"
    TRAINING_RUN_NOT_FOUND = "TrainingRunNotFound"
    PATH_NOT_FOUND = "PathNotFound"
    UNREADABLE = "Unreadable"
    STAGE_NOT_FOUND = "StageNotFound"
    INVALID_CONFIG = "InvalidConfig"
    STORAGE_TOO_SMALL = "StorageTooSmall"
    NEEDS_SHARED_VOLUME = "NeedsSharedVolume"
    HEADS_NOT_DIVISIBLE = "HeadsNotDivisible"
    LAYERS_TOO_NARROW = "LayersTooNarrow"
    CONTEXT_TOO_LONG = "ContextTooLong"
    SIZING_UNKNOWN = "SizingUnknown"
    NO_CACHE_NODES = "NoCacheNodes"
    NOT_A_CACHE_NODE = "NotACacheNode"
    WORK_FAILED = "WorkFailed"
    DIGEST_MISMATCH = "DigestMismatch"
    SHAPE_MISMATCH = "ShapeMismatch"
    BAD_WEIGHTS = "BadWeights"
    BAD_TOKENIZER = "BadTokenizer"
    BAD_FILE = "BadFile"
    BAD_ARCHIVE = "BadArchive"
    MISSING_FILE = "MissingFile"
    UNSAFE_FILE = "UnsafeFile"
    UNSAFE_NAME = "UnsafeName"
    NOT_FINITE = "NotFinite"
    DISK_FULL = "DiskFull"
    MISSING_TEXT = "MissingText"
    EMPTY_TEXT = "EmptyText"
    TEXT_TOO_SHORT = "TextTooShort"
    BAD_TASK = "BadTask"
    BAD_DOCUMENTS = "BadDocuments"
    TOO_FEW_EXAMPLES = "TooFewExamples"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 a reason
    ACCESS_DENIED = "AccessDenied"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_UNREACHABLE = "SourceUnreachable"
    SOURCE_UNTRUSTED = "SourceUntrusted"
    INVALID_SOURCE = "InvalidSource"
    RATE_LIMITED = "RateLimited"
    REVISION_MOVED = "RevisionMoved"
    ADDRESS_REFUSED = "AddressRefused"
    VERIFICATION_FAILED = "VerificationFailed"
    SIGNATURE_INVALID = "SignatureInvalid"
    INVALID_KEY = "InvalidKey"
    UNSAFE_MODEL = "UnsafeModel"
    UNSAFE_TEMPLATE = "UnsafeTemplate"
    UNKNOWN_ARCHITECTURE = "UnknownArchitecture"
    UNSUPPORTED_QUANTIZATION = "UnsupportedQuantization"
    ALREADY_QUANTIZED = "AlreadyQuantized"
    UNSUPPORTED_EXPORT = "UnsupportedExport"
    UNFAITHFUL_EXPORT = "UnfaithfulExport"
    NEWER_VERSION = "NewerVersion"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    DEVICE_MISSING = "DeviceMissing"
    VOLUME_MISSING = "VolumeMissing"
    OUT_OF_MEMORY = "OutOfMemory"
    CRASHED = "Crashed"
    NODE_LOST = "NodeLost"
    QUOTA_EXCEEDED = "QuotaExceeded"
    FORBIDDEN = "Forbidden"
    UNREACHABLE = "Unreachable"
    GATE_BLOCKED = "GateBlocked"
    GATE_WARNED = "GateWarned"
    NAME_TAKEN = "NameTaken"
    REPAIRED = "Repaired"
    CREATED = "Created"
    REMOVED = "Removed"
    IN_USE = "InUse"
    TERMINATING = "Terminating"
