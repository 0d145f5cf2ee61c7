"""What to do about everything that can go wrong: one sentence for each reason that a failure or a stall can have."""

from deepseek_operator.api.names import Reason

REMEDIES: dict[str, str] = {
    Reason.IMAGE_PULL_FAILED: (
        "Check that the image exists and that the node may pull it: the chart's value runtime.image, and "
        "imagePullSecrets of the resource."
    ),
    Reason.UNSCHEDULABLE: (
        "Lower the requests under resources, change nodeSelector or tolerations, or add a node that has room."
    ),
    Reason.DEVICE_MISSING: (
        "Ask for fewer of it under resources, add a node that has it free, or install its device plugin: `kubectl "
        "describe nodes` shows what each node has and what is taken."
    ),
    Reason.NEEDS_SHARED_VOLUME: (
        "A ReadWriteOnce volume keeps all its pods on one node: give a model storage.accessModes [ReadWriteMany] "
        "before its volumes are made, or ask for fewer or smaller pods; the claim of a model's cache keeps them on its "
        "nodes."
    ),
    Reason.NO_CACHE_NODES: "Give nodes the labels of cache.pods.nodeSelector, or change it.",
    Reason.NOT_A_CACHE_NODE: (
        "Give cache.pods.nodeSelector the labels of the nodes that the PersistentVolume of cache.claimName is for."
    ),
    Reason.VOLUME_MISSING: (
        "Create what is named, or correct its name in the resource; a volume needs a storage class that exists: "
        "`kubectl get storageclass`."
    ),
    Reason.OUT_OF_MEMORY: "Raise resources.limits.memory, or make the model, the batch or the cache smaller.",
    Reason.SECRET_MISSING: (
        "Create the Secret with that key, or correct the field that names it (tokenSecretRef, credentialsSecretRef, "
        "pullSecretRef or signing.keySecretRef); the pod then starts by itself."
    ),
    Reason.ACCESS_DENIED: (
        "Accept the model's licence on the hub with the token's account, or use credentials that may read it."
    ),
    Reason.SOURCE_NOT_FOUND: "Correct what the source names, or its endpoint.",
    Reason.SOURCE_UNREACHABLE: (
        "It is tried again and goes on where it stopped. Check the source's endpoint, and that the cluster lets fetch "
        "pods out."
    ),
    Reason.SOURCE_UNTRUSTED: "Use an endpoint whose certificate a public authority has signed.",
    Reason.INVALID_SOURCE: "Correct the source: its endpoint must speak the protocol that is asked for.",
    Reason.RATE_LIMITED: (
        "It is tried again when the source allows it. A token in tokenSecretRef, or a mirror as the endpoint, has "
        "higher limits."
    ),
    Reason.REVISION_MOVED: "Delete the PersistentVolumeClaim and the Job to fetch what the revision is now.",
    Reason.ADDRESS_REFUSED: (
        "Ask the administrator to allow the mirror's network by the chart's value fetch.allowedNetworks."
    ),
    Reason.VERIFICATION_FAILED: "Name the source that spec.verification means, or correct spec.verification.",
    Reason.SIGNATURE_INVALID: "Name an intact source, have it signed anew, or correct spec.verification.signature.",
    Reason.INVALID_KEY: "Give a key of the curve P-256, P-384 or P-521 in PEM.",
    Reason.UNSAFE_TEMPLATE: (
        "Name a source with another template, or allow UnsafeTemplate in verification.allow: it stays in its sandbox."
    ),
    Reason.UNSAFE_MODEL: "Name a repository with safetensors, and exclude what can run code.",
    Reason.UNKNOWN_ARCHITECTURE: "Name a model of the families DeepSeek-V3, DeepSeek-V2 or Llama.",
    Reason.UNSUPPORTED_QUANTIZATION: "Name a repository or revision with plain weights.",
    Reason.ALREADY_QUANTIZED: "Make the variant of a model with plain weights, or drop it.",
    Reason.UNSUPPORTED_EXPORT: "Drop the export, or export a model without what the message names.",
    Reason.UNFAITHFUL_EXPORT: (
        "Calibrate int8 with more text, and such as the model will see, or take type float32, or export.gguf."
    ),
    Reason.SIZING_UNKNOWN: (
        "Where an older runtime sealed the base, it is read anew, and nothing is computed again, after `kubectl delete "
        "jobs -l deepseek-operator.io/owner-name=NAME,deepseek-operator.io/subject=base` and then `kubectl patch dsm "
        'NAME --subresource=status --type=merge -p \'{"status":{"architecture":null}}\'`; for other attention than '
        "latent, compressed and grouped-query there is no sizing."
    ),
    Reason.NEWER_VERSION: "Give the chart a runtime image as new as its operator.",
    Reason.CRASHED: "Read the log with `kubectl logs --previous` on the pod; it is started again.",
    Reason.NODE_LOST: (
        "Bring the node back, or delete it with `kubectl delete node`: its pods are then made anew elsewhere, as far "
        "as their volumes can be mounted there."
    ),
    Reason.QUOTA_EXCEEDED: (
        "Lower the requests under resources, wait until others have ended, or ask the namespace's administrator for "
        "more: `kubectl describe quota`."
    ),
    Reason.FORBIDDEN: (
        "Ask the namespace's administrator for a policy that admits these pods: they meet the restricted Pod Security "
        "profile."
    ),
    Reason.DIGEST_MISMATCH: (
        "The files on the volume are not those that were sealed: delete the PersistentVolumeClaim and the model's "
        "Job, and the work is done anew."
    ),
    Reason.SHAPE_MISMATCH: "Put together config.json and weights of one model.",
    Reason.BAD_WEIGHTS: "Replace the file that is named by an intact copy.",
    Reason.BAD_TOKENIZER: "Put an intact tokenizer.json of this model beside its weights.",
    Reason.BAD_FILE: "Replace the file that is named by an intact copy.",
    Reason.BAD_ARCHIVE: "Pack the model's files anew, as plain files.",
    Reason.MISSING_FILE: "Put the file that is named beside the others, or correct what the source selects.",
    Reason.UNSAFE_FILE: "Put the model's own files there: no links, devices or other programs' files.",
    Reason.UNSAFE_NAME: "Rename the file that is named at its source, or leave it out.",
    Reason.NOT_FINITE: "Train or copy the model again: a tensor has NaN or infinite values.",
    Reason.DISK_FULL: "Raise storage.size; where its class cannot grow volumes, delete the claim.",
    Reason.MISSING_TEXT: "Put the text at the path that is named, or correct the path.",
    Reason.EMPTY_TEXT: "Give it at least one file with text.",
    Reason.TEXT_TOO_SHORT: "Give it more text, or ask for fewer tokens.",
    Reason.BAD_TASK: "Correct the key that is named in a task file at another place, and name that place.",
    Reason.BAD_DOCUMENTS: "Put corrected documents with the task file at another place, and name that place.",
    Reason.TOO_FEW_EXAMPLES: "Lower fewShot, or put more documents beside the task file at another place.",
    Reason.WORK_FAILED: "Correct what the message names; trying the same again would fail again.",
    Reason.INVALID_CONFIG: "Correct the field that the message names.",
    Reason.STORAGE_TOO_SMALL: "Raise storage.size, or make the model smaller.",
    Reason.HEADS_NOT_DIVISIBLE: "Set parallelism.tensor to one of the numbers that divide the heads.",
    Reason.LAYERS_TOO_NARROW: "Lower parallelism.tensor to the width of the narrowest layer or less.",
    Reason.CONTEXT_TOO_LONG: "Lower the length that is named, or leave it out where it has a default.",
    Reason.VARIANT_NOT_FOUND: "Add the variant to the model, or name one that it has.",
    Reason.VARIANT_NOT_SERVED: (
        "Name the base (leave model.variant out) or a quantized variant; the export's file is for llama.cpp or "
        "onnxruntime and what is built on them."
    ),
    Reason.GATE_BLOCKED: (
        "Quantize less of it (quantization.ignore), serve the base or another variant, or loosen the gate's limit "
        "where so much loss is acceptable; with gate.action Warn it is served all the same."
    ),
    Reason.PATH_NOT_FOUND: "Correct source.existingClaim.path, or put the model there.",
    Reason.UNREADABLE: "Let everybody read the files on the claim, or the user and group that the message names.",
    Reason.STAGE_NOT_FOUND: "Name a stage that the TrainingRun has, or leave it out for the last.",
    Reason.MODEL_NOT_FOUND: "Create the DeepSeekModel, or correct its name.",
    Reason.TRAINING_RUN_NOT_FOUND: "Create the TrainingRun, or correct its name.",
    Reason.UNREACHABLE: (
        "The work goes on. If figures are wanted, let the operator's namespace reach port 9400 in the NetworkPolicy."
    ),
    Reason.NAME_TAKEN: "Choose another name, or remove the object that has it; it is left as it is.",
    Reason.IN_USE: "Delete what is named, or give it another model; a run needs it until its first stage is complete.",
}


def with_remedy(reason: str, happened: str) -> str:
    """What happened, then what to do."""
    happened = happened.strip().rstrip(".")
    remedy = REMEDIES.get(reason)
    return f"{happened}. {remedy}" if remedy else f"{happened}."
