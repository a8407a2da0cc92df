"""Has a subject what the policies ask for? Pure: no database, no clock.

Source of the shapes and of the types' names: Greenwave's API (docs/gating.md), so that its users can ask us.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict

PREFIX: Final = "test-result-"
# Bodhi tells by this very sentence that nothing gates an update.
NOTHING_REQUIRED: Final = "no tests are required"

Requirement = dict[str, Any]  # as Greenwave writes it: type, testcase, subject_type, subject_identifier, ...


class Outcome(StrEnum):
    """How a testcase stands."""

    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    INCOMPLETE = "incomplete"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Found:
    """How a testcase stands for a subject.

    Attributes:
        outcome: how.
        result_id: the result that says so, as the datahub names it: `f26/464/build_package/1`.
        note: why, if it did not simply pass; hostile.
    """

    outcome: Outcome
    result_id: str = ""
    note: str = ""


_NOT_THERE: Final = Found(Outcome.MISSING)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is decided about: `koji_build` and its NVR, `compose` and its commit, `image` and its name."""

    type: str
    identifier: str


class Decision(BaseModel):
    """Whether what the policies ask for is there, and what is not."""

    model_config = ConfigDict(frozen=True)

    policies_satisfied: bool
    summary: str
    applicable_policies: tuple[str, ...]
    satisfied_requirements: tuple[Requirement, ...]
    unsatisfied_requirements: tuple[Requirement, ...]

    @classmethod
    def of(cls, policies: Iterable[str], requirements: Iterable[tuple[bool, Requirement]]) -> Self:
        """Sum requirements up, each with whether it is satisfied."""
        known = list(requirements)
        satisfied = tuple(one for is_satisfied, one in known if is_satisfied)
        unsatisfied = tuple(one for is_satisfied, one in known if not is_satisfied)
        return cls(
            policies_satisfied=not unsatisfied,
            summary=_summary(satisfied, unsatisfied),
            applicable_policies=tuple(dict.fromkeys(policies)),
            satisfied_requirements=satisfied,
            unsatisfied_requirements=unsatisfied,
        )

    @property
    def requirements(self) -> Iterable[tuple[bool, Requirement]]:
        """All of them, each with whether it is satisfied."""
        yield from ((True, one) for one in self.satisfied_requirements)
        yield from ((False, one) for one in self.unsatisfied_requirements)


def decide(
    subject: Subject,
    *,
    policies: Sequence[str],
    required: Sequence[str],
    found: Mapping[str, Found],
    waived: Collection[str],
) -> Decision:
    """Decide about a subject.

    Args:
        subject: what is decided about.
        policies: the ids of those that are for it.
        required: the testcases they ask for.
        found: how its testcases stand; one that is not in it has no result.
        waived: testcases that need not have passed.
    """
    checked = (_checked(subject, one, found.get(one, _NOT_THERE), is_waived=one in waived) for one in required)
    return Decision.of(policies, checked)


def together(decisions: Sequence[Decision]) -> Decision:
    """Return the decision about several subjects: all of them have to be satisfied."""
    policies = [one for decision in decisions for one in decision.applicable_policies]
    return Decision.of(policies, (one for decision in decisions for one in decision.requirements))


def is_a_change(before: Mapping[str, Any] | None, now: Decision) -> bool:
    """Tell whether a decision differs from the one before it in more than which result says so.

    That a missing result is being made is no news: it is missing until it is there.
    """
    return before is None or _essence(before) != _essence(now.model_dump(mode="json"))


def _checked(subject: Subject, testcase: str, found: Found, *, is_waived: bool) -> tuple[bool, Requirement]:
    passed = found.outcome is Outcome.PASSED
    waived = is_waived and not passed
    told: Requirement = {
        "type": f"{PREFIX}{found.outcome}{'-waived' if waived else ''}",
        "testcase": testcase,
        "subject_type": subject.type,
        "subject_identifier": subject.identifier,
        "scenario": None,
    }
    if found.result_id:
        told["result_id"] = found.result_id
    if found.note:
        told["error_reason" if found.outcome is Outcome.ERRORED else "note"] = found.note
    return passed or waived, told


def _summary(satisfied: Sequence[Requirement], unsatisfied: Sequence[Requirement]) -> str:
    if not satisfied and not unsatisfied:
        return NOTHING_REQUIRED
    if not unsatisfied:
        waived = any(one["type"].endswith("-waived") for one in satisfied)
        return "All required tests passed or are waived" if waived else "All required tests passed"
    counted = Counter(one["type"].removeprefix(PREFIX) for one in unsatisfied)
    how = ", ".join(f"{counted[outcome]} {outcome}" for outcome in Outcome if counted[outcome])
    total = len(satisfied) + len(unsatisfied)
    return f"{len(unsatisfied)} of {total} required {'test' if total == 1 else 'tests'} did not pass: {how}"


def _essence(told: Mapping[str, Any]) -> object:
    requirements = [*told["satisfied_requirements"], *told["unsatisfied_requirements"]]
    types = {(one["testcase"], one["type"].replace(Outcome.INCOMPLETE, Outcome.MISSING)) for one in requirements}
    return told["policies_satisfied"], set(told["applicable_policies"]), types
