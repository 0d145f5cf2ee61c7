"""What other controllers and the kubelet do: claims are bound, workloads get pods, pods leave results."""

import asyncio
import contextvars
import json
from collections.abc import Callable

from deepseek_operator.api.names import Label
from deepseek_operator.controllers.decision import Object, Ref
from deepseek_runtime.wire.base import digest
from deepseek_runtime.wire.job import JOB, Beside, FetchJob, ImportJob, Job, PublishJob, VerifyJob
from deepseek_runtime.wire.paths import INPUT, JOB_ENVIRONMENT, OUTPUT
from deepseek_runtime.wire.result import (
    Architecture,
    Artifact,
    Comparison,
    Fetched,
    JobResult,
    Quantization,
    Scores,
    Training,
    encode,
)
from deepseek_runtime.wire.verification import Signed, Verified

from tests.faults.merge import copied
from tests.faults.virtual_time import now
from tests.faults.world import World
from tests.unit.controllers.results import BENCHMARK, EXPORTED

PERPLEXITY = 12.5
NODES = 2
"""Every DaemonSet has a pod on each."""
BINDING, SCHEDULING, RUNNING, WORKING = 0.1, 0.3, 0.7, 3.0


class Simulators:
    """Every object is looked at when it appears or changes; what is to happen to it is set on the clock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pods = 0
        self._sealed: set[tuple[str, str]] = set()
        """The volumes by UID, each with the identity of a work whose result lies on it."""
        self._context = contextvars.copy_context()
        self.held: set[str] = set()
        """Kinds of work whose pods go on until `release`."""
        self.perplexities: dict[str, float] = {}
        """What is measured of the parts of models, where it is not the usual."""
        world.listeners.append(self._react)

    def _react(self, event: str, obj: Object) -> None:
        if event == "DELETED":
            return
        match obj["kind"]:
            case "PersistentVolumeClaim" if event == "ADDED":
                self._later(BINDING, obj, lambda found: self._status(found, {"phase": "Bound"}))
            case "Job":
                self._later(SCHEDULING, obj, self._start_job)
            case "Deployment":
                self._later(SCHEDULING, obj, self._roll_out)
            case "DaemonSet":
                self._later(SCHEDULING, obj, self._spread)

    def _later(self, delay: float, obj: Object, do: Callable[[Object], None]) -> None:
        """Do something to an object after a while, if it is still there."""
        ref, uid = Ref.of(obj), obj["metadata"]["uid"]

        def act() -> None:
            found = self._world.objects.get(ref)
            if found is not None and found["metadata"]["uid"] == uid:
                do(copied(found))

        asyncio.get_running_loop().call_later(delay, act, context=self._context)

    def _status(self, obj: Object, status: Object) -> None:
        self._world.set_status(Ref.of(obj), {**obj.get("status", {}), **status})

    def release(self) -> None:
        """What was held goes on to its end."""
        self.held.clear()
        for ref, obj in list(self._world.objects.items()):
            if ref.kind == "Pod" and obj["metadata"]["ownerReferences"][0]["kind"] == "Job":
                self._later(WORKING, obj, self._finish)

    def _start_job(self, job: Object) -> None:
        """A pod where one should be and is not, none where none should be."""
        status, pods = job.get("status", {}), self._pods_of(job)
        if status.get("conditions"):
            return
        if job["spec"].get("suspend"):
            for pod in pods:
                self._world.delete(Ref.of(pod))
            if status:
                self._status(job, {"active": 0})
        elif not pods:
            pod = self._pod(job, {"batch.kubernetes.io/job-name": job["metadata"]["name"]})
            self._status(job, {"active": 1, "startTime": _stamp()})
            self._later(RUNNING, pod, self._run)

    def _run(self, pod: Object) -> None:
        if _owner_of(pod) not in self._world.objects:
            return
        claims = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["spec"]["volumes"]]
        namespace = pod["metadata"]["namespace"]
        if any(Ref("PersistentVolumeClaim", namespace, claim) not in self._world.objects for claim in claims if claim):
            self._later(RUNNING, pod, self._run)
            return
        container = pod["spec"]["containers"][0]["name"]
        state = {"name": container, "ready": True, "restartCount": 0, "state": {"running": {"startedAt": _stamp()}}}
        ready = {"type": "Ready", "status": "True"}
        status = {"phase": "Running", "podIP": "192.0.2.1", "conditions": [ready], "containerStatuses": [state]}
        self._status(pod, {**status, "startTime": _stamp()})
        owner = self._world.objects[_owner_of(pod)]
        if owner["kind"] == "Deployment":
            self._count(owner)
        elif owner["kind"] == "DaemonSet":
            self._count_nodes(owner)
        elif pod["metadata"]["labels"][Label.WORK] not in self.held:
            self._later(WORKING, pod, self._finish)

    def _finish(self, pod: Object) -> None:
        container = pod["spec"]["containers"][0]
        environment = {item["name"]: item["value"] for item in container["env"]}
        perplexity = self.perplexities.get(pod["metadata"]["labels"][Label.SUBJECT], PERPLEXITY)
        made = result(JOB.validate_json(environment[JOB_ENVIRONMENT]), perplexity)
        written = next(m for m in container["volumeMounts"] if not m.get("readOnly") and m["mountPath"] == OUTPUT)
        claim = next(v["persistentVolumeClaim"] for v in pod["spec"]["volumes"] if v["name"] == written["name"])
        volume = self._world.objects.get(Ref("PersistentVolumeClaim", pod["metadata"]["namespace"], claim["claimName"]))
        if volume is None or _owner_of(pod) not in self._world.objects:
            return
        seal = (volume["metadata"]["uid"], made.identity)
        reads = any(mount["mountPath"] == INPUT for mount in container["volumeMounts"])
        if made.kind in {"publish", "import"} and not reads and seal not in self._sealed:
            made = JobResult(kind=made.kind, identity=made.identity, outcome="failed", reason="TrainingRunNotFound")
        if done := made.outcome == "succeeded":
            self._sealed.add(seal)
        ended = {"exitCode": 0 if done else 65, "message": encode(made), "finishedAt": _stamp()}
        state = {"name": container["name"], "ready": False, "restartCount": 0, "state": {"terminated": ended}}
        self._status(pod, {"phase": "Succeeded" if done else "Failed", "containerStatuses": [state]})

        def complete(found: Object) -> None:
            condition = {"type": "Complete" if done else "Failed", "status": "True", "lastTransitionTime": _stamp()}
            self._status(found, {"active": 0, "conditions": [condition], "completionTime": _stamp()})

        self._later(0.05, self._world.get(_owner_of(pod)), complete)

    def _roll_out(self, deployment: Object) -> None:
        self._replace(deployment, deployment["spec"]["replicas"])
        self._count(self._world.objects[Ref.of(deployment)])

    def _spread(self, daemonset: Object) -> None:
        self._replace(daemonset, NODES)
        self._count_nodes(self._world.objects[Ref.of(daemonset)])

    def _replace(self, owner: Object, wanted: int) -> None:
        """So many pods of the template as it is now, and no others."""
        template = digest(owner["spec"]["template"])[:8]
        pods = self._pods_of(owner)
        current = [pod for pod in pods if pod["metadata"]["labels"]["pod-template-hash"] == template]
        for pod in pods:
            if pod not in current:
                self._world.delete(Ref.of(pod))
        for pod in current[wanted:]:
            self._world.delete(Ref.of(pod))
        for _ in range(wanted - len(current)):
            self._later(RUNNING, self._pod(owner, {"pod-template-hash": template}), self._run)

    def _count_nodes(self, daemonset: Object) -> None:
        pods = self._pods_of(daemonset)
        status = {
            "observedGeneration": daemonset["metadata"]["generation"],
            "desiredNumberScheduled": NODES,
            "currentNumberScheduled": len(pods),
            "numberReady": sum(pod.get("status", {}).get("phase") == "Running" for pod in pods),
        }
        self._status(daemonset, status)

    def _count(self, deployment: Object) -> None:
        pods = self._pods_of(deployment)
        ready = sum(pod.get("status", {}).get("phase") == "Running" for pod in pods)
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "conditions": [{"type": "Available", "status": "True" if ready else "False", "reason": "Simulated"}],
        }
        self._status(deployment, {key: value for key, value in status.items() if value != 0})

    def _pods_of(self, owner: Object) -> list[Object]:
        uid = owner["metadata"]["uid"]
        return [
            obj
            for ref, obj in self._world.objects.items()
            if ref.kind == "Pod" and obj["metadata"]["ownerReferences"][0]["uid"] == uid
        ]

    def _pod(self, owner: Object, labels: dict[str, str]) -> Object:
        self._pods += 1
        meta, template = owner["metadata"], owner["spec"]["template"]
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"]}
        return self._world.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{meta['name']}-{self._pods}",
                    "namespace": meta["namespace"],
                    "labels": {**template["metadata"]["labels"], **labels},
                    "ownerReferences": [reference | {"controller": True}],
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            }
        )


def _owner_of(pod: Object) -> Ref:
    owner = pod["metadata"]["ownerReferences"][0]
    return Ref(owner["kind"], pod["metadata"]["namespace"], owner["name"])


def result(job: Job, perplexity: float = PERPLEXITY) -> JobResult:
    """What a Job's program would say: the same for the same identity."""
    done = json.loads(job.to_json())
    architecture = Architecture(
        name="DeepseekV3ForCausalLM",
        parameters=3_000_000,
        layers=4,
        hidden_size=192,
        attention_heads=4,
        key_value_heads=4,
        vocab_size=4096,
        context_length=1024,
    )
    content = job.input_digest if isinstance(job, PublishJob) else digest(done["identity"])
    artifact = Artifact(digest=content, bytes=12_000_000, files=5, dtype="float32", architecture=architecture)
    return JobResult(
        kind=job.kind,
        identity=job.identity,
        outcome="succeeded",
        artifact=None if isinstance(job, Beside) else artifact,
        quantization=Quantization(
            scheme="int8", weight_bytes_before=12, weight_bytes_after=4, quantized_modules=3, kept_modules=1
        )
        if job.kind == "quantize"
        else None,
        export=EXPORTED if job.kind == "export" else None,
        scores=Scores(perplexity=perplexity, bits_per_byte=1.5, tokens=100, bytes=300, seconds=1.0)
        if job.kind == "evaluate"
        else None,
        comparison=Comparison(kl_divergence=0.001, top1_agreement=0.99, tokens=100, seconds=1.0)
        if job.kind == "compare"
        else None,
        benchmark=BENCHMARK if job.kind == "benchmark" else None,
        verification=_verified(job, content),
        signature=Signed(signer="6" * 64, files=5) if job.kind == "sign" else None,
        fetched=Fetched(commit="c" * 40, files=5, bytes=12_000_000) if job.kind == "fetch" else None,
        training=Training(steps=job.steps or 30, tokens=1000, loss=2.5, seconds=2.0, tokens_per_second=500.0)
        if job.kind == "train"
        else None,
        image="runtime:test",
        started_at="2030-01-01T00:00:00Z",
        finished_at="2030-01-01T00:00:03Z",
    )


def _verified(job: Job, content: str) -> Verified | None:
    """What a Job has proven that was asked to."""
    asked = job.verification if isinstance(job, FetchJob | ImportJob | VerifyJob) else None
    if asked is None:
        return None
    proven = job.input_digest if isinstance(job, VerifyJob) else content
    signer, name = ("5" * 64, "tiny") if asked.signature is not None else (None, None)
    return Verified(asked=asked.identity, digest=proven, files=len(asked.files), signer=signer, signed_name=name)


def _stamp() -> str:
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")
