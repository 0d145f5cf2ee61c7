"""Keys, certificates and kubeconfigs of the node's components and its administrator."""

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from local import programs
from local.places import Node
from local.ranges import Ranges

_DAYS = "3650"


@dataclass(frozen=True)
class _Authority:
    directory: Path
    name: str

    def make(self) -> None:
        """A self-signed certificate."""
        _key(self.directory / f"{self.name}.key")
        programs.output(
            ["openssl", "req", "-x509", "-new", "-key", self.directory / f"{self.name}.key",
             "-subj", f"/CN={self.name}", "-days", _DAYS, "-out", self.directory / f"{self.name}.crt"]
        )  # fmt: skip

    def sign(self, name: str, subject: str, alternatives: str = "") -> None:
        """A key and a certificate for it."""
        at = self.directory / name
        _key(at.with_suffix(".key"))
        request = programs.output(["openssl", "req", "-new", "-key", at.with_suffix(".key"), "-subj", subject])
        extensions = at.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={alternatives or 'DNS:' + name}\n")
        authority = self.directory / self.name
        programs.output(
            ["openssl", "x509", "-req", "-CA", authority.with_suffix(".crt"), "-CAkey", authority.with_suffix(".key"),
             "-CAcreateserial", "-days", _DAYS, "-out", at.with_suffix(".crt"), "-extfile", extensions],
            stdin=request.encode(),
        )  # fmt: skip
        extensions.unlink()


def make(directory: Path, ranges: Ranges) -> None:
    """Makes everything in a directory that appears complete or not at all; what is there stays."""
    if directory.exists():
        return
    partial = directory.with_name("pki.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    authority, front = _Authority(partial, "ca"), _Authority(partial, "front-ca")
    authority.make()
    front.make()
    _key(partial / "service-account.key")
    programs.output(
        ["openssl", "ec", "-in", partial / "service-account.key", "-pubout", "-out", partial / "service-account.pub"]
    )
    names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ]
    addresses = ["127.0.0.1", ranges.node, ranges.api]
    alternatives = ",".join([f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses])
    authority.sign("apiserver", "/CN=kube-apiserver", alternatives)
    authority.sign("kubelet-client", "/CN=apiserver-kubelet-client")
    front.sign("front-proxy", "/CN=front-proxy")
    subjects = {
        "admin": "/O=system:masters/CN=admin",
        "controller-manager": "/CN=system:kube-controller-manager",
        "scheduler": "/CN=system:kube-scheduler",
        "proxy": "/CN=system:kube-proxy",
        "coredns": "/CN=coredns",
        "volumes": "/CN=volumes",
    }
    for name, subject in subjects.items():
        authority.sign(name, subject)
        _kubeconfig(partial, name, ranges)
    for file in partial.glob("*.key"):
        file.chmod(0o600)
    partial.rename(directory)


def make_kubelet(directory: Path, node: Node, ranges: Ranges) -> None:
    """Makes the credentials of a node's kubelet, if they are missing, with which it serves as well as asks."""
    if (directory / f"{node.name}.kubeconfig").exists():
        return
    names = f"DNS:{node.name},IP:{ranges.address(node.number)}"
    _Authority(directory, "ca").sign(node.name, f"/O=system:nodes/CN=system:node:{node.name}", names)
    (directory / f"{node.name}.key").chmod(0o600)
    _kubeconfig(directory, node.name, ranges)


def _key(file: Path) -> None:
    programs.output(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file])


def _kubeconfig(directory: Path, user: str, ranges: Ranges) -> None:
    def data(name: str) -> str:
        return base64.b64encode((directory / name).read_bytes()).decode()

    cluster = {"server": f"https://{ranges.node}:6443", "certificate-authority-data": data("ca.crt")}
    credentials = {"client-certificate-data": data(f"{user}.crt"), "client-key-data": data(f"{user}.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": user}}],
        "current-context": "local",
    }
    partial = directory / f"{user}.kubeconfig.partial"
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.chmod(0o600)
    partial.rename(directory / f"{user}.kubeconfig")
