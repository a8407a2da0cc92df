"""A real Kubernetes API server on loopback: etcd, kube-apiserver and kube-controller-manager of scripts/kubernetes.

It has no kubelet, so nothing runs in it: one node is a placeholder. Specs that only need the API pass all the same.
"""

import contextlib
import json
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

READY_SECONDS = 120
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "placeholder"}}
STATUS = {
    "conditions": [{"type": "Ready", "status": "True", "reason": "Placeholder"}],
    "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
    "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
}
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{url}", certificate-authority: "{certificate}"}}}}]
users: [{{name: admin, user: {{token: "{token}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: admin}}}}]
current-context: c
"""


@dataclass
class Kubernetes:
    """A cluster, from the binaries in `binaries`, with everything it writes below `folder`.

    Attributes:
        taken_away: arguments of the API server that take something away from it.
    """

    binaries: Path
    folder: Path
    taken_away: tuple[str, ...] = ()
    url: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    @contextlib.contextmanager
    def running(self) -> Iterator["Kubernetes"]:
        """Run it for the block."""
        try:
            self._start()
            yield self
        finally:
            for process in reversed(self.processes.values()):
                process.kill()
                process.wait()

    def end(self, name: str) -> None:
        """End one of its servers."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def api(self) -> httpx.Client:
        """Return a client of its API, as the administrator."""
        token = (self.folder / "tokens.csv").read_text(encoding="ascii").partition(",")[0]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, verify=False, trust_env=False, timeout=20)  # noqa: S501 - on loopback

    def _start(self) -> None:
        etcd, peers, port = free_ports(3)
        self.url = f"https://127.0.0.1:{port}"
        certificates = self.folder / "certs"
        token = secrets.token_hex(16)
        (self.folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n", encoding="ascii")
        certificate = certificates / "apiserver.crt"
        self.kubeconfig.write_text(
            KUBECONFIG.format(url=self.url, certificate=certificate, token=token), encoding="ascii"
        )
        key = self.folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        self._run("etcd", *etcd_arguments(self.folder, etcd, peers))
        self._run("kube-apiserver", *apiserver_arguments(self.folder, etcd, port, key), *self.taken_away)
        self._wait("/readyz", "the API server")
        self._run("kube-controller-manager", *manager_arguments(self.kubeconfig, key, certificate))
        self._wait("/api/v1/namespaces/default/serviceaccounts/default", "the controllers")
        self._add_node()

    def _run(self, name: str, *arguments: str) -> None:
        program = self.binaries / name
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [str(program) if program.exists() else name, *arguments]
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def _wait(self, path: str, what: str) -> None:
        end = time.monotonic() + READY_SECONDS
        with self.api() as api:
            while time.monotonic() < end:
                ended = [name for name, process in self.processes.items() if process.poll() is not None]
                assert not ended, f"{ended[0]} ended: {(self.folder / f'{ended[0]}.log').read_text()[-1000:]}"
                with contextlib.suppress(httpx.TransportError):
                    if api.get(path).is_success:
                        return
                time.sleep(0.2)
        raise AssertionError(f"{what} not ready in {READY_SECONDS} s")

    def _add_node(self) -> None:
        """Add a node that says it is ready. Admission taints it, and no controller of ours takes that away."""
        with self.api() as api:
            api.post("/api/v1/nodes", json=NODE).raise_for_status()
            patch = {"headers": {"Content-Type": "application/merge-patch+json"}}
            taints = json.dumps({"spec": {"taints": []}})
            api.patch("/api/v1/nodes/placeholder", content=taints, **patch).raise_for_status()
            status = json.dumps({"status": STATUS})
            api.patch("/api/v1/nodes/placeholder/status", content=status, **patch).raise_for_status()


def etcd_arguments(folder: Path, port: int, peers: int) -> list[str]:
    """Return the arguments of etcd. What it holds is thrown away, so nothing is synced."""
    clients, members = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    addresses = [f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"]
    addresses += [f"--listen-peer-urls={members}", f"--initial-advertise-peer-urls={members}"]
    return [f"--data-dir={folder / 'etcd'}", *addresses, f"--initial-cluster=default={members}", "--unsafe-no-fsync"]


def apiserver_arguments(folder: Path, etcd: int, port: int, key: Path) -> list[str]:
    """Return the arguments of the API server."""
    issuer = "https://kubernetes.default.svc"
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certs'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--allow-privileged",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--service-account-issuer={issuer}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
    ]


def manager_arguments(kubeconfig: Path, key: Path, certificate: Path) -> list[str]:
    """Return the arguments of the controllers: all but those that look after kubelets."""
    return [
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--port=0",
        "--secure-port=0",
        "--controllers=*,-nodelifecycle,-nodeipam",
        f"--service-account-private-key-file={key}",
        f"--root-ca-file={certificate}",
    ]


def free_ports(number: int) -> list[int]:
    """Return so many ports of loopback that are free."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
