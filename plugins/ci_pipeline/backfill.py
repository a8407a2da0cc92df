"""Backfilling by revision: a side run for each of some known revisions of a package.

Airflow's own backfill takes a range of dates, of all packages, one per branch at a time. This one takes what is chosen;
its runs are Airflow's and ours like any other, and carry the revision's partition key, so that a later backfill of the
dates passes them over. They are fired when there is room: what is pushed meanwhile comes first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sqlalchemy.orm import Session

from ci_pipeline import rules, store
from ci_pipeline.change import Change
from ci_pipeline.errors import SettingsError, StoreError
from ci_pipeline.intake import Intake
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import ledger, revisions, runs
from ci_pipeline.store.revisions import Place
from ci_pipeline.store.tables import Revision, Run

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Again(StrEnum):
    """Which revisions that have run are run again: none, those that did not end well, or all."""

    NONE = "none"
    FAILED = "failed"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Entry:
    """A revision of a backfill.

    Attributes:
        change: the revision.
        run: the id of the run that was made for it; "" if none was, or only would be.
        skipped: why it has none; "" if it has, or would have one.
    """

    change: Change
    run: str = ""
    skipped: str = ""


Choose = Callable[[Session], list[Revision]]


def backfill(  # noqa: PLR0913 - which revisions, and what is asked for of their runs
    settings: Settings,
    place: Place,
    choose: Choose,
    *,
    again: Again = Again.NONE,
    options: Mapping[str, str] = _NOTHING,
    dry_run: bool = False,
) -> list[Entry]:
    """Make a run of each chosen revision that is to be run, and fire the first of them.

    Args:
        settings: which branches there are, and where Airflow is.
        place: the package and the branch.
        choose: returns the revisions, in the order they are to be run in.
        again: which of those that have run are run again.
        options: what is asked for of each run besides (`Conf.options`).
        dry_run: make nothing.

    Returns:
        What became of each revision, in the same order.

    Raises:
        SettingsError: the branch has no pipeline.
        StoreError: nothing is known of the package on the branch.
    """
    if place.branch not in settings.branches:
        msg = f"branch {place.branch} has no pipeline (branches); there are: {', '.join(settings.branches)}"
        raise SettingsError(msg)
    with store.session() as session:
        # Two backfills at once, or a push at the same moment, must see each other's runs.
        ledger.lock(session)
        chosen = revisions.changes_of(choose(session))
        if not chosen:
            msg = f"no revision of {place} is known; `ci-pipeline revisions import` takes them up from dist-git"
            raise StoreError(msg)
        entries = _entries(session, chosen, again, None if dry_run else options)
    if not dry_run:
        Intake(settings, trigger_run_id="").catch_up()
    return entries


def _entries(
    session: Session, chosen: Sequence[Change], again: Again, options: Mapping[str, str] | None
) -> list[Entry]:
    """Make the runs; without `options` only say which."""
    ran = runs.fired(session, chosen)
    reasons = {change: _why_not(ran.get(change), again) for change in chosen}
    return [
        Entry(change, skipped=reasons[change])
        if reasons[change] or options is None
        else Entry(change, run=runs.create(session, change, kind=Kind.BACKFILL, options=options).run_id)
        for change in chosen
    ]


def _why_not(ran: Run | None, again: Again) -> str:
    """Return why a revision is not run, as Airflow's backfill would decide by the newest run of it."""
    if ran is None:
        return ""
    name = f"{ran.branch}/{ran.number}"
    if ran.status is None:
        return f"run {name} of it has not ended"
    if again is Again.ALL or (again is Again.FAILED and not rules.is_fine(Status(ran.status))):
        return ""
    return f"run {name} of it ended {ran.status}"
