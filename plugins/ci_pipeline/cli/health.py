"""What the pipeline has to do, as its database knows it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ci_pipeline import store
from ci_pipeline.errors import DatabaseUnreachable
from ci_pipeline.insight import storm_state
from ci_pipeline.insight.storm_state import StormState
from ci_pipeline.settings import Settings
from ci_pipeline.store import builder_leases, deliveries, lanes, outbox
from ci_pipeline.store.deliveries import SinkState
from ci_pipeline.store.tables import Inbound, Run


@dataclass(frozen=True)
class Work:
    """What waits and what goes on.

    Attributes:
        unpublished: messages in the outbox that are to be published.
        parked: messages the bus refused for good; an operator has to look.
        not_fired: queued changes Airflow has not been told of, those that wait for their turn left out.
        running: ids of the runs that go on.
        last_message: topic, decision and reason of the newest message that was taken up; "" if there was none.
        sinks: how things are with the datahubs downstream.
        storm: what waits for its turn in the storm lane.
        builders: of each builder that is set aside, a sentence that says until when, and why.
        problems: sentences; what else is here is not known then.
    """

    unpublished: int = 0
    parked: int = 0
    not_fired: int = 0
    running: tuple[str, ...] = ()
    last_message: str = ""
    last_message_at: datetime | None = None
    sinks: tuple[SinkState, ...] = ()
    storm: StormState | None = None
    builders: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def work(settings: Settings) -> Work:
    """Look; a database that is away is a problem in the result, not an error."""
    try:
        with store.session(settings.database.url.get_secret_value()) as session:
            return _look(session, settings)
    except DatabaseUnreachable as error:
        return Work(problems=(str(error),))


def _look(session: Session, settings: Settings) -> Work:
    waiting, parked = outbox.pending(session)
    going_on = select(Run.run_id).where(Run.status.is_(None), Run.fired_at.is_not(None)).order_by(Run.id)
    queued = select(func.count()).select_from(Run).where(lanes.IS_UNFIRED)
    last = session.scalar(select(Inbound).order_by(Inbound.id.desc()).limit(1))
    return Work(
        unpublished=waiting,
        parked=parked,
        not_fired=session.scalar(queued) or 0,
        running=tuple(session.scalars(going_on)),
        last_message=", ".join(filter(None, (last.topic, last.state, last.reason))) if last else "",
        last_message_at=last.received_at if last else None,
        builders=tuple(
            f"{one.builder} is set aside until {one.until.astimezone():%H:%M:%S}: {one.reason}"
            for one in builder_leases.aside(session)
        ),
        storm=storm_state.read(session),
        sinks=tuple(deliveries.states(session, [sink.name for sink in settings.sinks])),
    )
