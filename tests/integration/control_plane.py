"""A real etcd, kube-apiserver and kube-controller-manager as ordinary processes on loopback, without root."""

import contextlib
import json
import random
import secrets
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.integration.api import Api

Object = dict[str, Any]

ADMIN = "admin"
_GROUPS = {ADMIN: "system:masters"}

_CONTROLLERS = (
    "clusterrole-aggregation-controller", "daemonset-controller", "deployment-controller",
    "garbage-collector-controller", "job-controller", "namespace-controller",
    "persistentvolumeclaim-protection-controller", "replicaset-controller", "serviceaccount-controller",
)  # fmt: skip


def free_port() -> int:
    """A loopback port that nobody listens on, below those that the kernel gives to outgoing connections meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


class ControlPlane:
    """The processes of one control plane; all of its state is in `directory`.

    Without `controllers` there is no controller manager. The audit log tells of the users in `audited`, or of all.
    """

    def __init__(
        self,
        kube: Path,
        directory: Path,
        controllers: Sequence[str] = _CONTROLLERS,
        audited: Sequence[str] = (),
    ) -> None:
        self.kube = kube
        self.directory = directory
        self._controllers = controllers
        self._audited = audited
        self.url = f"https://127.0.0.1:{free_port()}"
        self.audit_log = directory / "audit.log"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Returns when the API server answers; raises with the end of a component's log where one dies."""
        tokens = {name: secrets.token_hex(16) for name in _GROUPS}
        self._write(
            "tokens.csv", "".join(f'{token},{name},{name},"{_GROUPS[name]}"\n' for name, token in tokens.items())
        )
        self._write("audit.yaml", json.dumps(self._audit_policy()))
        key, public = str(self.directory / "accounts.key"), str(self.directory / "accounts.pub")
        self._run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        self._run("openssl", "ec", "-in", key, "-pubout", "-out", public)
        clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._spawn(
            "etcd", "--name=test", f"--data-dir={self.directory / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}", f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=test={peers}",
        )  # fmt: skip
        self._spawn(
            "kube-apiserver", f"--etcd-servers={clients}", "--bind-address=127.0.0.1",
            f"--secure-port={self.url.rpartition(':')[2]}", f"--cert-dir={self.directory / 'pki'}",
            f"--token-auth-file={self.directory / 'tokens.csv'}", "--authorization-mode=RBAC",
            f"--service-account-key-file={public}", f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/16",
            "--endpoint-reconciler-type=none", "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            f"--audit-policy-file={self.directory / 'audit.yaml'}", f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=4096",
        )  # fmt: skip
        self._await("/readyz", tokens[ADMIN])
        self.kubeconfig = self.write_kubeconfig(ADMIN, tokens[ADMIN])
        self.api = Api.connect(self.kubeconfig)
        if not self._controllers:
            return
        self._spawn(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig}", f"--service-account-private-key-file={key}",
            "--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000",
            f"--cert-dir={self.directory / 'manager'}",
            f"--controllers={','.join(self._controllers)}",
        )  # fmt: skip

    def stop(self) -> None:
        """Ends every process, the youngest first."""
        if hasattr(self, "api"):
            self.api.close()
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Standard output of kubectl as the administrator; fails with what it said."""
        # discovery is cached by address: another control plane may have had this port
        return self._client("kubectl", (f"--cache-dir={self.directory / 'cache'}", *arguments), text)

    def helm(self, *arguments: str) -> str:
        """Standard output of helm as the administrator; fails with what it said."""
        return self._client("helm", arguments, None)

    def _client(self, program: str, arguments: Sequence[str], text: str | None) -> str:
        command = [str(self.kube), program, "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def token(self, account: str, audience: str | None = None) -> str:
        """A bearer token of a ServiceAccount (`namespace:name`)."""
        namespace, name = account.split(":")
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        spec = {"audiences": [audience]} if audience else {}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        text: str = self.api.request("POST", path, body).ok()["status"]["token"]
        return text

    def write_kubeconfig(self, user: str, token: str) -> Path:
        """A kubeconfig of somebody with a bearer token."""
        cluster = {"server": self.url, "certificate-authority": str(self.directory / "pki" / "apiserver.crt")}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        return self._write(f"{user}.kubeconfig", yaml.safe_dump(content))

    def _audit_policy(self) -> Object:
        rule = {"level": "Metadata", **({"users": list(self._audited)} if self._audited else {})}
        return {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [rule, {"level": "None"}],
        }

    def _write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    def _spawn(self, program: str, *arguments: str) -> None:
        with (self.directory / f"{program}.log").open("wb") as log:
            self.processes[program] = subprocess.Popen([self.kube, program, *arguments], stdout=log, stderr=log)

    def _await(self, path: str, token: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not self._answers(path, token):
            for program, process in self.processes.items():
                if process.poll() is not None or time.monotonic() > deadline:
                    log = (self.directory / f"{program}.log").read_text(errors="replace")
                    raise RuntimeError(f"{program} does not run (status {process.poll()}):\n{log[-3000:]}")
            time.sleep(0.1)

    def _answers(self, path: str, token: str) -> bool:
        certificate = self.directory / "pki" / "apiserver.crt"
        if not certificate.exists():
            return False
        request = urllib.request.Request(  # noqa: S310 it is https
            self.url + path, headers={"Authorization": f"Bearer {token}"}
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=certificate)),
        )
        try:
            with opener.open(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, ssl.SSLError):
            return False
