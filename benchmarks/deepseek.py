"""The DeepSeek operator as something to be measured."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from deepseek_operator.api.names import MODEL, SERVICE, TRAINING
from deepseek_operator.app import controllers
from deepseek_operator.controllers.decision import Observed, Ref, Settings
from deepseek_operator.engine.kinds import CHILDREN, KINDS, POD, ROUTES

from benchmarks.client import Client, Collection
from benchmarks.operators import Change, Drift, Object, Operator, Subject
from benchmarks.sightings import watching
from tests.integration.control_plane import free_port
from tests.integration.objects import model, service, training

ROOT = Path(__file__).parents[1]
SEED = "seed"


def _collection(kind: str) -> Collection:
    return Collection(KINDS[kind].api_version, KINDS[kind].plural)


MODELS, RUNS, SERVICES = (_collection(kind) for kind in (MODEL, TRAINING, SERVICE))
JOBS, DEPLOYMENTS = _collection("Job"), _collection("Deployment")
MADE = tuple(_collection(kind.name) for kind in (*CHILDREN, ROUTES) if kind is not POD)
_ARCHITECTURE = {
    "name": "DeepseekV3ForCausalLM",
    "parameters": 100_000,
    "layers": 2,
    "hiddenSize": 64,
    "attentionHeads": 4,
    "keyValueHeads": 4,
    "vocabSize": 512,
    "contextLength": 1024,
}


async def seed(client: Client, namespace: str) -> None:
    """A model that runs and services can start from: no pod runs here, so its statuses are written by hand."""
    async with watching(client, JOBS, namespace) as seen:
        made = seen.expect((MODEL, namespace, SEED))
        await client.create(MODELS, model(namespace, SEED))
        await made
    job = (await client.list(JOBS, namespace))[0]["metadata"]["name"]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("SuccessCriteriaMet", "Complete")]
    status = {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": ended}
    await client.patch(JOBS, namespace, job, {"status": status}, "status")
    found: Object = {}
    while found.get("phase") != "Ready":  # the operator may write at the same moment, from what it saw before
        await asyncio.sleep(0.2)
        found = (await client.get(MODELS, namespace, SEED)).get("status", {})
        if artifacts := found.get("artifacts"):
            sealed = {**artifacts[0], "phase": "Ready", "digest": "5" * 64, "bytes": 400_000, "dtype": "F32"}
            patch = {"status": {"architecture": _ARCHITECTURE, "artifacts": [sealed]}}
            await client.patch(MODELS, namespace, SEED, patch, "status")


async def children(client: Client, resource: Object) -> list[tuple[Collection, Object]]:
    """What the decision about a new resource asks for in its own namespace."""
    key = Ref.of(resource)
    reference = Ref(MODEL, key.namespace, SEED)
    seen = {} if key.kind == MODEL else {reference: await client.get(MODELS, key.namespace, SEED)}
    settings = Settings("deepseek-system", "deepseek-operator/runtime:dev", "http://gateway", bytes(32))
    controller = controllers()[key.kind]
    decision = controller.decide(resource, Observed(references=seen), datetime.now(UTC), settings)
    manifests = [child.manifest for child in decision.children if child.ref.namespace == key.namespace]
    return [(_collection(manifest["kind"]), manifest) for manifest in manifests]


def _training(namespace: str, name: str) -> Object:
    return training(namespace, name, base={"model": SEED})


def _service(namespace: str, name: str) -> Object:
    return service(namespace, name, model={"name": SEED})


def _wider(resource: Object) -> Change:
    """Another configuration is another identity, and so another Job."""
    config = {**resource["spec"]["source"]["scratch"]["config"], "num_hidden_layers": 3}
    return Change({"spec": {"source": {"scratch": {"config": config}}}}, lambda _: True)


def _suspended(_: Object) -> Change:
    return Change({"spec": {"suspend": True}}, lambda job: job["spec"].get("suspend") is True)


def _doubled(_: Object) -> Change:
    return Change({"spec": {"replicas": 2}}, lambda deployment: deployment["spec"]["replicas"] == 2)


def _environment(kubeconfig: Path, port: int) -> dict[str, str]:
    return {
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'runtime'}",
        "DEEPSEEK_NAMESPACE": "deepseek-system",
        "DEEPSEEK_HEALTH_PORT": str(port),
        "DEEPSEEK_METRICS_PORT": str(free_port()),
    }


OPERATOR = Operator(
    name="deepseek-operator",
    account="deepseek-system:deepseek-operator",
    chart=ROOT / "charts" / "deepseek-operator",
    command=(sys.executable, "-m", "deepseek_operator"),
    environment=_environment,
    ready="/readyz",
    subjects=(
        Subject(MODEL, MODELS, model, JOBS, MADE, children, _wider, weight=8),
        Subject(TRAINING, RUNS, _training, JOBS, MADE, children, _suspended),
        Subject(SERVICE, SERVICES, _service, DEPLOYMENTS, MADE, children, _doubled),
    ),
    drift=Drift(
        DEPLOYMENTS,
        {"spec": {"revisionHistoryLimit": 9}},
        lambda deployment: deployment["spec"]["revisionHistoryLimit"] != 9,
    ),
    prepare=seed,
)
