"""Hosts that a provider has lent become those of a cluster: on the image's commit, and reached by SSH alone."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from ansible.module_utils.ci_stage import InfrastructureError

from tests.playbooks.cluster.cluster_runs import LIMITS
from tests.playbooks.stage_runs import module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.playbooks.ssh_hosts import SshHost
    from tests.playbooks.stage_runs import RunStage

REV = "a" * 64


@pytest.fixture
def take(tmp_path: Path, cluster_dir: Path, api: int) -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that takes hosts for a cluster in the folder `taken`; all of it ends with the test."""
    key, taken = cluster_dir / "key", tmp_path / "taken"

    def run(*hosts: SshHost, **changed: Any) -> dict[str, Any]:
        lent = [host.request(key=str(key), arch="x86_64", id=host.name) for host in hosts]
        asked = {"hosts": lent, "compose_rev": REV, "ostree_url": "", "cluster_dir": str(taken), "api_port": api}
        part: dict[str, Any] = module("take_hosts").take(asked | {"limits": LIMITS} | changed)
        return part

    yield run
    module("release_hosts").release({"cluster_dir": str(taken)})


@pytest.fixture
def api() -> Iterator[int]:
    """Return the port of something that answers on the hosts' own loopback, which is this machine's here."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"the API")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def said(port: int) -> bytes:
    """Return what comes from a port until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, connection.makefile("rb") as file:
        return file.read()


def test_a_host_that_booted_something_else_is_refused(take: Any, start: Any) -> None:
    """What it runs is named. Others have booted the image: it is not the package's fault."""
    with pytest.raises(InfrastructureError, match=f"^node-1 runs {'b' * 64}, not {REV}$"):
        take(start("b" * 64))


def test_a_host_without_ostree_is_refused(take: Any, host: SshHost) -> None:
    """It cannot be put on the image's commit."""
    with pytest.raises(InfrastructureError, match=r"^node-1 runs no OSTree deployment, or has no ostree: it cannot be"):
        take(host, ostree_url="http://127.0.0.1:9/ostree")


def test_hosts_that_do_not_reach_each_other_are_refused(take: Any, start: Any, tmp_path: Path) -> None:
    """Hosts in networks of their own have the same address each; no port is opened to them."""
    with pytest.raises(InfrastructureError, match=r"^node-1, node-2 all call themselves 127\.0\.0\.1: hosts of a"):
        take(start(REV), start(REV))

    assert tunnels(tmp_path / "taken") == []


def test_a_host_is_described_by_what_it_says_and_its_api_is_reached(
    run_stage: RunStage, start: Any, cluster_dir: Path, api: int, tmp_path: Path
) -> None:
    """Through SSH, also after it broke off; when the cluster ends, the port is closed. The key stays the lease's."""
    host, taken = start(REV), tmp_path / "taken"
    lent = host.request(key=str(cluster_dir / "key"), arch="x86_64", id="node-1")
    asked = {"compose_rev": REV, "cluster": "k3s", "provision_hosts_api_ports": {"k3s": api}}
    result = run_stage("provision_hosts", test_hosts=[lent], cluster_dir=str(taken), **asked)
    assert result["status"] == "SUCCESS", result["reason"]
    (described,) = result["outputs"]["cluster_hosts"]
    first = said(described["api_port"])
    (ssh,) = [one for one in tunnels(taken) if one.name() == "ssh"]
    ssh.kill()
    again = b""
    while not again:
        with contextlib.suppress(OSError):
            again = said(described["api_port"])
    ended = [module("release_hosts").release({"cluster_dir": str(taken)})["outputs"] for _ in range(2)]

    assert (described["name"], described["inside"], described["port"]) == ("node-1", "127.0.0.1", host.port)
    assert described["key"] == str(cluster_dir / "key")
    assert (first, again) == (b"the API", b"the API")
    assert ended == [{"ended": 0}, {"ended": 0}]
    assert tunnels(taken) == []
    assert not taken.exists()


def tunnels(folder: Path) -> list[psutil.Process]:
    """Return the processes that work for a cluster."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if str(folder) in " ".join(one.info["cmdline"] or []) and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found
