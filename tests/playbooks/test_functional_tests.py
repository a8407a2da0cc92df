"""The functional test stage: Standard Test Interface plays in the sandbox, real RPMs, and hostile results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.playbooks.sti import DEMO, basic, outcomes, play, shell

if TYPE_CHECKING:
    from tests.playbooks.sti import Run


def test_one_failing_test_is_unstable_and_stops_no_other(run_functional: Run) -> None:
    """All tests run, the failing one is named, its last words are kept."""
    tests = basic(first="greeter", smoke="echo expected 1 got 2; exit 1", last="greeter Ada")

    result = run_functional({"tests/tests.yml": tests})

    assert (result["status"], result["fault"]) == ("UNSTABLE", "")
    assert result["reason"] == "1 of 3 functional tests failed: smoke"
    assert outcomes(result) == {"first": "passed", "smoke": "failed", "last": "passed"}
    assert result["tests"][1]["message"] == "expected 1 got 2"
    assert result["outputs"] == {"total": 3, "failed": 1}
    assert {"tests/results.yml", "tests/test.log", "tests/smoke.log"} <= {item["name"] for item in result["artifacts"]}


def test_package_without_tests_is_skipped(run_functional: Run) -> None:
    """No tests is said so: it is neither a pass nor a failure."""
    result = run_functional({})

    assert (result["status"], result["tests"]) == ("SKIPPED", [])
    assert result["reason"] == "the package has no functional tests (no tests/tests*.yml)"


def test_plays_for_hosts_only_are_skipped(run_functional: Run) -> None:
    """A playbook with nothing tagged classic ran no test."""
    result = run_functional({"tests/tests.yml": play("tasks:\n- ansible.builtin.raw: 'false'", tag="atomic")})

    assert result["status"] == "SKIPPED"
    assert "no play tagged classic" in result["reason"]


@pytest.mark.parametrize(
    "playbook",
    ["- hosts: [\n", play("roles:\n- role: standard-test-nonexistent"), play("tasks:\n- no_such_module: {}")],
)
def test_broken_playbook_is_the_packagers_fault(run_functional: Run, playbook: str) -> None:
    """What Ansible cannot even start is a FAILURE with Ansible's words."""
    result = run_functional({"tests/tests.yml": playbook})

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert result["reason"].startswith("tests/tests.yml cannot be run by Ansible: ")
    assert "it said nothing" not in result["reason"]


def test_failing_playbook_without_results_is_a_failed_test(run_functional: Run) -> None:
    """The exit code of the playbook counts where it leaves no result file."""
    result = run_functional({"tests/tests.yml": shell("exit 1")})

    assert result["status"] == "UNSTABLE"
    assert outcomes(result) == {"tests.yml": "failed"}


def test_failing_playbook_outweighs_results_that_all_pass(run_functional: Run) -> None:
    """Results that say pass do not hide that the playbook failed."""
    lying = shell('echo "{results: [{test: fine, result: pass}]}" > $TEST_ARTIFACTS/results.yml; exit 1')

    result = run_functional({"tests/tests.yml": lying})

    assert result["status"] == "UNSTABLE"
    assert outcomes(result) == {"fine": "passed", "tests.yml": "failed"}


@pytest.mark.parametrize(
    "results",
    [
        "ln -s /etc/passwd $TEST_ARTIFACTS/results.yml",
        "mkfifo $TEST_ARTIFACTS/results.yml",
        "rmdir $TEST_ARTIFACTS 2>/dev/null; ln -s /etc /artifacts/evil",
    ],
)
def test_links_and_pipes_among_results_are_not_followed(run_functional: Run, results: str) -> None:
    """Result files that lead elsewhere are neither read nor kept, and stop nothing."""
    result = run_functional({"tests/tests.yml": shell(f"{results}; true")})

    assert outcomes(result) == {"tests.yml": "passed"}
    assert [item["name"] for item in result["artifacts"]] == ["tests.ansible.log"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("results: nothing", "is not a list of results"),
        ("[[[[", "is not YAML"),
        ("!!python/object/apply:os.system [id]", "is not YAML"),
        ("x" * (1 << 20) + "x", "is not a regular file of at most 1024 KiB"),
    ],
)
def test_unreadable_results_are_an_error(run_functional: Run, content: str, message: str) -> None:
    """A results.yml that is not one never reads as a pass."""
    tests = {"tests/tests.yml": shell("cp content $TEST_ARTIFACTS/results.yml"), "tests/content": content}

    result = run_functional(tests)

    assert result["status"] == "UNSTABLE"
    assert outcomes(result) == {"results.yml": "error"}
    assert message in result["tests"][0]["message"]


def test_results_of_tmt_are_tests(run_functional: Run) -> None:
    """Once each, though the plan's JUnit file has them again; an unreadable file is an error."""
    plan = "$TEST_ARTIFACTS/run/plans/all"
    leave = (
        f"mkdir -p {plan}/execute {plan}/report; cp content {plan}/execute/results.yaml; cp junit {plan}/report/a.xml"
    )
    broken = "mkdir -p $TEST_ARTIFACTS/b/execute; echo '[[' > $TEST_ARTIFACTS/b/execute/results.yaml"
    rows = "- {name: /greets, result: pass, duration: 00:00:02}\n- {name: /speaks, result: fail, note: [no Finnish]}\n"
    tests = {
        "tests/tests.yml": shell(f"{leave}; exit 1"),
        "tests/tests-2.yml": shell(broken),
        "tests/content": rows,
        "tests/junit": '<testsuite><testcase name="/greets"/><testcase name="/other"/></testsuite>',
    }

    result = run_functional(tests)

    assert outcomes(result) == {"/greets": "passed", "/speaks": "failed", "results.yaml": "error"}
    assert [(test["seconds"], test["message"]) for test in result["tests"]][1:] == [(2, ""), (0, "no Finnish")]
    assert "tests/run/plans/all/execute/results.yaml" in {item["name"] for item in result["artifacts"]}


def test_unknown_words_and_control_characters_are_tamed(run_functional: Run) -> None:
    """A result the interface does not know is an error; names come out as one clean line."""
    rows = {"results": [{"test": "a\u001b[31m\nb", "result": "splendid"}]}
    tests = {"tests/tests.yml": shell("cp content $TEST_ARTIFACTS/results.yml"), "tests/content": json.dumps(rows)}

    result = run_functional(tests)

    assert outcomes(result) == {"a [31m b": "error"}


def test_junit_entities_are_refused(run_functional: Run) -> None:
    """A JUnit file with a document type is not expanded."""
    junit = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><testsuite><testcase name="&a;"/></testsuite>'
    tests = {"tests/tests.yml": shell("cp content $TEST_ARTIFACTS/junit.xml"), "tests/content": junit}

    result = run_functional(tests)

    assert outcomes(result) == {"junit.xml": "error"}
    assert "document type" in result["tests"][0]["message"]


def test_junit_of_a_test_is_read(run_functional: Run) -> None:
    """Cases of a JUnit file are tests with their times."""
    cases = '<testcase classname="a" name="b" time="1.5"/><testcase name="c"><failure message="no"/></testcase>'
    junit = f"<testsuite>{cases}</testsuite>"
    tests = {"tests/tests.yml": shell("cp content $TEST_ARTIFACTS/junit.xml"), "tests/content": junit}

    result = run_functional(tests)

    assert outcomes(result) == {"a.b": "passed", "c": "failed"}
    assert result["tests"][0]["seconds"] == 1.5
    assert ("tests/junit.xml", "junit") in {(item["name"], item["kind"]) for item in result["artifacts"]}


def test_tests_cannot_reach_the_builder(run_functional: Run, tmp_path: Path) -> None:
    """A test on localhost runs in the sandbox: no file of the builder, no way to leave one."""
    (tmp_path / "secret").write_text("the-builders-secret", encoding="ascii")
    spying = f"cat {tmp_path}/secret; touch {tmp_path}/was-here /usr/was-here; exit 1"

    result = run_functional({"tests/tests.yml": basic(spy=spying)})

    log = next(Path(item["path"]) for item in result["artifacts"] if item["name"] == "tests/spy.log").read_text()
    assert outcomes(result) == {"spy": "failed"}
    assert "the-builders-secret" not in log
    assert "secret: No such file or directory" in log
    assert not (tmp_path / "was-here").exists()
    assert not Path("/usr/was-here").exists()


def test_candidate_is_installed_and_named(run_functional: Run) -> None:
    """A test finds the candidate in /usr with its data, alone in TEST_ROOT, and as RPM files in TEST_SUBJECTS."""
    commands = {
        "usr": "test -x /usr/bin/greeter && greeter --language fr | grep -q Bonjour",
        "root": "test -x $TEST_ROOT/usr/bin/greeter && test ! -e $TEST_ROOT/usr/bin/ls",
        "subjects": "rpm -qp --dbpath /tmp/db --qf '%{name}' $TEST_SUBJECTS | grep -qx greeter",
    }

    result = run_functional({"tests/tests.yml": basic(**commands)})

    assert result["status"] == "SUCCESS", result["tests"]
    assert outcomes(result) == {"usr": "passed", "root": "passed", "subjects": "passed"}


def test_every_playbook_runs(run_functional: Run) -> None:
    """All of tests/tests*.yml count, each with its own results."""
    result = run_functional({"tests/tests.yml": basic(one="true"), "tests/tests_more.yml": basic(two="true")})

    assert outcomes(result) == {"one": "passed", "two": "passed"}


def test_tests_of_the_demo_pass(run_functional: Run) -> None:
    """The demo's greeter passes its own functional tests."""
    folder = DEMO / "greeter" / "tests"
    result = run_functional({f"tests/{path.name}": path.read_text(encoding="utf-8") for path in folder.iterdir()})

    assert result["status"] == "SUCCESS", result["tests"]
    assert outcomes(result) == {"greets": "passed", "languages": "passed"}
