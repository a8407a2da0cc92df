#!/usr/bin/python
"""Start a Kubernetes control plane on the builder's loopback: etcd, the API server and its controllers.

It has no kubelet, so nothing runs in it: one node is a placeholder. That is enough for tests of the API, and it is all
of Kubernetes that can be had from Debian's own sources. The servers outlive the module; their folders in `cluster_dir`
say how to end them.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_background import Background
from ansible.module_utils.ci_cluster import PROGRAMS, Cluster
from ansible.module_utils.ci_control_plane import KUBECONFIG, apiserver, etcd, free_ports, manager
from ansible.module_utils.ci_sandbox import last_line, tail
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock, output, run

ARGUMENTS: Final[dict[str, Any]] = {
    "programs": {"type": "path", "required": True},
    "cluster_dir": {"type": "path", "required": True},
    "taken_away": {"type": "list", "elements": "str", "default": []},
    "limits": {"type": "dict", "required": True},
}
_POLL_SECONDS: Final = 0.3
_CALL: Final = "--request-timeout=20s"
_NODE: Final = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "placeholder"}}
_STATUS: Final = {
    "conditions": [{"type": "Ready", "status": "True", "reason": "Placeholder"}],
    "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
    "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
}


class ControlPlane:
    """The servers of a control plane, in the folder of its cluster."""

    def __init__(self, programs: Path, folder: Path, seconds: float) -> None:
        """Take where the programs are, the folder, and how long the servers may take to come up."""
        self._programs, self._folder = programs, folder
        self._end = time.monotonic() + seconds
        self._servers: dict[str, Background] = {}
        # Without a folder of its own for it, kubectl keeps what it learns below the folder the playbook runs in.
        places = [f"--kubeconfig={folder / 'kubeconfig'}", f"--cache-dir={folder / 'kubectl'}"]
        self._kubectl = [str(programs / "kubectl"), *places, _CALL]

    def start(self, taken_away: list[str]) -> str:
        """Start the servers one after another, and return their version.

        `taken_away` are further arguments of the API server. Raises InfrastructureError when one does not come up.
        """
        port, clients, peers = free_ports(3)
        key = self._folder / "sa.key"
        token = secrets.token_hex(16)
        _private(self._folder / "tokens.csv", f"{token},admin,admin,system:masters\n")
        _private(self._folder / "kubeconfig", KUBECONFIG.format(port=port, token=token, folder=self._folder))
        output(["openssl", "genrsa", "-out", key, "2048"])
        self._serve("etcd", etcd(self._folder, clients, peers))
        self._serve("kube-apiserver", [*apiserver(self._folder, clients, port, key), *taken_away])
        self._wait("/readyz")
        self._serve("kube-controller-manager", manager(self._folder, key))
        self._wait("/api/v1/namespaces/default/serviceaccounts/default")
        self._add_node()
        self._lend("kubectl", "e2e.test")
        return str(json.loads(output([*self._kubectl, "version", "--output=json"]))["serverVersion"]["gitVersion"])

    def stop(self) -> None:
        """End the servers that were started."""
        for server in self._servers.values():
            server.stop()

    def _serve(self, name: str, arguments: list[str]) -> None:
        program = self._programs / name
        self._servers[name] = Background(self._folder / name, f"{name}.log")
        self._servers[name].start([str(program) if program.exists() else name, *arguments], {})

    def _wait(self, path: str) -> None:
        while run([*self._kubectl, "get", "--raw", path]).returncode != 0:
            for name, server in self._servers.items():
                if not server.is_running():
                    raise InfrastructureError(f"{name} ended: {last_line(tail(server.log))}")
            if time.monotonic() > self._end:
                raise InfrastructureError(f"the control plane did not come up: {path} does not answer")
            time.sleep(_POLL_SECONDS)

    def _add_node(self) -> None:
        """Add a node that says it is ready. Admission taints it, and no controller of ours takes that away."""
        made = self._replace("/api/v1/nodes", _NODE, verb="create")
        made["spec"].pop("taints", None)
        # Whatever a controller has written into it meanwhile.
        del made["metadata"]["resourceVersion"]
        self._replace("/api/v1/nodes/placeholder", made)
        self._replace("/api/v1/nodes/placeholder/status", made | {"status": _STATUS})

    def _lend(self, *names: str) -> None:
        """Let the steps that follow find programs of this release."""
        folder = self._folder / PROGRAMS
        folder.mkdir()
        for name in names:
            (folder / name).symlink_to(self._programs / name)

    def _replace(self, path: str, content: dict[str, Any], *, verb: str = "replace") -> dict[str, Any]:
        file = self._folder / "node.json"
        file.write_text(json.dumps(content), encoding="ascii")
        answer: dict[str, Any] = json.loads(output([*self._kubectl, verb, "--raw", path, "-f", file]))
        return answer


def start(params: dict[str, Any]) -> Part:
    """Start it; see the module's docstring. Returns the output `cluster_versions`."""
    folder = Path(params["cluster_dir"])
    left = Cluster(folder)
    left.end()
    left.remove()
    folder.mkdir(mode=0o700, parents=True)
    plane = ControlPlane(Path(params["programs"]).expanduser(), folder, float(params["limits"]["boot_seconds"]))
    try:
        version = plane.start(params["taken_away"])
    except InfrastructureError:
        plane.stop()
        raise
    return {"outputs": {"cluster_versions": {"kubernetes": version}}, "tool_seconds": Clock.spent()}


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")


if __name__ == "__main__":
    run_module(ARGUMENTS, start)
