"""The few calls that the quickstart makes of a cluster, through the kubectl of its target."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from examples.quickstart.target import ROOT, Failed, target


def run(*command: str, text: str | None = None, timeout: float = 900) -> str:
    """Standard output of a command; Failed with its standard error where it does not succeed."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False)
    if done.returncode:
        raise Failed(f"`{' '.join(command[:6])}` failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def kubectl(*arguments: str, text: str | None = None) -> str:
    """`kubectl` on the cluster."""
    return run(*target().kubectl, *arguments, text=text)


def get(kind: str, namespace: str) -> dict[str, dict[str, Any]]:
    """All objects of a kind by name."""
    items = json.loads(kubectl("get", kind, "-n", namespace, "-o", "json"))["items"]
    return {item["metadata"]["name"]: item for item in items}


def condition(resource: dict[str, Any], kind: str) -> dict[str, str]:
    """A condition of a resource, empty where it has none."""
    conditions = resource.get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == kind), {})


@contextmanager
def forwarded(namespace: str, service: str, port: int) -> Iterator[str]:
    """The root URL of a Service, forwarded to a free loopback port while the block runs."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*target().kubectl, "port-forward", "-n", namespace, f"service/{service}", f":{port}", "--address=127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment,
        process_group=0,
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if "127.0.0.1:" not in line:
                raise Failed(f"cannot reach service {namespace}/{service}: {line.strip()}")
            time.sleep(0.1)
            yield f"http://127.0.0.1:{line.split('127.0.0.1:')[1].split()[0]}"
        finally:
            process.terminate()
