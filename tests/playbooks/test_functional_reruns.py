"""Functional tests that are run again: real playbooks in the sandbox, which fail as they are told to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.playbooks.stage_runs import LIMITS
from tests.playbooks.sti import basic, outcomes, shell

if TYPE_CHECKING:
    from tests.playbooks.sti import Run

RERUNS: Final = {"times": 1, "most": 2}
# What lies beside the folders of results is there in the next run, too.
FLAKY: Final = "test -e /artifacts/seen || { touch /artifacts/seen; echo the first time; exit 1; }"


def log_of(result: dict[str, Any], name: str) -> str:
    """Return the text of a log among the artifacts."""
    return next(Path(item["path"]).read_text() for item in result["artifacts"] if item["name"] == name)


def test_a_test_that_always_fails_is_failed(run_functional: Run) -> None:
    """It says how often; nothing of the first run is lost."""
    tests = {"tests/tests.yml": basic(bad="echo no; exit 1", good="true")}

    result = run_functional(tests, reruns=RERUNS)

    assert (result["status"], result["reason"]) == ("UNSTABLE", "1 of 2 functional tests failed: bad")
    assert result["tests"][0]["message"] == "failed 2 of 2 times: no"
    assert result["outputs"] == {"total": 2, "failed": 1}
    names = {item["name"] for item in result["artifacts"]}
    assert {"tests.ansible.log", "rerun-1.tests.ansible.log", "tests/bad.log", "rerun-1.tests/bad.log"} <= names


def test_a_test_that_fails_once_is_its_own_outcome(run_functional: Run) -> None:
    """The stage is a success and says so; a playbook without a failure is not run again."""
    tests = {"tests/tests.yml": basic(flaky=FLAKY, good="true"), "tests/tests_more.yml": basic(more="true")}

    result = run_functional(tests, reruns=RERUNS)

    assert (result["status"], result["reason"]) == ("SUCCESS", "1 that failed passed when run again: flaky")
    assert outcomes(result) == {"flaky": "passed-on-rerun", "good": "passed", "more": "passed"}
    assert result["tests"][0]["message"] == "failed 1 of 2 times: the first time"
    assert result["outputs"] == {"total": 3, "failed": 0, "passed_on_rerun": 1}
    assert log_of(result, "tests/flaky.log") == "the first time\n"
    assert log_of(result, "rerun-1.tests/flaky.log") == ""
    assert not [item for item in result["artifacts"] if item["name"].startswith("rerun-1.tests_more")]


def test_more_than_most_are_not_run_again(run_functional: Run) -> None:
    """So many at once are no flakes."""
    tests = {"tests/tests.yml": basic(a="exit 1", b=FLAKY), "tests/tests_more.yml": basic(c="exit 1")}

    result = run_functional(tests, reruns=RERUNS)

    assert result["status"] == "UNSTABLE"
    assert result["reason"] == (
        "3 of 3 functional tests failed: a, b, c; none was run again, because more than 2 failed"
    )


def test_without_time_there_is_no_rerun(run_functional: Run) -> None:
    """The stage keeps to its limit, and ends with what it knows."""
    tests = {"tests/tests.yml": basic(slow="sleep 4; exit 1")}

    result = run_functional(tests, reruns=RERUNS, limits=LIMITS | {"seconds": 10})

    assert result["status"] == "UNSTABLE"
    assert result["reason"].endswith("tests.yml was not run again, because there was no time left")
    assert not [item for item in result["artifacts"] if item["name"].startswith("rerun-")]


def test_a_rerun_does_not_see_what_the_first_run_left_in_the_source(run_functional: Run) -> None:
    """Else what is broken on a clean checkout could pass for flaky."""
    tests = {"tests/tests.yml": basic(unclean="test -e ../built || { touch ../built; exit 1; }")}

    result = run_functional(tests, reruns=RERUNS)

    assert outcomes(result) == {"unclean": "failed"}
    assert result["tests"][0]["message"].startswith("failed 2 of 2 times")


def test_a_rerun_is_in_the_sandbox_and_ends_with_its_time(run_functional: Run, tmp_path: Path) -> None:
    """One that hangs is stopped while the stage can still say what came of it."""
    first = f"{FLAKY}; touch {tmp_path}/was-here; sleep 60"

    result = run_functional({"tests/tests.yml": shell(first)}, reruns=RERUNS, limits=LIMITS | {"seconds": 20})

    assert result["status"] == "UNSTABLE"
    assert outcomes(result) == {"tests.yml": "failed"}
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize("left", ["mkdir /artifacts/rerun-1.tests", "ln -s /etc /artifacts/rerun-1.tests"])
def test_results_left_for_the_rerun_are_not_taken_for_its_own(run_functional: Run, left: str) -> None:
    """The rerun is refused then."""
    result = run_functional({"tests/tests.yml": basic(sly=f"{left}; exit 1")}, reruns=RERUNS)

    assert outcomes(result) == {"sly": "failed"}
    assert "tests.yml could not be run again: the tests left rerun-1.tests where" in result["reason"]
