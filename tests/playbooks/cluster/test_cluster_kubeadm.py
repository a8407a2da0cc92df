"""kubeadm as the installer: a stand-in for it, on hosts with a shell and no more, by real SSH."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.playbooks.cluster.cluster_runs import (
    LEAVE,
    LIMITS,
    Configure,
    Install,
    failed,
    found_outside_of_hosts,
    log_of,
    server_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.playbooks.ssh_hosts import SshHost

JOIN_TOKEN: Final = "abcdef.0123456789abcdef"  # noqa: S105 - made up
KUBEADM: Final = f"""#!/bin/sh
# A stand-in for kubeadm: it leaves what the real one leaves, and says how it was called.
printf '%s\\n' "$@" >/var/kubeadm-$1
case $1 in
version) echo v1.29.3 ;;
init)
    echo "[init] Using Kubernetes version: v1.29.3"
    INIT
    mkdir -p /etc/kubernetes
    {{ {LEAVE}}} >/etc/kubernetes/admin.conf
    ;;
token) echo "kubeadm join 10.0.2.15:6443 --token {JOIN_TOKEN} --discovery-token-ca-cert-hash sha256:00 " ;;
esac
"""
KUBECTL: Final = """#!/bin/sh
# A stand-in for kubectl: it says how it was called.
echo "$@" >>/var/kubectl
case $* in *taint*/master-) echo "taint not found" >&2; exit 1 ;; esac
"""


def kubeadm(init: str = ":") -> dict[str, str]:
    """Return the stand-ins an image for kubeadm has; `init` is what else `kubeadm init` does."""
    return {"kubeadm": KUBEADM.replace("INIT", init), "kubectl": KUBECTL, "kubelet": "#!/bin/sh\n"}


@pytest.fixture
def install(configure: Configure, tmp_path: Path) -> Install:
    """Return a function that has kubeadm make a cluster of hosts."""
    (tmp_path / "network.yaml").write_text("kind: DaemonSet\n", encoding="ascii")

    def run(*hosts: SshHost, **request: Any) -> dict[str, Any]:
        settings = {"network": str(tmp_path / "network.yaml"), "network_sha256": "", "arguments": []}
        return configure("kubeadm", *hosts, kubeadm=settings | request.pop("kubeadm", {}), **request)

    return run


def test_an_image_without_kubelet_is_told(install: Install, host: SshHost) -> None:
    """What is missing has to come with the image."""
    host.install({"kubeadm": KUBEADM})
    reason = failed(install(host))

    assert reason == (
        "preparing for kubeadm on node-1 failed: kubelet is not in the image; add it to what the host consists of"
    )


def test_kubeadm_that_fails_says_why(install: Install, host: SshHost) -> None:
    """Its last line is the reason, whatever channel it came by; the log is kept."""
    host.install(kubeadm("echo '[ERROR Swap]: swap is on' >&2; exit 1"))
    result = install(host)

    assert failed(result) == "kubeadm init on node-1 failed: [ERROR Swap]: swap is on"
    assert "[init] Using Kubernetes version: v1.29.3" in log_of(result)


def test_another_try_begins_anew(install: Install, host: SshHost) -> None:
    """What an earlier one left on the host is undone."""
    host.install(kubeadm("mkdir /etc/kubernetes; touch /etc/kubernetes/kubelet.conf; exit 1"))
    install(host)
    host.install(kubeadm())

    assert install(host)["status"] == "SUCCESS"
    assert host.text("/var/kubeadm-reset") == "reset\n--force\n"


def test_kubeadm_that_hangs_is_given_up(install: Install, host: SshHost) -> None:
    """The stage ends when its time does."""
    host.install(kubeadm("sleep 976543"))
    result = install(host, limits=LIMITS | {"seconds": 3})
    last = "[init] Using Kubernetes version: v1.29.3"

    assert failed(result) == f"kubeadm init on node-1 did not end within 3 seconds; its last line: {last}"


def test_kubeadm_on_one_host(install: Install, host: SshHost, cluster_dir: Path) -> None:
    """It gets its network, and pods may run on it; the token of `kubeadm init` is not printed."""
    host.install(kubeadm())
    result = install(host, kubeadm={"arguments": ["--pod-network-cidr=10.244.0.0/16"]})
    kubectl = "--kubeconfig=/etc/kubernetes/admin.conf"
    taints = [f"{kubectl} taint nodes --all node-role.kubernetes.io/{name}-" for name in ("control-plane", "master")]

    assert (result["status"], result["reason"]) == ("SUCCESS", "")
    assert result["outputs"] == {"cluster_versions": {"kubeadm": "v1.29.3"}}
    assert server_of(cluster_dir) == "https://127.0.0.1:16443"
    assert host.text("/var/kubeadm-init").splitlines() == [
        *("init", "--skip-token-print", "--apiserver-cert-extra-sans=127.0.0.1"),
        *("--apiserver-advertise-address=10.0.2.15", "--node-name=node-1", "--pod-network-cidr=10.244.0.0/16"),
    ]
    assert host.text("/var/lib/pod-network.yaml") == "kind: DaemonSet\n"
    assert host.text("/var/kubectl").splitlines() == [f"{kubectl} apply -f /var/lib/pod-network.yaml", *taints]


def test_a_second_host_joins_as_kubeadm_says(
    install: Install, host: SshHost, start: Callable[[], SshHost], tmp_path: Path
) -> None:
    """The control plane keeps its taint; the token is on the hosts alone."""
    second = start()
    for one in (host, second):
        one.install(kubeadm())
    result = install(host, second)

    assert (result["status"], result["reason"]) == ("SUCCESS", "")
    assert second.text("/var/kubeadm-join").splitlines() == [
        *("join", "10.0.2.15:6443", "--token", JOIN_TOKEN, "--discovery-token-ca-cert-hash", "sha256:00"),
        "--node-name=node-2",
    ]
    assert "taint" not in host.text("/var/kubectl")
    assert not (host.folder / "var" / "kubeadm-reset").exists()
    assert found_outside_of_hosts(tmp_path, JOIN_TOKEN) == []
