"""For the tests of the stage that installs a cluster: what installers leave, and what is looked for in results."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import yaml

if TYPE_CHECKING:
    from tests.playbooks.ssh_hosts import SshHost

LIMITS: Final = {"seconds": 60, "boot_seconds": 5, "memory_mb": 512, "disk_mb": 512, "processes": 64, "free_mb": 1}
CLIENT_KEY: Final = "cHJpdmF0ZQ=="
KUBECONFIG: Final = f"""apiVersion: v1
clusters:
- cluster:
    server: https://10.0.2.15:6443
  name: default
kind: Config
users:
- name: default
  user:
    client-key-data: {CLIENT_KEY}
"""
LEAVE: Final = f"cat <<'END'\n{KUBECONFIG}END\n"


class Configure(Protocol):
    """Run the stage on hosts with a kind of cluster, and return its result."""

    def __call__(self, cluster: str, /, *hosts: SshHost, **request: Any) -> dict[str, Any]:
        """Keys given override the request."""


class Install(Protocol):
    """Run the stage on hosts with one kind of cluster, and return its result."""

    def __call__(self, *hosts: SshHost, **request: Any) -> dict[str, Any]:
        """Keys given override the request; the installer's own are merged into its settings."""


def failed(result: dict[str, Any]) -> str:
    """Return the reason of a result that has to be a failure of the infrastructure."""
    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    return str(result["reason"])


def log_of(result: dict[str, Any]) -> str:
    """Return the installer's log, which has to be the only artifact."""
    [artifact] = result["artifacts"]
    assert artifact["kind"] == "log"
    return Path(artifact["path"]).read_text(encoding="utf-8")


def server_of(cluster_dir: Path) -> str:
    """Return the server of the kubeconfig that was left, which has to be for our account alone."""
    path = cluster_dir / "kubeconfig"
    assert path.stat().st_mode & 0o777 == 0o600
    return str(yaml.safe_load(path.read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"])


def found_outside_of_hosts(tmp_path: Path, secret: str) -> list[str]:
    """Return the files that have the secret in them, but for those of hosts and of the cluster."""
    kept = (tmp_path / "hosts", tmp_path / "cluster", tmp_path / "k3s")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    ours = [path for path in files if not any(path.is_relative_to(one) for one in kept)]
    return [str(path) for path in ours if secret.encode() in path.read_bytes()]


def running(word: str, host: SshHost | None = None) -> list[Path]:
    """Return the processes that have a word on their command line, those of a host alone if one is given."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            here = host is None or (path / "root" / "var").samefile(host.folder / "var")
            if here and word.encode() in (path / "cmdline").read_bytes():
                found.append(path)
    return found
