"""The storm lane: whose changes wait, how fast they drain, and when a run of them begins."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from ci_pipeline.lane import Lane
from ci_pipeline.store import lanes, runs, storms
from ci_pipeline.store.tables import Run
from ci_pipeline.wording import duration


@dataclass(frozen=True, slots=True)
class Pusher:
    """An account with changes in the storm lane.

    Attributes:
        account: as the messages name it; hostile. "": those that name nobody.
        storms_since: when its storm began; None when it has calmed down, or its changes always wait.
        waiting: how many of its changes are held back.
        waits_since: when the oldest of them arrived.
    """

    account: str
    storms_since: datetime | None
    waiting: int
    waits_since: datetime | None

    @property
    def name(self) -> str:
        """What it is called."""
        return storms.name_of(self.account)


@dataclass(frozen=True, slots=True)
class StormState:
    """The storm lane now.

    Attributes:
        waiting: runs that are held back.
        going_on: runs of the lane that go on.
        ended_last_hour: runs of the lane that have run, and ended within the last hour.
        seconds_left: how long it takes until the lane is empty, as fast as it drains now; None: not known yet.
        accounts: whose changes they are, those with most first.
    """

    waiting: int
    going_on: int
    ended_last_hour: int
    seconds_left: float | None
    accounts: tuple[Pusher, ...]

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing in the lane, and nobody storms."""
        return not (self.waiting or self.going_on or self.accounts)

    @property
    def eta(self) -> str:
        """How long it takes until all of them have run, in words."""
        if self.seconds_left is None:
            return "how long they take is not known yet: none has ended within the last hour"
        return f"at this pace all of them have run in about {duration(self.seconds_left)}"

    @property
    def summary(self) -> str:
        """What there is of the lane, in one line."""
        counts = f"{self.waiting} wait, {self.going_on} run, {self.ended_last_hour} ended within the last hour"
        return f"{counts}; {self.eta}" if self.waiting or self.going_on else counts


def read(session: Session) -> StormState:
    """Read the lane, in a fixed number of queries."""
    drain = lanes.drain(session)
    storming = {storm.account: storm.began_at for storm in storms.going_on(session)}
    waiting = {account: (count, since) for account, count, since in lanes.waiting_by_account(session)}
    return StormState(
        waiting=drain.waiting,
        going_on=drain.going_on,
        ended_last_hour=drain.ended,
        seconds_left=drain.seconds_left,
        accounts=tuple(
            Pusher(account, storming.get(account), *waiting.get(account, (0, None)))
            for account in {**waiting, **storming}
        ),
    )


def why_held_back(session: Session, run: Run) -> str:
    """Return why a run waits for its turn, its place and how long it takes until it begins; "" if it does not."""
    if run.lane != Lane.STORM or run.fired_at or run.status:
        return ""
    drain, place = lanes.drain(session), lanes.place_of(session, run)
    pushers = [message.agent for message in runs.inbound_of(session, run.id) if message.state == "queued"]
    whose = f"{storms.name_of(pushers[0])} pushed" if pushers else "were pushed"
    seconds = drain.seconds_for(place)
    begins = f"it begins in about {duration(seconds)}" if seconds else "when it begins is not known yet"
    return (
        f"It waits for its turn behind what others push, with very many changes that {whose}: number {place} of "
        f"{drain.waiting}; {begins}. `ci-pipeline storm release {run.branch}/{run.number}` lets it go now."
    )
