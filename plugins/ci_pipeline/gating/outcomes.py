"""From what came of a run's stages to how its testcases stand. Pure: no database, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ci_pipeline.gating.decision import Found, Outcome
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.stages import BY_NAME, COMPLETE, next_step
from ci_pipeline.store import runs

_OF_STATUS: Final = {
    Status.SUCCESS: Outcome.PASSED,
    Status.SKIPPED: Outcome.PASSED,
    Status.UNSTABLE: Outcome.FAILED,
    Status.FAILURE: Outcome.FAILED,
    Status.ABORTED: Outcome.ERRORED,
}
_BETWEEN_STEPS: Final = "the run ended before all steps of it were done"


@dataclass(frozen=True, slots=True)
class Tried:
    """A try of a stage. `status` is None while it runs; `reason` and `image_name` are hostile."""

    id: int
    stage: str
    try_number: int
    status: str | None
    fault: str
    reason: str
    nvr: str
    original_spec_nvr: str
    compose_rev: str
    image_name: str | None


@dataclass(frozen=True, slots=True)
class Ran:
    """A run: its number among all, its id (`f26/464`), its package, and how it ended; None while it goes on."""

    number: int
    id: str
    repo: str
    status: str | None
    reason: str


def found(run: Ran, tries: Iterable[Tried]) -> dict[str, Found]:
    """Return how the testcases of a run stand, by event: `package.test.functional`, `complete`.

    Args:
        run: the run.
        tries: all its tries, in the order they began; those that others took the place of do not count.
    """
    current = list(runs.current_tries(tries).values())
    # Of the steps of one thing the last one that began tells.
    known = {BY_NAME[one.stage].event: _of_try(run, one) for one in current}
    return {**known, COMPLETE: _of_run(run, current)}


def _of_try(run: Ran, one: Tried) -> Found:
    result = f"{run.id}/{one.stage}/{one.try_number}"
    if one.status is None:
        return Found(Outcome.INCOMPLETE, result)
    if one.status == Status.SUCCESS and next_step(BY_NAME[one.stage]):
        return Found(Outcome.ERRORED, result, _BETWEEN_STEPS) if run.status else Found(Outcome.INCOMPLETE, result)
    note = f"skipped: {one.reason}" if one.status == Status.SKIPPED else one.reason
    return Found(_outcome(one.status, [one]), result, note)


def _of_run(run: Ran, current: Iterable[Tried]) -> Found:
    if run.status is None:
        return Found(Outcome.INCOMPLETE, run.id)
    return Found(_outcome(run.status, current), run.id, run.reason)


def _outcome(status: str, tries: Iterable[Tried]) -> Outcome:
    """Return what a status means; a FAILURE that is the infrastructure's alone says nothing about the package."""
    faults = {one.fault for one in tries if one.status == Status.FAILURE}
    if status == Status.FAILURE and faults == {Fault.INFRASTRUCTURE}:
        return Outcome.ERRORED
    return _OF_STATUS[Status(status)]
