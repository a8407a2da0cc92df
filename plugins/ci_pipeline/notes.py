"""Notes in Airflow: what a run is of and how it ended, in one line; of a stage that is red or was skipped, why.

A note is for a person, and best effort: Airflow being away fails nothing. What a person has written stays: ours is one
line, told by how it begins, and every other line is theirs.
"""

import logging
import re
from collections.abc import Iterable
from typing import Final

from ci_pipeline import store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.change import Change
from ci_pipeline.errors import AirflowApiError, CiPipelineError
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BY_NAME
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run, StageResult

log = logging.getLogger(__name__)

# Airflow's limit, and how much of it our line may take.
_LONGEST: Final = 1000
_LONGEST_LINE: Final = 600
_STATUSES: Final = "|".join(Status)
# Airflow shows notes as Markdown, and reasons hold what packages say: no links, no images, no HTML.
_MARKDOWN: Final = re.compile(r"([\\`*\[\]<>|~])")


def write(settings: Settings, run_id: int) -> None:
    """Write a run's note, and those of its red and its skipped stages, as the journal has them now. Never fails.

    Args:
        settings: where Airflow is.
        run_id: the run's row.
    """
    try:
        with store.session() as session:
            run = session.get_one(Run, run_id)
            tasks = {name: line for name, line in _of_stages(runs.latest_results(session, run_id).values()) if line}
        with AirflowApi(settings.airflow) as airflow:
            _write_run(airflow, run, line_of(run))
            _write_tasks(airflow, run, tasks)
    except CiPipelineError as error:
        log.warning("the notes in Airflow stay as they are: %s", error)


def write_change(settings: Settings, run: Run) -> None:
    """Write into a run's note what it is of, in place of how an earlier pass of it ended. Never fails."""
    try:
        with AirflowApi(settings.airflow) as airflow:
            _write_run(airflow, run, str(runs.change_of(run)))
    except AirflowApiError as error:
        log.warning("the note in Airflow stays as it is: %s", error)


def write_refusal(settings: Settings, dag_id: str, run_id: str, reason: str) -> None:
    """Write into the note of a DAG run that never became a run why not. Never fails."""
    line = _shown(f"{Status.FAILURE}: {reason}")
    try:
        with AirflowApi(settings.airflow) as airflow:
            airflow.set_note_of_run(dag_id, run_id, _below(line, airflow.note_of_run(dag_id, run_id), {line}))
    except AirflowApiError as error:
        log.warning("the note in Airflow stays as it is: %s", error)


def line_of(run: Run) -> str:
    """Return our line of a run: `rpms/mesa 35fdde9 f26: UNSTABLE: 2 of 41 tests failed (functional_tests)`."""
    change = runs.change_of(run)
    if run.status is None:
        return str(change)
    stage, _, rest = run.reason.partition(": ")
    reason = f"{_shown(rest)} ({stage})" if stage in BY_NAME else _shown(run.reason)
    return f"{change}: {run.status}{f': {reason}' if reason else ''}"


def merged(change: Change, line: str, note: str) -> str:
    """Return a run's note with our line renewed: ours first, then what a person has written.

    Args:
        change: what the run is of. An earlier line of ours is it alone, or it with a status.
        line: our line now.
        note: the note as it is.
    """
    ours = re.compile(rf"{re.escape(str(change))}(: ({_STATUSES})(: .*)?)?")
    return _below(line, note, {one for one in note.splitlines() if ours.fullmatch(one.strip())})


def _below(line: str, note: str, ours: set[str]) -> str:
    theirs = "\n".join(one for one in note.splitlines() if one not in ours).strip()
    room = _LONGEST - len(theirs) - 2
    # A long note of a person leaves little room, or none: theirs comes first then.
    short = line if len(line) <= room else f"{line[: max(room - 1, 0)]}…"
    return f"{short}\n\n{theirs}" if theirs and room > len(str(Status.UNSTABLE)) else theirs or line


def _write_run(airflow: AirflowApi, run: Run, line: str) -> None:
    before = airflow.note_of_run(run.dag_id, run.run_id)
    after = merged(runs.change_of(run), line, before)
    if after != before:
        airflow.set_note_of_run(run.dag_id, run.run_id, after)


def _write_tasks(airflow: AirflowApi, run: Run, lines: dict[str, str]) -> None:
    before = airflow.notes_of_tasks(run.dag_id, run.run_id) if lines else {}
    for task, line in lines.items():
        if task in before and line not in before[task].splitlines():
            airflow.set_note_of_task(run.dag_id, run.run_id, task, _below(line, before[task], set()))


def _of_stages(results: Iterable[StageResult]) -> Iterable[tuple[str, str]]:
    """Yield of each stage that did not end well, or did nothing, how and why."""
    for result in results:
        if result.status not in {None, Status.SUCCESS}:
            yield result.stage, f"{result.status}: {_shown(result.reason)}"


def _shown(text: str) -> str:
    """Return text as one line that is nothing but text in Markdown."""
    line = " ".join(text.split())
    short = line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"
    return _MARKDOWN.sub(r"\\\1", short)
