"""How the servers of a control plane are called, all of them on loopback."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

KUBECONFIG: Final = """\
apiVersion: v1
kind: Config
clusters:
  - name: c
    cluster:
      server: "https://127.0.0.1:{port}"
      certificate-authority: "{folder}/certs/apiserver.crt"
users: [{{name: admin, user: {{token: "{token}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: admin}}}}]
current-context: c
"""


def etcd(folder: Path, port: int, peers: int) -> list[str]:
    """Return the arguments of etcd. What it holds is thrown away, so nothing is synced."""
    clients, members = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    addresses = [f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"]
    addresses += [f"--listen-peer-urls={members}", f"--initial-advertise-peer-urls={members}"]
    return [
        f"--data-dir={folder / 'etcd.data'}",
        *addresses,
        f"--initial-cluster=default={members}",
        "--unsafe-no-fsync",
    ]


def apiserver(folder: Path, clients: int, port: int, key: Path) -> list[str]:
    """Return the arguments of the API server; `clients` is etcd's port."""
    return [
        f"--etcd-servers=http://127.0.0.1:{clients}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certs'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--allow-privileged",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
    ]


def manager(folder: Path, key: Path) -> list[str]:
    """Return the arguments of the controllers: all but those that look after kubelets."""
    return [
        f"--kubeconfig={folder / 'kubeconfig'}",
        "--leader-elect=false",
        "--port=0",
        "--secure-port=0",
        "--controllers=*,-nodelifecycle,-nodeipam",
        f"--service-account-private-key-file={key}",
        f"--root-ca-file={folder / 'certs' / 'apiserver.crt'}",
    ]


def free_ports(number: int) -> list[int]:
    """Return so many ports of loopback that are free."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
