"""What can come out of a stage and of a run, and how outcomes add up."""

from collections.abc import Iterable
from enum import StrEnum


class Status(StrEnum):
    """The status of a stage or a run as the bus says it, plus SKIPPED, which the bus never sees."""

    SUCCESS = "SUCCESS"
    UNSTABLE = "UNSTABLE"
    FAILURE = "FAILURE"
    ABORTED = "ABORTED"
    SKIPPED = "SKIPPED"


class Fault(StrEnum):
    """Whose fault a FAILURE is. Only infrastructure faults may be retried: the package's are final."""

    NONE = ""
    PACKAGE = "package"
    INFRASTRUCTURE = "infrastructure"


class TestOutcome(StrEnum):
    """The outcome of one test case.

    QUARANTINED: it failed, and was known to (`[[quarantine]]`). PASSED_ON_RERUN: it failed, and passed when it was run
    again in the same stage, on the same bits (`[reruns]`): neither a pass nor a failure.
    """

    __test__ = False

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    QUARANTINED = "quarantined"
    PASSED_ON_RERUN = "passed-on-rerun"


# Worst last. A run is as bad as the worst of its stages; a skipped stage says nothing about the change.
_SEVERITY = (Status.SKIPPED, Status.SUCCESS, Status.UNSTABLE, Status.FAILURE, Status.ABORTED)


def worst(statuses: Iterable[Status]) -> Status:
    """Return the status of a whole: the worst of its parts, SUCCESS when nothing went wrong or nothing ran."""
    return max((Status.SUCCESS, *statuses), key=_SEVERITY.index)


def is_bad(outcome: TestOutcome) -> bool:
    """Tell whether a test outcome makes its stage UNSTABLE."""
    return outcome in {TestOutcome.FAILED, TestOutcome.ERROR}


def has_failed(outcome: TestOutcome) -> bool:
    """Tell whether a test failed at least once, whether that counts or not."""
    return is_bad(outcome) or outcome in {TestOutcome.QUARANTINED, TestOutcome.PASSED_ON_RERUN}
