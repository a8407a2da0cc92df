"""Fixtures for the stage that installs a cluster: hosts of one's own, and the stage run on them."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.playbooks.cluster.cluster_runs import LIMITS
from tests.playbooks.ssh_hosts import SshHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.playbooks.cluster.cluster_runs import Configure
    from tests.playbooks.stage_runs import RunStage


@pytest.fixture
def cluster_dir(tmp_path: Path) -> Path:
    """The folder of the cluster, with the key of its hosts."""
    folder = tmp_path / "cluster"
    folder.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / "key")], check=True)
    return folder


@pytest.fixture
def start(tmp_path: Path, cluster_dir: Path) -> Iterator[Callable[..., SshHost]]:
    """Return a function that starts another host, which says that it runs a commit."""
    key = (cluster_dir / "key.pub").read_text(encoding="ascii")
    with contextlib.ExitStack() as running:
        started: list[SshHost] = []

        def one_more(deployed: str = "") -> SshHost:
            name = f"node-{len(started) + 1}"
            host = SshHost(tmp_path / "hosts" / name, name, deployed=deployed)
            started.append(running.enter_context(host.running(key)))
            return started[-1]

        yield one_more


@pytest.fixture
def host(start: Callable[[], SshHost]) -> SshHost:
    """The first host, the control plane."""
    return start()


@pytest.fixture
def configure(
    run_stage: RunStage, cluster_dir: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Configure:
    """Return a function that runs the stage with hosts."""
    # Where an ansible-playbook that is started by a module keeps its things, sockets among them: their paths are short.
    home = tmp_path_factory.mktemp("h")
    monkeypatch.setenv("HOME", str(home))

    def run(cluster: str, /, *hosts: SshHost, **request: Any) -> dict[str, Any]:
        listed = [host.request() for host in hosts]
        common = {"cluster": cluster, "cluster_dir": str(cluster_dir), "cluster_hosts": listed}
        return run_stage("configure_cluster", **(common | {"limits": LIMITS} | request))

    return run
