"""Whose fault it is, and what comes next."""

from dataclasses import dataclass

import pytest

from ci_pipeline.insight import verdict
from ci_pipeline.insight.verdict import Facts
from ci_pipeline.settings import Settings

GREETER = "rpms/greeter 35fdde9 f26"


@dataclass(frozen=True)
class Try:
    """A try of a stage."""

    stage: str
    status: str | None = "SUCCESS"
    fault: str = ""
    reason: str = ""
    try_number: int = 1


def facts(
    status: str | None = None, *, reason: str = "", fired: bool = True, gating: bool = True, **other: object
) -> Facts:
    """Return what is known of a run of greeter."""
    return Facts(what=GREETER, gating=gating, status=status, reason=reason, fired=fired, **other)


@pytest.fixture
def configured() -> Settings:
    """Settings that no file has a say in."""
    return Settings.model_construct()


BUILT, TESTED, COMPOSED = Try("build_package"), Try("functional_tests"), Try("compose_ostree")
BROKEN = Try("build_package", "FAILURE", "package", "%check failed")
CUT_OFF = Try("build_package", "FAILURE", "infrastructure", "the network broke off")
FAILED_TESTS = Try("functional_tests", "UNSTABLE", "", "1 of 2 tests failed: x")
FAILED_CLUSTER = Try("conformance_tests", "UNSTABLE", "", "3 of 9 tests failed")
STOPPED = Try("build_package", "ABORTED", "", "cancelled by admin")


@pytest.mark.parametrize(
    ("status", "tries", "blame", "begins"),
    [
        ("FAILURE", [BROKEN], "package", "Red because of the package: build_package: %check failed."),
        ("FAILURE", [CUT_OFF], "infrastructure", "Red because of us, the infrastructure: build_package: the network"),
        ("UNSTABLE", [BUILT, FAILED_TESTS], "package", "Red because of the package: functional_tests: 1 of 2"),
        ("UNSTABLE", [BUILT, FAILED_CLUSTER], "unclear", "Red, and not clear whose fault"),
        ("ABORTED", [STOPPED], "ended", "Neither the package nor the infrastructure: it was ended."),
        ("ABORTED", [], "ended", "Neither the package nor the infrastructure: it was ended."),
        ("SUCCESS", [BUILT], "", f"Not red: {GREETER} passed."),
        (None, [BUILT], "", f"Not red: {GREETER} is running."),
        (None, [BROKEN], "package", "Red because of the package"),
    ],
)
def test_the_first_sentence_says_whose_fault_it_is(
    configured: Settings, status: str | None, tries: list[Try], blame: str, begins: str
) -> None:
    """The package's, ours, or nobody's."""
    told = verdict.of_run(facts(status), tries, configured)

    assert told.blame == blame
    assert told.sentence.startswith(begins)


def test_the_worst_stage_is_the_culprit() -> None:
    """Failed tests of an opt-in package do not hide a failed compose behind them."""
    failed = Try("compose_ostree", "FAILURE", "infrastructure", "no space")

    assert verdict.culprit([BUILT, FAILED_TESTS, failed]) is failed


@pytest.mark.parametrize(
    ("told", "tries", "following"),
    [
        (facts(fired=False), [], "Airflow is told of it"),
        (facts(), [], "build_package begins"),
        (facts(), [Try("build_package", None)], "if it ends well, functional_tests follows"),
        (facts(), [Try("conformance_tests", None)], "if it ends well, complete sums it up"),
        (facts(), [BUILT], "functional_tests begins"),
        (facts(), [BUILT, TESTED, COMPOSED], "integration_tests begins"),
        (facts(lease_holder="f26/7"), [BUILT, TESTED], "compose_ostree waits for f26/7"),
        (facts(), [CUT_OFF], "tried again by itself (try 1 of 3 failed)"),
        (facts(), [Try("build_package", "FAILURE", "infrastructure", try_number=3)], "complete sums it up"),
        (facts(), [BROKEN], "The stages behind it are not run"),
        (facts(), [BUILT, FAILED_TESTS], "The stages behind it are not run"),
        (facts(gating=False), [BUILT, FAILED_TESTS], "compose_ostree begins"),
        (facts("FAILURE"), [BROKEN], "push a fix"),
        (facts("FAILURE"), [CUT_OFF], "then clear build_package in Airflow"),
        (facts("ABORTED"), [STOPPED], "clear build_package in Airflow"),
        (facts("UNSTABLE"), [FAILED_CLUSTER], "look at the failed tests"),
        (facts("ABORTED", superseded=True), [], "the newer revision is run"),
        (facts("SUCCESS"), [BUILT], "all of it is done"),
    ],
)
def test_what_happens_next_is_one_sentence(configured: Settings, told: Facts, tries: list[Try], following: str) -> None:
    """For every state a change can be in."""
    said = verdict.of_run(told, tries, configured).next

    assert following in said
    assert said.endswith((".", ")"))


def test_a_lease_is_waited_for_by_the_compose_only(configured: Settings) -> None:
    """Somebody else's compose does not hold a build back."""
    assert "waits" not in verdict.of_run(facts(lease_holder="f26/7"), [BUILT], configured).next


@pytest.mark.parametrize(
    ("state", "begins"),
    [
        ("dead", "Not run, because the message could not be read: x."),
        ("ignored", "Not red: the message was ignored: x."),
    ],
)
def test_a_message_without_a_run_says_why(state: str, begins: str) -> None:
    """It was not read, or not wanted."""
    assert verdict.of_message(17, state, "x").sentence == begins
