"""The decision, against a table of cases."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline.gating.decision import NOTHING_REQUIRED, Found, Outcome, Subject, decide, is_a_change, together
from ci_pipeline.gating.outcomes import Ran, Tried, found
from ci_pipeline.stages import COMPLETE, STEPS

SUBJECT = Subject("koji_build", "greeter-1.0-1.fc26")
A_TRY: dict[str, Any] = {"nvr": "", "original_spec_nvr": "", "compose_rev": "", "image_name": None, "reason": "why"}
BUILT = ("build_package", "SUCCESS")
TESTS = "package.test.functional"
CONFORMANCE = "image.test.conformance"
UP_TO_SMOKE = [
    BUILT,
    ("functional_tests", "SUCCESS"),
    ("compose_ostree", "SUCCESS"),
    ("integration_tests", "SUCCESS"),
    ("generate_image", "SUCCESS"),
    ("smoke_test", "SUCCESS"),
]


def standing(tried: list[tuple[str, ...]], *, ended: str | None = None) -> dict[str, Found]:
    """Return how testcases stand after tries of `(stage, status)` or `(stage, status, fault)`, "" while it runs."""
    numbers = count(1)
    tries = [
        Tried(
            id=next(numbers),
            stage=stage,
            try_number=sum(one[0] == stage for one in tried[: place + 1]),
            status=status or None,
            fault=fault[0] if fault else "",
            **A_TRY,
        )
        for place, (stage, status, *fault) in enumerate(tried)
    ]
    return found(Ran(1, "f26/1", "greeter", ended, "because"), tries)


@pytest.mark.parametrize(
    ("tried", "event", "outcome"),
    [
        ([], TESTS, None),
        ([BUILT], TESTS, None),
        ([BUILT, ("functional_tests", "")], TESTS, Outcome.INCOMPLETE),
        ([BUILT, ("functional_tests", "UNSTABLE")], TESTS, Outcome.FAILED),
        ([BUILT, ("functional_tests", "FAILURE", "package")], TESTS, Outcome.FAILED),
        ([BUILT, ("functional_tests", "FAILURE")], TESTS, Outcome.FAILED),
        ([BUILT, ("functional_tests", "FAILURE", "infrastructure")], TESTS, Outcome.ERRORED),
        ([BUILT, ("functional_tests", "ABORTED")], TESTS, Outcome.ERRORED),
        ([BUILT, ("functional_tests", "SKIPPED")], TESTS, Outcome.PASSED),
        ([BUILT, ("functional_tests", "SUCCESS")], TESTS, Outcome.PASSED),
        # An older failure and a newer pass, and the other way round.
        ([BUILT, ("functional_tests", "UNSTABLE"), ("functional_tests", "SUCCESS")], TESTS, Outcome.PASSED),
        ([BUILT, ("functional_tests", "SUCCESS"), ("functional_tests", "UNSTABLE")], TESTS, Outcome.FAILED),
        # What was tried before the build ran again says nothing about what it builds.
        ([BUILT, ("functional_tests", "SUCCESS"), ("build_package", "")], TESTS, None),
        ([BUILT, ("functional_tests", "SUCCESS"), BUILT], TESTS, None),
        # The steps of one thing.
        ([*UP_TO_SMOKE, ("provision_hosts", "SUCCESS")], CONFORMANCE, Outcome.INCOMPLETE),
        ([*UP_TO_SMOKE, ("provision_hosts", "FAILURE", "infrastructure")], CONFORMANCE, Outcome.ERRORED),
        ([*UP_TO_SMOKE, ("provision_hosts", "SUCCESS"), ("configure_cluster", "")], CONFORMANCE, Outcome.INCOMPLETE),
        ([BUILT], COMPLETE, Outcome.INCOMPLETE),
    ],
)
def test_a_try_says_how_its_testcase_stands(tried: list[tuple[str, ...]], event: str, outcome: Outcome | None) -> None:
    """The newest one that counts."""
    known = standing(tried).get(event)

    assert (known.outcome if known else None) == outcome


@pytest.mark.parametrize(
    ("tried", "ended", "outcome"),
    [
        ([("build_package", "FAILURE", "package")], "FAILURE", Outcome.FAILED),
        ([("build_package", "FAILURE", "infrastructure")], "FAILURE", Outcome.ERRORED),
        ([], "ABORTED", Outcome.ERRORED),
        ([BUILT, ("functional_tests", "UNSTABLE")], "UNSTABLE", Outcome.FAILED),
        (UP_TO_SMOKE, "SUCCESS", Outcome.PASSED),
    ],
)
def test_the_end_of_a_run_is_a_testcase(tried: list[tuple[str, ...]], ended: str, outcome: Outcome) -> None:
    """A failure of the infrastructure is no verdict on the package there, either."""
    assert standing(tried, ended=ended)[COMPLETE].outcome == outcome


def test_steps_that_a_run_left_undone_are_an_error() -> None:
    """They will not be done any more."""
    known = standing([*UP_TO_SMOKE, ("provision_hosts", "SUCCESS")], ended="ABORTED")[CONFORMANCE]

    assert (known.outcome, known.note) == (Outcome.ERRORED, "the run ended before all steps of it were done")


def test_what_was_skipped_says_so() -> None:
    """It is satisfied, and everyone can read why."""
    known = standing([BUILT, ("functional_tests", "SKIPPED")])
    decision = decide(SUBJECT, policies=["p"], required=[TESTS], found=known, waived=())

    assert decision.policies_satisfied
    assert decision.satisfied_requirements[0]["note"] == "skipped: why"


@pytest.mark.parametrize(
    ("found_as", "waived", "type_", "summary"),
    [
        (None, False, "test-result-missing", "1 of 1 required test did not pass: 1 missing"),
        (Outcome.INCOMPLETE, False, "test-result-incomplete", "1 of 1 required test did not pass: 1 incomplete"),
        (Outcome.FAILED, False, "test-result-failed", "1 of 1 required test did not pass: 1 failed"),
        (Outcome.ERRORED, False, "test-result-errored", "1 of 1 required test did not pass: 1 errored"),
        (Outcome.PASSED, False, "test-result-passed", "All required tests passed"),
        (None, True, "test-result-missing-waived", "All required tests passed or are waived"),
        (Outcome.INCOMPLETE, True, "test-result-incomplete-waived", "All required tests passed or are waived"),
        (Outcome.FAILED, True, "test-result-failed-waived", "All required tests passed or are waived"),
        (Outcome.ERRORED, True, "test-result-errored-waived", "All required tests passed or are waived"),
        (Outcome.PASSED, True, "test-result-passed", "All required tests passed"),
    ],
)
def test_a_required_test_is_satisfied_or_not(
    found_as: Outcome | None, type_: str, summary: str, *, waived: bool
) -> None:
    """With the names and shapes that Greenwave's users know."""
    known = {TESTS: Found(found_as, "f26/1/functional_tests/1", "why")} if found_as else {}
    decision = decide(SUBJECT, policies=["p"], required=[TESTS], found=known, waived=[TESTS] if waived else [])
    (requirement,) = (*decision.satisfied_requirements, *decision.unsatisfied_requirements)

    assert decision.policies_satisfied is (waived or found_as is Outcome.PASSED)
    assert (requirement["type"], decision.summary) == (type_, summary)
    assert (requirement["testcase"], requirement["subject_identifier"]) == (TESTS, SUBJECT.identifier)
    assert requirement["scenario"] is None
    assert requirement.get("result_id") == ("f26/1/functional_tests/1" if found_as else None)
    assert ("error_reason" in requirement) is (found_as is Outcome.ERRORED)


def test_where_nothing_is_required_everything_is_satisfied() -> None:
    """In the words by which Bodhi knows it."""
    decision = decide(SUBJECT, policies=["p"], required=[], found={}, waived=())

    assert (decision.policies_satisfied, decision.summary) == (True, NOTHING_REQUIRED)
    assert decision.applicable_policies == ("p",)


FOUND = st.dictionaries(st.sampled_from(list(STEPS)), st.builds(Found, st.sampled_from(Outcome)))
SOME = st.lists(st.sampled_from([*STEPS, COMPLETE]), unique=True)


@given(FOUND, SOME, SOME)
def test_a_decision_is_satisfied_if_and_only_if_every_required_test_passed_or_is_waived(
    known: dict[str, Found], required: list[str], waived: list[str]
) -> None:
    """Whatever else was found or waived; and every required test is told of exactly once."""
    decision = decide(SUBJECT, policies=[], required=required, found=known, waived=waived)
    fine = [one for one in required if one in waived or (one in known and known[one].outcome is Outcome.PASSED)]

    assert decision.policies_satisfied is (fine == required)
    assert [one["testcase"] for one in decision.satisfied_requirements] == fine
    assert sorted(one["testcase"] for _, one in decision.requirements) == sorted(required)


@given(st.lists(st.tuples(FOUND, SOME), min_size=1, max_size=4))
def test_several_subjects_pass_together_or_not_at_all(drawn: list[tuple[dict[str, Found], list[str]]]) -> None:
    """As if their requirements were one list."""
    each = [decide(SUBJECT, policies=["p"], required=required, found=known, waived=()) for known, required in drawn]

    assert together(each).policies_satisfied is all(one.policies_satisfied for one in each)
    assert len(list(together(each).requirements)) == sum(len(required) for _, required in drawn)


def test_another_result_that_says_the_same_is_no_change() -> None:
    """Nor is a result that is being made; a test that fails is."""
    first, again, running, failed = (
        decide(SUBJECT, policies=["p"], required=[TESTS], found=known, waived=())
        for known in (
            {},
            {TESTS: Found(Outcome.INCOMPLETE, "f26/1/functional_tests/1")},
            {TESTS: Found(Outcome.INCOMPLETE, "f26/1/functional_tests/2")},
            {TESTS: Found(Outcome.FAILED, "f26/1/functional_tests/2")},
        )
    )

    assert is_a_change(None, first)
    assert not is_a_change(first.model_dump(mode="json"), again)
    assert not is_a_change(again.model_dump(mode="json"), running)
    assert is_a_change(running.model_dump(mode="json"), failed)
