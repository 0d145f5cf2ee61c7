"""A cluster in memory, just real enough: it keeps objects, lets Jobs, Deployments, DaemonSets work, seals results."""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from deepseek_operator.api.names import MODEL, SERVICE, TRAINING, Label
from deepseek_operator.controllers.conditions import timestamp
from deepseek_operator.controllers.decision import Controller, Decision, Event, Object, Observed, Ref, Settings
from deepseek_operator.controllers.decision import Warning as WarningEvent
from deepseek_operator.controllers.model import ModelController
from deepseek_operator.controllers.service import ServiceController
from deepseek_operator.controllers.training import TrainingController
from deepseek_operator.engine.difference import at
from deepseek_operator.engine.slim import slim
from deepseek_runtime.wire.job import JOB, CompareJob, EvaluateJob, ImportJob, PublishJob, TaskJob
from deepseek_runtime.wire.progress import Progress
from deepseek_runtime.wire.result import Comparison, JobResult, TaskScores, encode

from tests.unit.controllers.builders import NAMESPACE, Builder
from tests.unit.controllers.kubernetes_checks import check
from tests.unit.controllers.results import result_of

SETTINGS = Settings(
    namespace="deepseek-system",
    runtime_image="registry.example/runtime:1",
    gateway_url="https://models.example",
    master_key=b"0" * 32,
)
CONTROLLERS: dict[str, Controller] = {
    MODEL: ModelController(),
    TRAINING: TrainingController(),
    SERVICE: ServiceController(),
}


class World:
    """Objects by reference, a clock, and what was computed."""

    def __init__(self) -> None:
        self.objects: dict[Ref, Object] = {}
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.settings = SETTINGS
        self.sealed: dict[tuple[str, str], JobResult] = {}
        self.computed: list[str] = []
        self.events: list[Event] = []
        self.removed: list[Ref] = []
        self.warnings: dict[str, tuple[WarningEvent, ...]] = {}
        self.progress: dict[str, Progress] = {}
        self.held: set[str] = set()
        """Jobs by work that do not end by themselves."""
        self.perplexities: dict[str, float] = {}
        """What is measured of the parts of models, where it is not 20.5."""
        self.measured: dict[str, float] = {}
        """What was measured, by digest: equal bytes predict equally well."""
        self.comparisons: dict[str, tuple[float, float]] = {}
        """KL divergence and top-1 agreement of variants, where they are not 0.001 and 0.99."""
        self.accuracies: dict[str, TaskScores] = {}
        """What tasks find of the parts of models, where it is not what results.TASK has."""
        self.engines_start = True
        self.nodes = 2
        """Those that every DaemonSet is for."""
        self.copied = True
        """Whether pods that keep a copy have it."""
        self._serial = 0

    # What a user does.

    def apply(self, *resources: Builder | Object) -> "World":
        for resource in resources:
            built = resource.build() if isinstance(resource, Builder) else resource
            self._put(copy.deepcopy(built))
        return self

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> Object:
        return self.objects[Ref(kind, namespace, name)]

    def status(self, kind: str, name: str) -> Object:
        return self.get(kind, name)["status"]  # type: ignore[no-any-return]

    def condition(self, kind: str, name: str, type_: str) -> tuple[str, str, str] | None:
        for found in self.status(kind, name)["conditions"]:
            if found["type"] == type_:
                return found["status"], found["reason"], found.get("message", "")
        return None

    def jobs(self, work: str) -> list[Object]:
        found = [obj for obj in self.of_kind("Job") if obj["metadata"]["labels"][Label.WORK] == work]
        return sorted(found, key=lambda obj: str(obj["metadata"]["name"]))

    def of_kind(self, kind: str) -> list[Object]:
        return [obj for ref, obj in self.objects.items() if ref.kind == kind]

    def delete(self, kind: str, name: str) -> None:
        ref = Ref(kind, NAMESPACE, name)
        if self.objects[ref]["metadata"].get("finalizers"):
            self.objects[ref]["metadata"].setdefault("deletionTimestamp", timestamp(self.now))
        else:
            self.drop(ref)

    def drop(self, ref: Ref) -> None:
        """An object is gone, and with it what it owns."""
        uid = self.objects.pop(ref)["metadata"]["uid"]
        for other, obj in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences", ())):
                self.drop(other)

    def forget(self) -> None:
        """Every status and every Job is lost."""
        for ref, obj in list(self.objects.items()):
            if ref.kind == "Job":
                self.drop(ref)
            elif ref.kind in CONTROLLERS:
                obj.pop("status", None)

    # What the operator's shell does.

    def observe(self, resource: Object) -> Observed:
        uid = resource["metadata"]["uid"]
        own = [o for o in self.objects.values() if o["metadata"].get("labels", {}).get(Label.OWNER_UID) == uid]
        references = CONTROLLERS[resource["kind"]].references(resource)
        referrers = [
            obj
            for ref, obj in self.objects.items()
            if ref.kind in CONTROLLERS and Ref.of(resource) in CONTROLLERS[ref.kind].references(obj)
        ]
        return Observed(
            children=tuple(_slim(obj) for obj in own if obj["kind"] != "Pod"),
            pods=tuple(_slim(obj) for obj in own if obj["kind"] == "Pod"),
            references={ref: self.objects[ref] for ref in references if ref in self.objects},
            referrers=tuple(referrers),
            warnings=self.warnings,
            progress=self.progress,
        )

    def decide(self, ref: Ref) -> Decision:
        resource = copy.deepcopy(self.objects[ref])
        observed = self.observe(resource)
        before = copy.deepcopy((resource, observed))
        decision = CONTROLLERS[ref.kind].decide(resource, observed, self.now, self.settings)
        assert (resource, observed) == before, "a decision changed its arguments"
        return decision

    def reconcile(self, ref: Ref) -> bool:
        """Decide and carry out; whether anything was written."""
        decision = self.decide(ref)
        resource, wrote = self.objects[ref], False
        if "deletionTimestamp" in resource["metadata"]:
            assert decision.children == ()
        for child in decision.children:
            check(child.manifest)
            wrote |= self._carry_out(child.manifest, child.create_only, child.adjust)
        for removal in decision.remove:
            assert self.objects[removal.ref]["metadata"]["uid"] == removal.uid
            self._check_unused(removal.ref)
            self.drop(removal.ref)
            self.removed.append(removal.ref)
            wrote = True
        if resource.get("status") != decision.status:
            resource["status"] = copy.deepcopy(decision.status)
            self.events += decision.events
            wrote = True
        finalizers = sorted(decision.finalizers)
        if resource["metadata"].get("finalizers", []) != finalizers:
            resource["metadata"]["finalizers"] = finalizers
            wrote = True
            if not finalizers and "deletionTimestamp" in resource["metadata"]:
                self.drop(ref)
        return wrote

    def step(self) -> bool:
        """Every controller once, then Kubernetes; whether anything changed."""
        self.now += timedelta(seconds=1)
        wrote = [self.reconcile(ref) for ref in self.resources() if ref in self.objects]
        return any([*wrote, self._run_jobs(), self._run_deployments(), self._run_daemonsets()])

    def settle(self, steps: int = 80) -> "World":
        """Until nothing changes any more."""
        for _ in range(steps):
            if not self.step():
                return self
        raise AssertionError(f"still changing after {steps} steps")

    def resources(self) -> list[Ref]:
        return [ref for ref in self.objects if ref.kind in CONTROLLERS]

    # What Kubernetes and the runtime do.

    def end_pod(self, job: str, code: int, message: str = "", reason: str = "Error") -> Object:
        """The pod of a Job ends badly; the Job's controller does what the failure policy says."""
        owner = self.get("Job", job)
        pod = next((p for p in self._pods(job) if p["status"]["phase"] == "Running"), None) or self._new_pod(owner)
        self._terminate(pod, code, message, reason)
        if code in (64, 65):
            self._end_job(owner, "Failed")
        return pod

    def end_job(self, job: str) -> None:
        """The Job has used up its attempts."""
        self._end_job(self.get("Job", job), "Failed")

    def _carry_out(self, manifest: Object, create_only: bool, adjust: tuple[tuple[str, ...], ...]) -> bool:
        ref = Ref.of(manifest)
        seen = self.objects.get(ref)
        if seen is None:
            self._put(copy.deepcopy(manifest))
            return True
        if create_only:
            changed = False
            for path in adjust:
                if (wanted := at(manifest, path)) is None or wanted == at(seen, path):
                    continue
                target = seen
                for key in path[:-1]:
                    target = target.setdefault(key, {})
                target[path[-1]], changed = copy.deepcopy(wanted), True
            return changed
        return self._put(copy.deepcopy(manifest))

    def _put(self, obj: Object) -> bool:
        ref = Ref.of(obj)
        seen = self.objects.get(ref)
        if seen is None:
            self._serial += 1
            obj["metadata"] |= {
                "uid": f"uid-{self._serial:04}",
                "creationTimestamp": timestamp(self.now),
                "generation": 1,
            }
            if ref.kind == "PersistentVolumeClaim":
                obj["status"] = {"phase": "Bound"}
            self.objects[ref] = obj
            return True
        changed = any(seen.get(key) != obj.get(key) for key in ("spec", "data"))
        labels = obj["metadata"].get("labels", {})
        changed = changed or seen["metadata"].get("labels", {}) != labels
        annotations = obj["metadata"].get("annotations", {})
        if seen["metadata"].get("annotations", {}) != annotations:
            changed, seen["metadata"]["annotations"] = True, annotations
        if changed:
            seen["metadata"]["generation"] += 1
            seen["metadata"]["labels"] = labels
            seen |= {key: obj[key] for key in ("spec", "data") if key in obj}
        return changed

    def _check_unused(self, ref: Ref) -> None:
        if ref.kind != "PersistentVolumeClaim" or self.objects[ref]["status"]["phase"] == "Pending":
            return
        live = [pod for pod in self.of_kind("Pod") if pod["status"]["phase"] in ("Pending", "Running")]
        users = [*(pod["spec"] for pod in live)]
        users += [obj["spec"]["template"]["spec"] for kind in ("Deployment", "DaemonSet") for obj in self.of_kind(kind)]
        for spec in users:
            for volume in spec["volumes"]:
                assert volume.get("persistentVolumeClaim", {}).get("claimName") != ref.name, f"{ref} is in use"

    def _run_jobs(self) -> bool:
        changed = False
        for job in self.of_kind("Job"):
            if job.get("status", {}).get("conditions"):
                continue
            name = job["metadata"]["name"]
            live = [pod for pod in self._pods(name) if pod["status"]["phase"] in ("Pending", "Running")]
            running = [pod for pod in live if pod["status"]["phase"] == "Running"]
            if job["spec"].get("suspend"):
                for pod in live:
                    self.drop(Ref.of(pod))
                    changed = True
            elif not live:
                self._new_pod(job)
                changed = True
            elif running and job["metadata"]["labels"][Label.WORK] not in self.held:
                result = self._work(job)
                done = result.outcome == "succeeded"
                self._terminate(running[0], 0 if done else 65, encode(result), "Completed" if done else "Error")
                self._end_job(job, "Complete" if done else "Failed")
                changed = True
        return changed

    def _run_deployments(self) -> bool:
        changed = False
        for obj in self.of_kind("Deployment"):
            wanted = obj["spec"]["replicas"]
            ready = wanted if self.engines_start else 0
            status = {
                "observedGeneration": obj["metadata"]["generation"],
                "replicas": wanted,
                "updatedReplicas": wanted,
                "readyReplicas": ready,
            }
            changed |= obj.get("status") != status
            obj["status"] = status
        return changed

    def _run_daemonsets(self) -> bool:
        changed = False
        for obj in self.of_kind("DaemonSet"):
            uid, template = obj["metadata"]["uid"], obj["spec"]["template"]
            pods = [pod for pod in self.of_kind("Pod") if pod["metadata"]["ownerReferences"][0]["uid"] == uid]
            for pod in [pod for pod in pods if pod["spec"] != template["spec"]] + pods[self.nodes :]:
                self.drop(Ref.of(pod))
                pods.remove(pod)
                changed = True
            for _ in range(self.nodes - len(pods)):
                pods.append(self._new_pod(obj))
                changed = True
            for pod in pods:
                if pod["status"]["phase"] == "Running":
                    pod["status"]["containerStatuses"][0]["ready"] = self.copied
            ready = sum(pod["status"]["phase"] == "Running" and self.copied for pod in pods)
            status = {
                "observedGeneration": obj["metadata"]["generation"],
                "desiredNumberScheduled": self.nodes,
                "currentNumberScheduled": self.nodes,
                "numberReady": ready,
            }
            changed |= obj.get("status") != status
            obj["status"] = status
        return changed

    def _pods(self, job: str) -> list[Object]:
        found = [p for p in self.of_kind("Pod") if p["metadata"]["labels"].get("batch.kubernetes.io/job-name") == job]
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def _new_pod(self, owner: Object) -> Object:
        template, name = owner["spec"]["template"], owner["metadata"]["name"]
        self._serial += 1
        labels = {**template["metadata"]["labels"]}
        if owner["kind"] == "Job":
            labels["batch.kubernetes.io/job-name"] = name
        reference = {"kind": owner["kind"], "name": name, "uid": owner["metadata"]["uid"]}
        metadata = {
            "name": f"{name}-{self._serial:05}",
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [reference],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}
        self._put(pod)
        pod["status"] = {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "startTime": timestamp(self.now),
            "containerStatuses": [{"ready": True, "state": {}}],
        }
        return pod

    def _terminate(self, pod: Object, code: int, message: str, reason: str) -> None:
        ended = {"exitCode": code, "message": message, "reason": reason, "finishedAt": timestamp(self.now)}
        container = {"ready": False, "state": {"terminated": ended}}
        pod["status"] |= {"phase": "Succeeded" if code == 0 else "Failed", "containerStatuses": [container]}

    def _end_job(self, job: Object, type_: str) -> None:
        condition = {"type": type_, "status": "True", "lastTransitionTime": timestamp(self.now), "reason": "Ended"}
        job["status"] = {"conditions": [condition]}

    def _work(self, job: Object) -> JobResult:
        """What the runtime would leave: sealed on the volume, found again by the next Job."""
        container = job["spec"]["template"]["spec"]["containers"][0]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        config = JOB.validate_json(environment["DEEPSEEK_JOB"])
        claim = self.get("PersistentVolumeClaim", _claim_at(job, config.output))
        key = (claim["metadata"]["uid"], config.identity)
        if key not in self.sealed and isinstance(config, ImportJob | PublishJob) and not _mounted(job, config.input):
            return JobResult(
                kind=config.kind,
                identity=config.identity,
                outcome="failed",
                reason="TrainingRunNotFound",
                message=f"{config.source} is gone",
            )
        if key not in self.sealed:
            self.computed.append(f"{config.kind} {job['metadata']['labels'][Label.SUBJECT]}")
            perplexity = self.perplexities.get(job["metadata"]["labels"][Label.SUBJECT], 20.5)
            if isinstance(config, EvaluateJob):
                perplexity = self.measured.setdefault(config.input_digest, perplexity)
            sealed = result_of(config, environment["DEEPSEEK_IMAGE"], perplexity)
            if isinstance(config, CompareJob):
                assert _mounted(job, config.base)
                kl, agreement = self.comparisons.get(job["metadata"]["labels"][Label.SUBJECT], (0.001, 0.99))
                found = Comparison(kl_divergence=kl, top1_agreement=agreement, tokens=900, seconds=1.0)
                sealed = sealed.model_copy(update={"comparison": found})
            if isinstance(config, TaskJob):
                scores = self.accuracies.get(job["metadata"]["labels"][Label.SUBJECT], sealed.task)
                sealed = sealed.model_copy(update={"task": scores})
            self.sealed[key] = sealed
            return sealed
        return self.sealed[key].model_copy(update={"cached": True})


def _slim(obj: Object) -> Object:
    """What the store keeps of Jobs and pods."""
    return slim(obj) if obj["kind"] in ("Job", "Pod") else obj


def _mounted(job: Object, path: str) -> bool:
    mounts = job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    return any(mount["mountPath"] == path for mount in mounts)


def _claim_at(job: Object, path: str) -> str:
    spec = job["spec"]["template"]["spec"]
    mounts = spec["containers"][0]["volumeMounts"]
    mount = next(m for m in mounts if path == m["mountPath"] or path.startswith(f"{m['mountPath']}/"))
    assert mount["readOnly"] is False
    volume = next(v for v in spec["volumes"] if v["name"] == mount["name"])
    return str(volume["persistentVolumeClaim"]["claimName"])


def conditions(status: Object) -> Iterator[tuple[str, str]]:
    """Types and statuses."""
    for condition in status["conditions"]:
        yield condition["type"], condition["status"]
