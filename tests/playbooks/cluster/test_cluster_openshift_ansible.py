"""openshift-ansible as the installer: a stand-in of two playbooks, on hosts with a shell and no more, by real SSH."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

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

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.playbooks.ssh_hosts import SshHost

PLAYBOOK: Final = """# A stand-in for a playbook of openshift-ansible.
- hosts: {group}
  gather_facts: false
  tasks:
    - name: Do it
      raw: {script}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A stand-in for a checkout of openshift-ansible."""
    folder = tmp_path / "openshift-ansible"
    (folder / "playbooks").mkdir(parents=True)
    write_playbooks(folder, deploy=f"mkdir -p /etc/origin/master; {{ {LEAVE}}} >/etc/origin/master/admin.kubeconfig")
    return folder


def write_playbooks(folder: Path, deploy: str) -> None:
    """Write the two playbooks; `deploy` is what the second does on the masters."""
    ready = "echo {{ openshift_release | quote }} >/var/prerequisites"
    for name, group, script in (("prerequisites", "OSEv3", ready), ("deploy_cluster", "masters", deploy)):
        text = PLAYBOOK.format(group=group, script=yaml.safe_dump(script, default_style='"').strip())
        (folder / "playbooks" / f"{name}.yml").write_text(text, encoding="ascii")


@pytest.fixture
def install(configure: Configure, checkout: Path) -> Install:
    """Return a function that has the playbooks install OpenShift on hosts."""

    def run(*hosts: SshHost, **request: Any) -> dict[str, Any]:
        pinned = {"release": "openshift-ansible-3.9.33-1", "openshift_release": "v3.9", "variables": {}}
        settings = {"source": str(checkout)} | pinned | request.pop("openshift_ansible", {})
        return configure("openshift-ansible", *hosts, openshift_ansible=settings, **request)

    return run


def test_an_ansible_that_is_not_there_is_named(install: Install, host: SshHost) -> None:
    """The playbooks may need another than the one that runs the stage."""
    reason = failed(install(host, openshift_ansible={"program": "no-such-ansible"}))

    assert reason == "no-such-ansible is not installed on this builder; install it"


def test_a_checkout_without_the_playbooks_is_none(install: Install, host: SshHost, checkout: Path) -> None:
    """Nothing is run when the second of them is missing."""
    (checkout / "playbooks" / "deploy_cluster.yml").unlink()
    reason = failed(install(host))

    assert reason == f"the installer's checkout {checkout} has no playbooks/deploy_cluster.yml"
    assert not (host.folder / "var" / "prerequisites").exists()


def test_a_playbook_that_fails_says_why(install: Install, host: SshHost, checkout: Path) -> None:
    """The reason is its complaint, not the sum at its end; the log is kept."""
    write_playbooks(checkout, deploy="echo no docker here >&2; exit 1")
    result = install(host)

    assert failed(result).startswith("playbooks/deploy_cluster.yml failed: fatal: [node-1]: FAILED! ")
    assert "no docker here" in log_of(result)
    assert "PLAY RECAP" in log_of(result)


def test_a_playbook_that_hangs_is_stopped(install: Install, host: SshHost, checkout: Path, tmp_path: Path) -> None:
    """With all it started on the builder."""
    write_playbooks(checkout, deploy="sleep 976543")
    reason = failed(install(host, limits=LIMITS | {"seconds": 12}))

    assert reason.startswith("playbooks/deploy_cluster.yml did not end within 12 seconds; its last line: TASK [Do it]")
    assert not running(f"--inventory={tmp_path}")


def test_openshift_on_one_host(
    install: Install, host: SshHost, cluster_dir: Path, checkout: Path, tmp_path: Path
) -> None:
    """The only host is master, etcd and node, takes pods and what belongs to the infrastructure."""
    result = install(host, openshift_ansible={"variables": {"openshift_install_examples": False}})
    workspace = Path(result["artifacts"][0]["path"]).parent
    everything = yaml.safe_load((workspace / "inventory.yml").read_text(encoding="utf-8"))["all"]
    groups = everything["children"]["OSEv3"]

    assert (result["status"], result["reason"]) == ("SUCCESS", "")
    assert result["outputs"] == {"cluster_versions": {"openshift-ansible": "openshift-ansible-3.9.33-1"}}
    assert server_of(cluster_dir) == "https://127.0.0.1:16443"
    assert host.text("/var/prerequisites") == "v3.9\n"
    assert everything["hosts"]["node-1"]["ansible_port"] == host.port
    assert {name: list(group["hosts"]) for name, group in groups["children"].items()} == {
        "masters": ["node-1"],
        "etcd": ["node-1"],
        "nodes": ["node-1"],
    }
    assert groups["children"]["nodes"]["hosts"]["node-1"] == {
        "openshift_schedulable": True,
        "openshift_node_labels": {"region": "infra", "zone": "default"},
    }
    assert groups["vars"]["openshift_deployment_type"] == "origin"
    assert groups["vars"]["openshift_release"] == "v3.9"
    assert groups["vars"]["containerized"] is True
    assert groups["vars"]["openshift_install_examples"] is False
    assert "PLAY RECAP" in log_of(result)
    assert found_outside_of_hosts(tmp_path, CLIENT_KEY) == [str(checkout / "playbooks" / "deploy_cluster.yml")]


def test_openshift_from_a_repository_at_a_tag(
    install: Install, host: SshHost, start: Callable[[], SshHost], checkout: Path, tmp_path: Path
) -> None:
    """The commit is recorded; of two hosts the second is a node alone."""
    second = start()
    git = functools.partial(subprocess.run, check=True, capture_output=True, text=True, cwd=checkout)
    author = ["-c", "user.name=Packager", "-c", "user.email=packager@example.com"]
    for words in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "--quiet", "--message=Release"]):
        git(["git", *words], env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"})
    git(["git", "tag", "openshift-ansible-3.9.33-1"])
    commit = git(["git", "rev-parse", "HEAD"]).stdout.strip()
    bare = tmp_path / "openshift-ansible.git"
    shutil.copytree(checkout / ".git", bare)
    result = install(host, second, openshift_ansible={"source": bare.as_uri()})
    workspace = Path(result["artifacts"][0]["path"]).parent
    groups = yaml.safe_load((workspace / "inventory.yml").read_text(encoding="utf-8"))["all"]["children"]["OSEv3"]

    assert (result["status"], result["reason"]) == ("SUCCESS", "")
    assert result["outputs"] == {
        "cluster_versions": {"openshift-ansible": f"openshift-ansible-3.9.33-1 {commit}"},
    }
    assert list(groups["children"]["masters"]["hosts"]) == ["node-1"]
    assert list(groups["children"]["nodes"]["hosts"]) == ["node-1", "node-2"]
    assert groups["children"]["nodes"]["hosts"]["node-2"]["openshift_node_labels"]["region"] == "primary"
    assert second.text("/var/prerequisites") == "v3.9\n"
