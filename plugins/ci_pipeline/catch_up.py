"""Catching up with dist-git: a push whose message the bus lost is found by its branch's head.

Only heads are compared: of several pushes missed in a row the last is run, as if it had superseded the others.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session

from ci_pipeline import dist_git, store
from ci_pipeline.change import Change
from ci_pipeline.intake import Intake
from ci_pipeline.kind import Kind
from ci_pipeline.settings import Settings
from ci_pipeline.store import ledger
from ci_pipeline.store.ledger import Received
from ci_pipeline.store.tables import Inbound, Run

TOPIC: Final = "ci-pipeline.catch-up"
MESSAGE_ID: Final = "catch-up"

# Namespace, package and branch.
_Place = tuple[str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What came of comparing dist-git with the ledger.

    Attributes:
        queued: changes that were missed, and have a run now.
        new: heads of packages and branches of which nothing was ever queued: left alone, unless all are wanted.
        known: number of heads that are known.
        pushed_meanwhile: number of heads that were passed over, because the bus brought a newer message about them.
        absent: packages (`rpms/mesa`) that are not in dist-git yet.
        problems: sentences: packages that could not be looked at.
    """

    queued: tuple[Change, ...]
    new: tuple[Change, ...]
    known: int
    pushed_meanwhile: int
    absent: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The counts, in one line."""
        parts = (
            f"{len(self.queued)} missed and queued",
            f"{self.known} known",
            f"new to us: {len(self.new)} (use --all to run them)" if self.new else "",
            f"{self.pushed_meanwhile} pushed meanwhile" if self.pushed_meanwhile else "",
            f"{len(self.absent)} not in dist-git yet" if self.absent else "",
            f"{len(self.problems)} could not be looked at" if self.problems else "",
        )
        return ", ".join(filter(None, parts))


def catch_up(settings: Settings, *, everything: bool = False, trigger_run_id: str = "") -> CaughtUp:
    """Queue what was pushed and is not in the ledger.

    Args:
        settings: which packages and branches are watched, and where dist-git is.
        everything: also run the heads of packages and branches of which nothing was ever queued.
        trigger_run_id: the DAG run that does it; announcements point to it.

    Raises:
        StackError: git is not installed.
    """
    with store.session() as session:
        newest = session.scalar(select(func.max(Inbound.id))) or 0
    found = dist_git.heads_of_all(settings)
    heads = [head for package in found for head in package.heads]
    with store.session() as session:
        # Until the messages are recorded: what the bus brings meanwhile is newer than the heads we saw.
        ledger.lock(session)
        known = _known(session, heads)
        unknown = [head for head in heads if head not in known]
        pushed = _places_of_messages_after(session, newest)
        missed = [head for head in unknown if _place(head) not in pushed]
        wanted = _once(missed if everything else _of_places_run_before(session, missed), settings)
        rows = Intake(settings, trigger_run_id=trigger_run_id).take_up(session, map(_message, wanted))
        queued = [ledger.change_of(row) for row in rows if row.state == "queued"]
    return CaughtUp(
        queued=tuple(queued),
        new=tuple(head for head in missed if head not in {*wanted, *queued}),
        known=len(heads) - len(unknown),
        pushed_meanwhile=len(unknown) - len(missed),
        absent=tuple(package.package for package in found if package.absent),
        problems=tuple(package.problem for package in found if package.problem),
    )


def _known(session: Session, heads: Sequence[Change]) -> set[Change]:
    """Return those heads that a message is of, or a run that is no backfill. A dead letter is of no change."""
    wanted = [(head.namespace, head.repo, head.rev, head.branch) for head in heads]
    # A backfill has told how the head does, and left the branch without it.
    found = _among(session, Inbound, wanted) | _among(session, Run, wanted, Run.kind != Kind.BACKFILL)
    return {head for head, change in zip(heads, wanted, strict=True) if change in found}


def _among(
    session: Session, table: type[Inbound | Run], wanted: Sequence[tuple[str, ...]], *conditions: ColumnElement[bool]
) -> set[tuple[object, ...]]:
    columns = (table.namespace, table.repo, table.rev, table.branch)
    return set(session.execute(select(*columns).where(tuple_(*columns).in_(wanted), *conditions)))


def _places_of_messages_after(session: Session, newest: int) -> set[_Place]:
    since = select(Inbound.namespace, Inbound.repo, Inbound.branch).where(Inbound.id > newest)
    return set(session.execute(since))


def _of_places_run_before(session: Session, heads: Sequence[Change]) -> list[Change]:
    """Return the heads of packages and branches of which something was queued before.

    On an empty ledger that is none: a first start must not build the world.
    """
    place = (Inbound.namespace, Inbound.repo, Inbound.branch)
    asked = tuple_(*place).in_([_place(head) for head in heads])
    before = select(*place).distinct().where(asked, Inbound.state.in_(["queued", "superseded"]))
    places: set[_Place] = set(session.execute(before))
    return [head for head in heads if _place(head) in places]


def _once(heads: Sequence[Change], settings: Settings) -> list[Change]:
    """Return the heads without those that another brings along: a push is taken up by all branches that build it."""
    brought = {
        head.model_copy(update={"branch": name})
        for head in heads
        for name in settings.built_from(head.branch)
        if name != head.branch
    }
    return [head for head in heads if head not in brought]


def _place(head: Change) -> _Place:
    return head.namespace, head.repo, head.branch


def _message(head: Change) -> Received:
    return Received(topic=TOPIC, message_id=MESSAGE_ID, raw=json.dumps(head.model_dump()).encode())
