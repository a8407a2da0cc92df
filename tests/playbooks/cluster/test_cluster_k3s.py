"""k3s as the installer: a stand-in for it, on hosts with a shell and no more, by real SSH."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.playbooks.cluster.cluster_runs import (
    CLIENT_KEY,
    LEAVE,
    LIMITS,
    Configure,
    Install,
    failed,
    found_outside_of_hosts,
    log_of,
    running,
    server_of,
)
from tests.playbooks.ssh_hosts import SshHost

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN: Final = "K10c0ffee::server:5e1f"  # noqa: S105 - made up
K3S: Final = """#!/bin/sh
# A stand-in for k3s: it leaves what the real one leaves, and says how it was called.
printf '%s\\n' "$@" >/var/k3s-$1
case $1 in
--version) echo "k3s version v1.30.4+k3s1 (98262b5d)"; echo "go version go1.22.5"; exit ;;
server)
    echo "level=info msg=\\"Starting k3s\\""
    SERVER
    mkdir -p /etc/rancher/k3s /var/lib/rancher/k3s/server
    echo TOKEN >/var/lib/rancher/k3s/server/node-token
    LEAVE
    ;;
agent)
    for word; do case $word in --token-file=*) cp "${word#*=}" /var/joined-with ;; esac; done
    mkdir -p /var/lib/rancher/k3s/agent
    echo joined >/var/lib/rancher/k3s/agent/kubelet.kubeconfig
    ;;
esac
exec sleep 976543
"""


def k3s(server: str = ":", leave: str = LEAVE) -> str:
    """Return the stand-in for k3s; `server` is what else the server does, `leave` prints the kubeconfig it writes."""
    left = f"{{ {leave}}} >/etc/rancher/k3s/k3s.yaml"
    return K3S.replace("SERVER", server).replace("TOKEN", TOKEN).replace("LEAVE", left)


@pytest.fixture
def install(configure: Configure, tmp_path: Path) -> Install:
    """Return a function that installs a stand-in for k3s on hosts, `program` if it is given."""

    def run(*hosts: SshHost, program: str = "", **request: Any) -> dict[str, Any]:
        path = tmp_path / "k3s"
        path.write_text(program or k3s(), encoding="ascii")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        settings = {"program": str(path), "sha256": digest, "arguments": []} | request.pop("k3s", {})
        return configure("k3s", *hosts, k3s=settings, **request)

    return run


def test_another_binary_than_the_one_that_was_named_is_refused(install: Install, host: SshHost) -> None:
    """Both digests are said; nothing reaches the host."""
    found, wanted = hashlib.sha256(k3s().encode()).hexdigest(), "0" * 64
    reason = failed(install(host, k3s={"sha256": wanted}))

    assert reason.endswith(f"has sha256 {found} instead of {wanted}")
    assert not (host.folder / "var" / "usrlocal" / "bin").exists()


def test_a_host_that_is_away_is_named(install: Install, host: SshHost) -> None:
    """With its address, and what ssh says."""
    away = SshHost(host.folder, "node-1", port=9)
    reason = failed(install(away))

    assert reason.startswith("node-1 (127.0.0.1:9) cannot be reached for sending k3s: ")
    assert reason.endswith("Connection refused")


def test_a_server_that_ends_says_why(install: Install, host: SshHost) -> None:
    """Its last line is the reason; all it said is the log, and its version is known."""
    result = install(host, program=k3s("echo 'level=fatal msg=\"no memory cgroup\"'; exit 1"))

    assert failed(result) == 'k3s server on node-1 failed: level=fatal msg="no memory cgroup"'
    assert 'msg="Starting k3s"' in log_of(result)
    assert result["outputs"] == {"cluster_versions": {"k3s": "v1.30.4+k3s1"}}


def test_a_server_that_never_comes_up_is_waited_for_no_longer_than_the_stage(install: Install, host: SshHost) -> None:
    """The reason is what it waits for, and its last line."""
    result = install(host, program=k3s("exec sleep 976543"), limits=LIMITS | {"seconds": 2})
    waited = "there was no /etc/rancher/k3s/k3s.yaml after 2 seconds"

    assert failed(result) == f'k3s server on node-1 failed: {waited}; its last line: level=info msg="Starting k3s"'
    assert 'msg="Starting k3s"' in log_of(result)


def test_a_server_that_leaves_no_kubeconfig_is_no_cluster(install: Install, host: SshHost) -> None:
    """Where there is no server in it, nothing is written."""
    reason = failed(install(host, program=k3s(leave="echo starting; ")))

    assert reason == "/etc/rancher/k3s/k3s.yaml of node-1 is no kubeconfig: it names no server"


def test_k3s_on_one_host(install: Install, host: SshHost, cluster_dir: Path, tmp_path: Path) -> None:
    """The server outlives the session; its kubeconfig is for the builder, and what is secret is in no log."""
    result = install(host, k3s={"arguments": ["--disable=traefik", "--kubelet-arg=a b;$(id)"]})

    assert (result["status"], result["reason"]) == ("SUCCESS", "")
    assert result["outputs"] == {"cluster_versions": {"k3s": "v1.30.4+k3s1"}}
    assert server_of(cluster_dir) == "https://127.0.0.1:16443"
    assert host.text("/var/k3s-server").splitlines() == [
        *("server", "--tls-san=127.0.0.1", "--write-kubeconfig-mode=0600", "--node-name=node-1", "--node-ip=10.0.2.15"),
        *("--disable=traefik", "--kubelet-arg=a b;$(id)"),
    ]
    assert running("976543", host)
    assert 'msg="Starting k3s"' in log_of(result)
    assert found_outside_of_hosts(tmp_path, CLIENT_KEY) == []


def test_another_try_begins_anew(install: Install, host: SshHost, cluster_dir: Path) -> None:
    """A server that is still there ends; the new one has to come up itself."""
    install(host)
    result = install(host, program=k3s("echo 'msg=\"no memory cgroup\"'; exit 1"))

    assert failed(result) == 'k3s server on node-1 failed: msg="no memory cgroup"'
    assert not running("976543", host)


def test_a_second_host_joins_with_the_token_of_the_first(
    install: Install, host: SshHost, start: Callable[[], SshHost], tmp_path: Path
) -> None:
    """It reaches the first from the inside; the token is on the hosts alone."""
    second = start()
    result = install(host, second)

    assert (result["status"], result["reason"]) == ("SUCCESS", "")
    assert second.text("/var/joined-with") == TOKEN
    assert "--server=https://10.0.2.15:6443" in second.text("/var/k3s-agent").splitlines()
    assert second.text("/var/k3s-agent").splitlines()[-2:] == ["--node-name=node-2", "--node-ip=10.0.2.16"]
    assert (second.folder / "var/lib/rancher/join-token").stat().st_mode & 0o777 == 0o600
    assert found_outside_of_hosts(tmp_path, TOKEN) == []


def test_a_host_that_cannot_join_says_why_without_the_token(
    install: Install, host: SshHost, start: Callable[[], SshHost], tmp_path: Path
) -> None:
    """A failure where the token was is told as any other."""
    second = start()
    (second.folder / "var" / "lib").mkdir()
    (second.folder / "var" / "lib" / "rancher").write_text("in the way", encoding="ascii")
    result = install(host, second)

    assert failed(result).startswith("taking the token on node-2 failed: ")
    assert found_outside_of_hosts(tmp_path, TOKEN) == []
