"""Tests of a booted host that are run again on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.playbooks.host.branches import Branch, BuildCandidate

RERUNS: Final = {"times": 1, "most": 5}
# The host keeps what the first run did to it.
FLAKY: Final = """\
- hosts: localhost
  gather_facts: false
  tags: [atomic]
  tasks:
    - name: before
      ansible.builtin.raw: "true"
    - name: flaky
      ansible.builtin.raw: "test -e /run/seen || { touch /run/seen; echo the first time; exit 1; }"
    - name: behind
      ansible.builtin.raw: "true"
"""
BAD: Final = """\
- hosts: localhost
  gather_facts: false
  tags: [atomic]
  tasks:
    - name: bad
      ansible.builtin.raw: "false"
"""


def test_a_host_that_fails_each_time_is_not_promoted(branch: Branch, build_candidate: BuildCandidate) -> None:
    """Each playbook is run again by itself, and the checks of the host are, too: its files are another build's."""
    other = build_candidate("1.0", install="echo changed >>%{buildroot}/usr/bin/hello")
    composed = branch.compose(build_candidate("1.0"), build_id=2)
    branch.dist_git.commit({"tests/tests.yml": FLAKY, "tests/tests_bad.yml": BAD})

    result = branch.integrate(composed, other, build_id=2, reruns=RERUNS)

    told = {test["name"]: (test["outcome"], test["message"][:19]) for test in result["tests"]}
    assert result["status"] == "UNSTABLE", result["reason"]
    assert told["host: has hello-1.0-1.fc26.noarch"] == ("failed", "failed 2 of 2 times")
    assert told["bad"] == ("error", "failed 2 of 2 times")
    assert told["flaky"] == ("passed-on-rerun", "failed 1 of 2 times")
    assert [told[name] for name in ("before", "behind")] == [("passed", "")] * 2
    assert (result["outputs"]["promoted"], result["outputs"]["passed_on_rerun"]) == (False, 1)


def test_a_host_whose_failures_pass_is_promoted(branch: Branch, build_candidate: BuildCandidate) -> None:
    """The reason says what has happened, and the logs of both runs are kept."""
    candidate = build_candidate("1.1")
    composed = branch.compose(candidate, build_id=2)
    branch.dist_git.commit({"tests/tests.yml": FLAKY})

    result = branch.integrate(composed, candidate, build_id=2, reruns=RERUNS)

    assert (result["status"], result["reason"]) == ("SUCCESS", "1 that failed passed when run again: flaky")
    assert result["outputs"]["promoted"] is True
    assert branch.head() == composed["outputs"]["compose_rev"]
    names = [item["name"] for item in result["artifacts"]]
    assert {"tests.yml.atomic.log", "rerun-1.tests.yml.atomic.log"} <= set(names)
    assert {name.split("/")[0] for name in names if name.endswith(".xml")} == {"tests", "rerun-1.tests"}
