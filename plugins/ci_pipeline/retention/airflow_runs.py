"""Airflow's runs of the DAGs that are not of a branch: many a day, and of no interest after it."""

from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.journal import housekeeping
from ci_pipeline.retention import logs
from ci_pipeline.retention.sweep import Sweep


def sweep(pass_: Sweep) -> None:
    """Remove the ended ones that are old, and their logs; the newest of each DAG stays."""
    with AirflowApi(pass_.settings.airflow) as airflow:
        for dag in housekeeping(pass_.settings):
            with pass_.tolerating():
                newest = airflow.newest_run(dag)
                _sweep_runs(pass_, airflow, dag, newest)
                _sweep_logs(pass_, dag, {newest, *airflow.runs_across(dag, pass_.housekeeping_before)})


def _sweep_runs(pass_: Sweep, airflow: AirflowApi, dag: str, newest: str) -> None:
    for run in airflow.runs_ended_before(dag, pass_.housekeeping_before):
        if run != newest and (pass_.dry_run or airflow.delete_run(dag, run)):
            pass_.removed("airflow run", f"{dag} {run}")


def _sweep_logs(pass_: Sweep, dag: str, stay: set[str]) -> None:
    """Remove the logs of runs that began before the time, whether Airflow still knew them or not."""
    root = logs.folder_of(pass_)
    if root is None:
        return
    folder = root.inside(f"dag_id={dag}")
    for entry in folder.folders():
        run = entry.name.removeprefix(logs.RUN)
        if run != entry.name and run not in stay and entry.modified < pass_.housekeeping_before:
            pass_.remove("log", folder, entry.name)
