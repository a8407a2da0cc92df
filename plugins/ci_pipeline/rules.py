"""The decisions of the pipeline, as pure functions: no database, no clock, no bus."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import TypeAdapter

from ci_pipeline.change import Change
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import (
    COMPOSE_OSTREE,
    CONFORMANCE_TESTS,
    FUNCTIONAL_TESTS,
    INTEGRATION_TESTS,
    SMOKE_TEST,
    STEPS,
    Stage,
)

GenerateImage = Literal["when-due", "always", "never"]
GENERATE_IMAGE: Final[TypeAdapter[GenerateImage]] = TypeAdapter(GenerateImage)
_MAX_SENDER: Final = 100


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a change is taken up (`queued`) or `ignored`, and why."""

    state: Literal["queued", "ignored"]
    reason: str


def decide(change: Change, settings: Settings, *, ignore_reason: str = "") -> Decision:
    """Decide whether a pushed change gets a pipeline run.

    Args:
        change: what was pushed.
        settings: which packages and branches are watched.
        ignore_reason: why the push itself is not one to act on (a deleted branch, a fork); empty: it is.
    """
    reason = ignore_reason or _unwatched(change, settings)
    return Decision("ignored", reason) if reason else Decision("queued", "")


def untrusted(sender: str, senders: Collection[str]) -> str:
    """Return why a message is not taken up because of who sent it, or "" if it is.

    Args:
        sender: the account that published it, as the broker has checked it; "" if the message does not say.
        senders: the accounts that are trusted; empty: all, and those who do not say, too.
    """
    if not senders or sender in senders:
        return ""
    who = f"its sender {sender[:_MAX_SENDER]!r} is not trusted" if sender else "it does not say who sent it (user_id)"
    return f"{who} (bus.senders)"


def _unwatched(change: Change, settings: Settings) -> str:
    if change.namespace not in settings.packages.namespaces:
        return f"namespace {change.namespace} is not watched (packages.namespaces)"
    if change.repo not in settings.packages.names:
        return f"package {change.repo} is not watched (packages.monitored)"
    if change.branch not in settings.branches:
        return f"branch {change.branch} has no pipeline (branches)"
    return ""


def is_fine(status: Status) -> bool:
    """Tell whether a status needs nobody's attention."""
    return status in {Status.SUCCESS, Status.SKIPPED}


def stops_the_run(stage: Stage, status: Status, *, gating: bool) -> bool:
    """Tell whether the stages after `stage` must not run.

    FAILURE and ABORTED always stop. UNSTABLE stops too, but for the functional tests of an opt-in package,
    which are reported and do not gate.
    """
    if status is Status.UNSTABLE:
        return gating or stage is not FUNCTIONAL_TESTS
    return status in {Status.FAILURE, Status.ABORTED}


def gives_lease_back(stage: Stage, status: Status, *, final: bool, promotes: bool) -> bool:
    """Tell whether the end of a try ends the run's hold on its branch's composes.

    A compose that went well is held until its integration tests have ended for good; one that did not is held no
    longer, whether it is tried again or not. One that is never promoted is in nobody's way: it had to be made while
    no promotion is under way, and no more.
    """
    if stage is COMPOSE_OSTREE:
        return status is not Status.SUCCESS or not promotes
    return stage is INTEGRATION_TESTS and final


def is_validated(ended: Mapping[str, Status], *, about_the_image: bool) -> bool:
    """Tell whether the image a run made is validated by how the run's stages ended.

    Its host passed the integration tests and it booted. Conformance tests count when they are about the image: then
    each of their steps passed or was skipped. One that is missing was never decided on: the run was ended before it.

    Args:
        ended: the status of each stage, by its name.
        about_the_image: whether the conformance tests ran, or would have run, on hosts of the image.
    """
    if any(ended.get(stage.name) is not Status.SUCCESS for stage in (INTEGRATION_TESTS, SMOKE_TEST)):
        return False
    steps = STEPS[CONFORMANCE_TESTS.event] if about_the_image else ()
    return all(is_fine(ended.get(step.name, Status.ABORTED)) for step in steps)


def image_not_due(
    *,
    wanted: GenerateImage,
    interval_hours: float,
    last_good: datetime | None,
    now: datetime,
) -> str:
    """Return why no image is due, or "" when one is.

    An image is due when the branch's last smoke-passed image is older than the interval, or there is none.
    """
    if wanted == "always" or (wanted == "when-due" and last_good is None):
        return ""
    if wanted == "never" or last_good is None:
        return "no image wanted: the run was triggered with generate_image = never"
    due = last_good + timedelta(hours=interval_hours)
    if now >= due:
        return ""
    return (
        f"no image is due before {due:%Y-%m-%d %H:%M} UTC: the last good one is of {last_good:%Y-%m-%d %H:%M} "
        f"and the interval is {interval_hours:g} h"
    )
