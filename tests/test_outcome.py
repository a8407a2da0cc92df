"""How outcomes add up."""

import pytest

from ci_pipeline.outcome import Status, TestOutcome, has_failed, is_bad, worst


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], Status.SUCCESS),
        ([Status.SKIPPED], Status.SUCCESS),
        ([Status.SUCCESS, Status.SKIPPED], Status.SUCCESS),
        ([Status.SUCCESS, Status.UNSTABLE, Status.SUCCESS], Status.UNSTABLE),
        ([Status.UNSTABLE, Status.FAILURE], Status.FAILURE),
        ([Status.FAILURE, Status.ABORTED], Status.ABORTED),
    ],
)
def test_a_whole_is_as_bad_as_its_worst_part(statuses: list[Status], expected: Status) -> None:
    """Nothing that went wrong is hidden by what went well after it."""
    assert worst(statuses) is expected


def test_failures_and_errors_of_tests_are_bad() -> None:
    """A skipped test is neither a failure nor hidden as one."""
    assert {outcome for outcome in TestOutcome if is_bad(outcome)} == {TestOutcome.FAILED, TestOutcome.ERROR}


def test_a_failure_that_does_not_count_is_a_failure_all_the_same() -> None:
    """It is shown among the failed tests, and is no pass."""
    failed = {outcome for outcome in TestOutcome if has_failed(outcome)}

    assert set(TestOutcome) - failed == {TestOutcome.PASSED, TestOutcome.SKIPPED}
