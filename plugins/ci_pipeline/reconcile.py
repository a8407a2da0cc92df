"""The reconciler: says what Airflow's callbacks could not say.

A callback is called at most once, and not at all when a task or a run is marked in the UI, runs into the run's time
limit, or dies with its worker. So ended runs and tasks are compared with the journal, and what is missing is written
down and published. On a healthy system there is nothing to do.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ci_pipeline import notes, orphans, provisioning, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.errors import AirflowRefused
from ci_pipeline.executors.report import Report, aborted, infrastructure_failure
from ci_pipeline.intake import Intake
from ci_pipeline.journal import Journal
from ci_pipeline.manifests import writing
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BY_NAME
from ci_pipeline.store import runs, tries
from ci_pipeline.store.tables import Run

log = logging.getLogger(__name__)

_ENDED_RUN: Final = frozenset({"success", "failed"})
_ENDED_TASK: Final = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_TIME_LIMIT: Final = "the run's time limit ended it"


@dataclass(frozen=True, slots=True)
class Mended:
    """Something that was missing and is there now. `run` is a run id, `what` a sentence."""

    run: str
    what: str


def reconcile(settings: Settings) -> list[Mended]:
    """Close every gap between Airflow, the journal, the bus and what runs on this machine.

    Returns:
        What had to be mended; empty on a healthy system.

    Raises:
        AirflowUnreachable: Airflow is away: nothing can be known of its runs.
    """
    with AirflowApi(settings.airflow) as airflow:
        mended = [one for run in _going_on() for one in _mend(settings, airflow, run)]
    mended += [Mended(run, what) for run, what in orphans.end_all(settings)]
    mended += [Mended(run, what) for run, what in provisioning.return_leaked(settings)]
    mended += [Mended(run, what) for run, what in writing.deliver(settings)]
    Intake(settings, trigger_run_id="").catch_up()
    for one in mended:
        log.warning("%s: %s", one.run, one.what)
    return mended


def close_lost_tries(settings: Settings, run: Run) -> list[Mended]:
    """Close the tries of a run whose tasks Airflow calls ended, each for what ended it.

    Raises:
        AirflowApiError: Airflow does not answer, or not this.
    """
    since = _first_open_try(run)
    if since is None:
        return []
    with AirflowApi(settings.airflow) as airflow:
        return _close_tries(settings, airflow, run, since)


def why_aborted(settings: Settings, run: Run) -> str:
    """Return who ended a run's ABORTED stage in Airflow, as a sentence, or "" when none is, or nobody did.

    Raises:
        AirflowApiError: Airflow does not answer, or not this.
    """
    with store.session() as session:
        results = runs.latest_results(session, run.id).values()
        since = next((result.started_at for result in results if result.status == Status.ABORTED), None)
    if since is None:
        return ""
    with AirflowApi(settings.airflow) as airflow:
        return _by_hand(airflow.ended_by(run.dag_id, run.run_id, since=since))


def _by_hand(who: str) -> str:
    return f"{who} ended it in Airflow" if who else ""


def _going_on() -> list[Run]:
    with store.session() as session:
        return runs.going_on(session)


def _mend(settings: Settings, airflow: AirflowApi, run: Run) -> list[Mended]:
    """Compare one run with Airflow. What is ended here has its note, too.

    Airflow is asked first: an operator writes its end into the journal before Airflow learns of it, so what Airflow
    calls ended and the journal does not was lost.
    """
    try:
        state = airflow.run_state(run.dag_id, run.run_id)
        if state is None:
            return _finish(settings, run, "the run was deleted in Airflow")
        since = _first_open_try(run)
        mended = _close_tries(settings, airflow, run, since) if since else []
        if state not in _ENDED_RUN:
            return mended
        who = airflow.ended_by(run.dag_id, run.run_id, since=run.created_at)
    except AirflowRefused as error:
        log.warning("%s cannot be looked at: %s", run.run_id, error)
        return []
    return [*mended, *_finish(settings, run, _by_hand(who) or _TIME_LIMIT)]


def _first_open_try(run: Run) -> datetime | None:
    """Return when the first try began that has not ended, or None if all have."""
    with store.session() as session:
        results = runs.latest_results(session, run.id).values()
        return min((result.started_at for result in results if result.status is None), default=None)


def _close_tries(settings: Settings, airflow: AirflowApi, run: Run, since: datetime) -> list[Mended]:
    tasks = airflow.task_states(run.dag_id, run.run_id)
    who = airflow.ended_by(run.dag_id, run.run_id, since=since)
    ended = {name: task for name, task in tasks.items() if task in _ENDED_TASK and name in BY_NAME}
    return [one for name, task in ended.items() for one in _close_try(settings, run, name, _report_of(task, who))]


def _close_try(settings: Settings, run: Run, name: str, report: Report) -> list[Mended]:
    with store.session() as session:
        row = runs.locked(session, run.id)
        if not Journal(session, settings).end_lost_try(row, BY_NAME[name], report):
            return []
    return [Mended(run.run_id, f"{name} had no end: {report.status}, {report.reason}")]


def _report_of(task: str, who: str) -> Report:
    """Return how a task ended that Airflow calls ended and that has not reported."""
    if who:
        # In the very words of a task that still could report: which of the two comes first is chance.
        return aborted(f"its task was ended: {_by_hand(who)}")
    if task == "failed":
        return infrastructure_failure(tries.LOST)
    return aborted(_TIME_LIMIT)


def _finish(settings: Settings, run: Run, reason: str) -> list[Mended]:
    with store.session() as session:
        row = runs.locked(session, run.id)
        if row.status is not None:
            return []
        status = Journal(session, settings).finish_run(row, reason=reason)
        mended = Mended(run.run_id, f"had no end: {status}, {row.reason}")
    notes.write(settings, run.id)
    return [mended]
