"""Airflow's logs: `dag_id=<dag>/run_id=<run>/` of tasks, `dag_processor/<day>/` of the DAG processor."""

import re
from pathlib import Path
from typing import Final

from ci_pipeline import store
from ci_pipeline.retention.folder import Folder
from ci_pipeline.retention.sweep import Sweep
from ci_pipeline.store import kept, runs

RUN: Final = "run_id="
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def sweep(pass_: Sweep) -> None:
    """Remove the task logs of runs that ended long ago, and what was said of parsing DAGs long ago."""
    root = folder_of(pass_)
    if root is None:
        return
    with store.session() as session:
        dags = kept.dag_ids(session) | {runs.dag_id_of(branch) for branch in pass_.settings.branches}
    for dag in sorted(dags):
        with pass_.tolerating():
            _sweep_dag(pass_, root.inside(f"dag_id={dag}"), dag)
    parsing = root.inside("dag_processor")
    for day in parsing.folders():
        if _DAY.fullmatch(day.name) and day.name < f"{pass_.before:%Y-%m-%d}":
            pass_.remove("log", parsing, day.name)


def folder_of(pass_: Sweep) -> Folder | None:
    """Return the folder of Airflow's logs, or None if it is not ours to tidy up."""
    logs = pass_.settings.airflow.logs
    return Folder(Path(logs)) if logs else None


def _sweep_dag(pass_: Sweep, folder: Folder, dag: str) -> None:
    for entry in folder.folders():
        if not entry.name.startswith(RUN):
            continue
        with pass_.may_go(dag, entry.name.removeprefix(RUN), entry.modified) as may_go:
            if may_go:
                pass_.remove("log", folder, entry.name)
