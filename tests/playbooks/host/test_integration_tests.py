"""Testing a composed host: what keeps a candidate from being promoted, and what a promotion moves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.playbooks.host.branches import LIMITS, REF, ostree, refs
from tests.playbooks.stage_runs import PLAYBOOKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.playbooks.host.branches import Branch, BuildCandidate

ATOMIC = """\
- hosts: localhost
  gather_facts: false
  tags: [classic]
  tasks:
    - name: not for a host
      ansible.builtin.raw: "false"
- hosts: localhost
  gather_facts: false
  tags: [atomic]
  tasks:
    - name: the host has no network but ours
      ansible.builtin.raw: hello
      register: said
      failed_when: "'hello {version}' not in said.stdout"
"""
SERVICE = "/usr/lib/host/services.d/broken"


def test_failing_tests_promote_nothing(branch: Branch, build_candidate: BuildCandidate, tmp_path: Path) -> None:
    """A failed service and a failed test of the package are named; ref and package set stay as they were."""
    install = (
        f"install -d %{{buildroot}}/usr/lib/host/services.d; printf '#!/bin/sh\\nexit 7\\n' >%{{buildroot}}{SERVICE}"
    )
    candidate = build_candidate("1.1", install=f"{install}; chmod 755 %{{buildroot}}{SERVICE}", files=SERVICE)
    composed = branch.compose(candidate, build_id=2)
    head, packages = branch.head(), branch.good_packages()
    branch.dist_git.commit({"tests/tests.yml": ATOMIC.format(version="9.9")})

    result = branch.integrate(composed, candidate, build_id=2)

    outcomes = {test["name"]: test["outcome"] for test in result["tests"]}
    assert result["status"] == "UNSTABLE", result["reason"]
    assert [name for name, outcome in outcomes.items() if outcome != "passed"] == [
        "host: no service failed",
        "the host has no network but ours",
    ]
    assert "broken" in next(test["message"] for test in result["tests"] if test["name"] == "host: no service failed")
    assert result["outputs"]["promoted"] is False
    assert (branch.head(), branch.good_packages()) == (head, packages)
    assert not machines(tmp_path)


def test_files_that_are_not_the_packages_fail(branch: Branch, build_candidate: BuildCandidate) -> None:
    """A host whose files differ from the RPM that was built is not the candidate's host."""
    other = build_candidate("1.0", install="echo changed >>%{buildroot}/usr/bin/hello")
    composed = branch.compose(build_candidate("1.0"), build_id=2)

    result = branch.integrate(composed, other, build_id=2)

    test = next(test for test in result["tests"] if test["name"] == "host: has hello-1.0-1.fc26.noarch")
    assert result["status"] == "UNSTABLE"
    assert (test["outcome"], test["message"]) == ("failed", "differs from the package: /usr/bin/hello")


def test_a_host_that_does_not_come_up_in_time_fails(
    branch: Branch, build_candidate: BuildCandidate, tmp_path: Path
) -> None:
    """The reason has the time and the console's last line; the machine is gone."""
    composed = branch.compose(build_candidate("1.1"), build_id=2)
    head = branch.head()

    result = branch.integrate(composed, build_candidate("1.1"), build_id=2, limits=LIMITS | {"boot_seconds": 1})

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert result["reason"].startswith("the composed host did not come up in 1 s; last console line: ")
    assert branch.head() == head
    assert not machines(tmp_path)


def test_a_machine_that_cannot_start_is_not_the_packages_fault(branch: Branch, build_candidate: BuildCandidate) -> None:
    """QEMU's own sentence is in the reason."""
    composed = branch.compose(build_candidate("1.1"), build_id=2)

    result = branch.integrate(composed, build_candidate("1.1"), build_id=2, limits=LIMITS | {"memory_mb": 10_000_000})

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert "memory" in result["reason"]


def test_a_compose_of_an_older_head_is_refused(branch: Branch, build_candidate: BuildCandidate) -> None:
    """The branch moved on meanwhile: promoting would undo that change."""
    composed = branch.compose(build_candidate("1.1"), build_id=2)
    newer = branch.compose(build_candidate("1.2"), build_id=3)["outputs"]["compose_rev"]
    parent, packages = branch.head(), branch.good_packages()
    ostree(branch.ostree, "refs", "--force", f"--create={REF}", newer)

    result = branch.integrate(composed, build_candidate("1.1"), build_id=2)

    assert (result["status"], result["fault"]) == ("FAILURE", "infrastructure")
    assert f"the branch moved from {parent} to {newer} since this compose; run it again from" in result["reason"]
    assert branch.head() == newer
    assert branch.good_packages() == packages


def test_a_pass_promotes_commit_and_packages_once(
    branch: Branch, build_candidate: BuildCandidate, tmp_path: Path
) -> None:
    """The ref moves, the newer package takes the older one's place, the summary knows it; again changes nothing."""
    docs = "%package docs\nSummary: More\n%description docs\nMore."
    candidate = build_candidate("1.1", header=docs, files="%files docs\n%dir /etc")
    composed = branch.compose(candidate, build_id=2)
    branch.dist_git.commit({"tests/tests.yml": ATOMIC.format(version="1.1")})

    first = branch.integrate(composed, candidate, build_id=2)
    again = branch.integrate(composed, candidate, build_id=2)

    rev = composed["outputs"]["compose_rev"]
    assert first["status"] == again["status"] == "SUCCESS", first["reason"] + again["reason"]
    assert [test["name"] for test in first["tests"]] == [
        "host: booted from OSTree",
        "host: runs the composed commit",
        "host: /usr is read-only",
        "host: no service failed",
        "host: has hello-1.1-1.fc26.noarch",
        "the host has no network but ours",
    ]
    assert first["outputs"] == {"booted_rev": rev, "total": 6, "failed": 0, "promoted": True}
    assert branch.head() == rev
    assert branch.good_packages() == ["hello-1.1-1.fc26.noarch.rpm", "hello-docs-1.1-1.fc26.noarch.rpm"]
    assert rev in ostree(branch.ostree, "summary", "--view")
    assert ostree(branch.ostree, "static-delta", "list").endswith(rev)
    assert refs(branch.ostree) == {REF}
    assert not machines(tmp_path)


def test_the_machine_ends_with_its_playbook(branch: Branch, build_candidate: BuildCandidate, tmp_path: Path) -> None:
    """A playbook killed while the host boots, with no chance to clean up, leaves no machine behind."""
    composed = branch.compose(build_candidate("1.1"), build_id=2)
    work = tmp_path / "killed"
    work.mkdir()
    request = _request_of(branch, composed["outputs"], work, tmp_path)
    program = str(Path(sys.prefix) / "bin" / "ansible-playbook")
    command = [program, "integration_tests.yml", "--extra-vars", f"@{request}"]

    with subprocess.Popen(command, cwd=PLAYBOOKS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as playbook:
        _wait_until((work / "console.log").exists)
        booting = machines(tmp_path)
        os.kill(playbook.pid, signal.SIGKILL)

    assert len(booting) == 1
    _wait_until(lambda: not machines(tmp_path))


def _request_of(branch: Branch, outputs: dict[str, object], work: Path, tmp_path: Path) -> Path:
    """Return a file with the request of the integration tests: the compose's request, and what the compose made."""
    last = max(tmp_path.glob("runner-*/env/extravars"), key=lambda path: path.stat().st_mtime)
    request = json.loads(last.read_text(encoding="utf-8"))
    own = {"workspace": str(work), "packages": ["hello"], "rev": branch.dist_git.git("rev-parse", "HEAD")}
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request | outputs | own), encoding="utf-8")
    return path


def machines(folder: Path) -> list[int]:
    """Return the process ids of the virtual machines that work in a folder: other tests run beside this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith(b"qemu-system") or b"/qemu-system-x86_64\0" in command[:80]:
            found.append((int(process.name), command))
    return [number for number, command in found if f"{folder}/".encode() in command]


def _wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} seconds"
        time.sleep(0.05)
