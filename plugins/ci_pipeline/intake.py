"""The intake: from a batch of messages to ledger rows, announcements and DAG runs."""

import logging
from collections.abc import Callable, Iterable

from sqlalchemy.orm import Session

from ci_pipeline import publishing, store, wording
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.change import Change
from ci_pipeline.errors import AirflowRefused, AirflowUnreachable, DatabaseUnreachable
from ci_pipeline.journal import Journal
from ci_pipeline.kind import Kind
from ci_pipeline.settings import Settings
from ci_pipeline.store import lanes, ledger, runs, storms
from ci_pipeline.store.ledger import Decided, Received
from ci_pipeline.store.tables import Inbound, Run

log = logging.getLogger(__name__)


class Intake:
    """Takes up what the bus brings, for one run of the trigger DAG."""

    def __init__(self, settings: Settings, *, trigger_run_id: str) -> None:
        """Use the settings; announcements point to the DAG run `trigger_run_id`."""
        self._settings = settings
        self._trigger_run_id = trigger_run_id

    def record(self, messages: Iterable[Received]) -> list[int]:
        """Write messages and what is to be said of them, in one transaction. Acknowledge them after this returns.

        Returns:
            The runs that were queued.
        """
        with store.session() as session:
            rows = self.take_up(session, messages)
        return [row.run for row in rows if row.state == "queued" and row.run]

    def take_up(self, session: Session, messages: Iterable[Received]) -> list[Decided]:
        """Write messages and what is to be said of them into an open transaction; return their rows."""
        rows = ledger.record(session, messages, self._settings)
        self.announce(session, *rows)
        return rows

    def announce(self, session: Session, *rows: Decided) -> None:
        """Write down what is to be said of decisions, and end the runs whose place the changes take."""
        journal, rivals = Journal(session, self._settings), ledger.with_rivals(session, rows)
        told: list[Decided] = []
        for row in rows:
            if isinstance(row, Inbound) and row in rivals:
                # It may end the run of one before it, which has to be queued by then.
                self._say(journal, told)
                self._make_way(session, journal, row)
                told = []
            told.append(row)
        self._say(journal, told)
        _log(rows)

    def _say(self, journal: Journal, rows: Iterable[Decided]) -> None:
        journal.announce_decisions(rows, trigger_run_id=self._trigger_run_id)

    @staticmethod
    def _make_way(session: Session, journal: Journal, row: Inbound) -> None:
        replaced = ledger.superseded_by(session, row)
        for run in replaced:
            journal.end_before_start(run, ledger.why_superseded(row))
        lanes.inherit(session, row, replaced)

    def catch_up(self) -> None:
        """Publish what is pending and fire what is queued. What fails now is done the next time."""
        publishing.publish_or_leave(self._settings)
        self.fire_queued()

    def announce_runs(self, runs: Iterable[int]) -> None:
        """Publish what is pending of runs. What fails now is done the next time."""
        publishing.publish_or_leave(self._settings, runs=runs)

    def announce_rest(self, stop: Callable[[], bool]) -> None:
        """Publish all that is pending, until `stop` says so. What fails now is done the next time."""
        publishing.publish_or_leave(self._settings, stop=stop)

    def fire_queued(self) -> None:
        """Fire what is queued. What fails now is done the next time."""
        try:
            self._calm_down()
            self._fire()
        except (AirflowUnreachable, DatabaseUnreachable) as error:
            log.warning("queued changes wait: %s", error)

    def _calm_down(self) -> None:
        with store.session() as session:
            for storm in storms.calm_down(session, self._settings.storm):
                log.warning("the storm of %s is over; what waits of it goes on", storms.name_of(storm.account))

    def _fire(self) -> None:
        with store.session() as session:
            waiting = runs.not_fired(session)
            held_back = lanes.next_to_go(session, self._settings.storm)
        if not waiting and not held_back:
            return
        with AirflowApi(self._settings.airflow) as airflow:
            # Not all of them are told at a time; where one is refused the rest waits for the next time, as it does.
            while waiting and self._fire_all(airflow, waiting):
                with store.session() as session:
                    waiting = runs.not_fired(session)
            if held_back:
                self._let_go(airflow)

    @staticmethod
    def _fire_all(airflow: AirflowApi, waiting: Iterable[Run]) -> bool:
        """Fire runs; return whether Airflow took all of them. Which it took is written down at once, for all."""
        taken: list[int] = []
        refused = False
        try:
            for run in waiting:
                if _told(airflow, run):
                    taken.append(run.id)
                else:
                    refused = True
        finally:
            # What is not written down after a crash is fired again, which changes nothing.
            with store.session() as session:
                runs.mark_fired(session, *taken)
        return not refused

    def _let_go(self, airflow: AirflowApi) -> None:
        """Fire runs of the storm lane while there is room. A branch that Airflow refuses holds up no other."""
        refused: set[str] = set()
        # The lock is the transaction's: two at once would each see the same room.
        with store.session() as session:
            if not lanes.lock(session):
                return
            while run := lanes.next_to_go(session, self._settings.storm, but=refused):
                if not self._fire_all(airflow, [run]):
                    refused.add(run.branch)


def _told(airflow: AirflowApi, run: Run) -> bool:
    """Tell Airflow of a run, if it takes it; return whether it has."""
    try:
        _tell(airflow, run)
    except AirflowRefused as error:
        log.warning("%s waits: %s", runs.change_of(run), error)
        return False
    return True


def _log(rows: Iterable[Decided]) -> None:
    """Log what was decided, a line each; of what is ignored, which can be very much, the number: the ledger has it."""
    ignored = [row for row in rows if row.state == "ignored"]
    for row in rows:
        if row.state != "ignored":
            log.info("message %d: %s: %s %s", row.id, _about(row), row.state, row.reason)
    if ignored:
        log.info("%d messages ignored, the last of them is %d", len(ignored), ignored[-1].id)


def _about(row: Decided) -> str:
    """Return what a message is about, as a line of the log may have it."""
    return f"{row.namespace}/{row.repo} {row.rev[:7]} {row.branch}" if row.rev else wording.one_line(row.topic)


def fire(airflow: AirflowApi, run: Run) -> None:
    """Start the DAG run of a queued run. One that is fired already stays as it is.

    Raises:
        AirflowApiError: Airflow does not answer, or does not take it: the run stays queued, and is fired later.
    """
    _tell(airflow, run)
    with store.session() as session:
        runs.mark_fired(session, run.id)


def _tell(airflow: AirflowApi, run: Run) -> None:
    change = runs.change_of(run)
    key = _partition_key_of(run, change)
    airflow.trigger(run.dag_id, run.run_id, conf=runs.conf_of(run), note=_note(run, change), partition_key=key)
    log.info("fired %s as %s %s", change, run.dag_id, run.run_id)


def _partition_key_of(run: Run, change: Change) -> str | None:
    """Return what a backfill knows the run by. What was asked for by hand need not be in the index of revisions."""
    return None if run.kind == Kind.MANUAL else change.partition_key


def _note(run: Run, change: Change) -> str:
    return f"{change}, backfill" if run.kind == Kind.BACKFILL else str(change)
