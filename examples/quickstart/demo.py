"""`make demo`: a cluster, the operator, and three resources from random weights to an answer over the URL."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from examples.quickstart.kube import condition, forwarded, get, kubectl, run
from examples.quickstart.progress import Screen, follow
from examples.quickstart.report import shortfall, table
from examples.quickstart.target import KEYS, KIND_CLUSTER, LOCAL, ROOT, Failed, target

HERE = Path(__file__).resolve().parent
OPERATOR_NAMESPACE = "deepseek-system"
NAMESPACE = "quickstart"
WORKLOADS = {"operator": "deployment/deepseek-operator", "gateway": "statefulset/deepseek-gateway"}
PACKAGES = ("debian-handbook", "debian-reference-en")
TEXT = ROOT / "build" / "quickstart"
LOGS = ROOT / "build" / "logs"
PROMPT = "The package manager"


class Phases:
    """How long each phase took, in order."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.seconds: list[tuple[str, float]] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times a block and says when it is over."""
        self.screen.change(f"{name} …")
        start = time.monotonic()
        yield
        self.seconds.append((name, time.monotonic() - start))
        self.screen.line(f"✓ {name}: {self.seconds[-1][1]:.0f} s")


def together(screen: Screen, **commands: list[str]) -> None:
    """Run commands side by side, each into a log of its own; the last line of each is shown while they work."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        running = {}
        for name, command in commands.items():
            log = stack.enter_context((LOGS / f"{name}.log").open("w"))
            running[name] = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(_end, running[name])
        while True:
            busy = []
            for name, process in running.items():
                if process.poll():
                    raise Failed(f"{name} failed ({LOGS / name}.log):\n{_log(name)[-2000:]}")
                if process.returncode is None:
                    busy.append(f"{name}: {_log(name).rsplit(chr(10), 1)[-1][-60:]}")
            if not busy:
                return
            screen.show(" | ".join(busy))
            time.sleep(1)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()


def _log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(errors="replace").strip()


def release(*settings: str) -> None:
    """Install or upgrade the chart from this tree; `settings` are more arguments of helm."""
    chart = str(ROOT / "charts" / "deepseek-operator")
    place = ("--namespace", OPERATOR_NAMESPACE, "--create-namespace")
    try:
        run(*target().helm, "upgrade", "--install", "deepseek", chart, *place, *target().values(), *settings)
    except Failed as failed:
        if "updates to statefulset spec" not in str(failed):
            raise
        raise Failed(
            "the gateway on this cluster was installed with other volumes, and Kubernetes changes none of a "
            "StatefulSet. Delete it and try again; its pods and their data stay:\n"
            f"  kubectl delete {WORKLOADS['gateway']} -n {OPERATOR_NAMESPACE} --cascade=orphan"
        ) from failed


def install(phases: Phases) -> None:
    """The cluster and the operator in it."""
    changed = {"local": _local, "existing": _existing, "kind": _kind}[target().kind](phases)
    with phases("operator installed"):
        there = kubectl("get", "deployment,statefulset", "-n", OPERATOR_NAMESPACE, "-o", "name")
        release()
        kubectl("api-resources")  # kubectl finds `deepseek`, a category, only in what it was told after the chart came
        for name, workload in WORKLOADS.items():
            if workload.split("/")[1] in there and changed(name):
                kubectl("rollout", "restart", workload, "-n", OPERATOR_NAMESPACE)  # the same tag, other content
            kubectl("rollout", "status", workload, "-n", OPERATOR_NAMESPACE, "--timeout=120s")


def _local(phases: Phases) -> Callable[[str], bool]:
    """The local cluster with the images of this tree; says which of them are new to it."""
    screen = phases.screen
    screen.pause()
    if subprocess.run([*LOCAL, "prerequisites", "--install"], cwd=ROOT, check=False).returncode:
        raise Failed("the machine lacks what is named above")
    with phases("cluster and images built"):
        together(screen, cluster=[*LOCAL, "build"], images=[*LOCAL, "build-images"])
    with phases("cluster up"):
        run(*LOCAL, "up")
    with phases("images loaded"):
        together(screen, loading=[*LOCAL, "load-image", *KEYS])
    return lambda name: f"loaded localhost/deepseek-{name}:" in _log("loading")


def _existing(phases: Phases) -> Callable[[str], bool]:
    """The cluster of KUBECONFIG, with images in a registry that its nodes pull from."""
    phases.screen.line(f"cluster: {kubectl('config', 'current-context').strip()}, images: {target().image('KEY')}")
    if target().pushes:
        with phases("images built"):
            together(phases.screen, images=[*LOCAL, "build-images"])
        with phases("images pushed"):
            to = ("--to", target().registry, "--tag", target().tag)
            together(phases.screen, pushing=[*LOCAL, "push-images", *to])
    return lambda _: target().pushes


def _kind(phases: Phases) -> Callable[[str], bool]:
    """A cluster of kind's, by Docker; never run where no Docker is, and so less proven than the others."""
    with phases("images built"):
        together(phases.screen, images=[*LOCAL, "build-images"])
    with phases("cluster up"):
        if KIND_CLUSTER not in run("kind", "get", "clusters").split():
            run("kind", "create", "cluster", "--name", KIND_CLUSTER)
    with phases("images loaded"):
        run("kind", "load", "docker-image", "--name", KIND_CLUSTER, *map(target().image, KEYS))
    return lambda _: True


def prepare_text() -> None:
    """The text on this machine: train.txt and heldout.txt, made from Debian packages once."""
    if (TEXT / "text.json").exists():
        return
    if shutil.which("apt-get") is None:
        raise Failed(
            f"the quickstart's text comes from the Debian packages {' and '.join(PACKAGES)}; without apt-get put a "
            f"train.txt, a heldout.txt and a text.json into {TEXT} (see examples/quickstart/prepare_text.py)"
        )
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # noqa: S103 PTH101 apt downloads as a user of its own
        for refresh in (False, True):
            if refresh:
                subprocess.run(["apt-get", "update"], capture_output=True, check=False)
            done = subprocess.run(["apt-get", "download", *PACKAGES], cwd=directory, capture_output=True, check=False)
            if done.returncode == 0:
                break
        else:
            raise Failed(f"`apt-get download {' '.join(PACKAGES)}` failed:\n{done.stderr.decode()[-800:]}")
        debs = sorted(str(path) for path in Path(directory).glob("*.deb"))
        run(sys.executable, str(HERE / "prepare_text.py"), "--output", str(TEXT), *debs)


def upload_text() -> None:
    """The text on a claim of the quickstart's namespace, by way of a pod that is removed again."""
    if "text" in get("persistentvolumeclaims", NAMESPACE) and not get("pods", NAMESPACE).get("text-upload"):
        marked = kubectl("get", "pvc", "text", "-n", NAMESPACE, "-o", "jsonpath={.metadata.annotations.uploaded}")
        if marked:
            return
    # the pod needs a shell only: the image that the cluster has anyway
    text = (HERE / "text.yaml").read_text().replace("localhost/deepseek-runtime:dev", target().image("runtime"))
    kubectl("apply", "-f", "-", text=text)
    kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/text-upload", "--timeout=120s")
    for name in ("train.txt", "heldout.txt"):
        kubectl(
            "exec", "-i", "-n", NAMESPACE, "text-upload", "--", "sh", "-c", f"cat > /data/{name}",
            text=(TEXT / name).read_text(),
        )  # fmt: skip
    kubectl("annotate", "pvc", "text", "-n", NAMESPACE, "uploaded=true", "--overwrite")
    kubectl("delete", "pod", "text-upload", "-n", NAMESPACE, "--grace-period=1")


def life(phases: Phases) -> None:
    """The three resources, applied at once; the operator finds the order."""
    with phases("text on a volume"):
        kubectl("apply", "-f", str(HERE / "namespace.yaml"))
        prepare_text()
        upload_text()
    for name in ("model.yaml", "training.yaml", "service.yaml", "access.yaml"):
        kubectl("apply", "-f", str(HERE / name))
    milestones = (
        ("model built", "deepseekmodels", "seed"),
        ("pretrained", "trainingruns", "pretrain"),
        ("published, quantized, evaluated", "deepseekmodels", "handbook"),
        ("served on two ranks", "inferenceservices", "chat"),
    )
    for name, kind, resource in milestones:
        with phases(name):
            follow(phases.screen, NAMESPACE, kind, resource, _ready)


def _ready(resource: dict[str, Any]) -> bool:
    observed = resource.get("status", {}).get("observedGeneration")
    return condition(resource, "Ready").get("status") == "True" and resource["metadata"]["generation"] == observed


def ask(phases: Phases) -> dict[str, Any]:
    """One real answer over the gateway's URL, with a key that may use this service only."""
    with phases("answered"):
        made = run(
            *target().kubectl, "exec", "-n", OPERATOR_NAMESPACE, "statefulset/deepseek-gateway", "--",
            "/opt/venv/bin/python3", "-m", "deepseek_runtime.gateway", "keys", "create",
            "--namespace", NAMESPACE, "--name", "reader-key", "--service-account", "reader", "--expires", "30d",
            "--output", "json",
        )  # fmt: skip
        key = json.loads(made)
        kubectl("apply", "-f", "-", text=json.dumps(key["manifest"]))
        (TEXT / "key").write_text(key["key"])
        (TEXT / "key").chmod(0o600)
        with forwarded(OPERATOR_NAMESPACE, "deepseek-gateway", 80) as url:
            body = {"model": f"{NAMESPACE}/chat", "prompt": PROMPT, "max_tokens": 60, "temperature": 0.7, "seed": 7}
            request = urllib.request.Request(  # noqa: S310 a loopback port
                f"{url}/v1/completions",
                data=json.dumps(body).encode(),
                headers={"Authorization": f"Bearer {key['key']}", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
                answer: dict[str, Any] = json.load(response)
    return answer


def main() -> int:
    """Exit status 0 when everything was reached; 1 with the cause at the first phase that was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only-install", action="store_true", help="stop when the operator runs")
    arguments = parser.parse_args()
    screen = Screen()
    phases = Phases(screen)
    try:
        install(phases)
        if arguments.only_install:
            return 0
        life(phases)
        answer = ask(phases)
    except Failed as failed:
        screen.line(f"✗ {failed}")
        return 1
    except KeyboardInterrupt:
        screen.line("stopped; the cluster is left as it is: `make demo` goes on, `make clean` removes it")
        return 130
    models = get("deepseekmodels", NAMESPACE)
    screen.line(table(phases.seconds, models, get("trainingruns", NAMESPACE), TEXT, PROMPT, answer))
    if (missed := shortfall(models, TEXT)) is not None:
        screen.line(f"✗ {missed}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
