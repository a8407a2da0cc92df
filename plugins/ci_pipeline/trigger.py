"""Running a change because a person asks for it, from the command line. Airflow's trigger form does the same."""

from dataclasses import dataclass

from ci_pipeline import addresses, intake, revisions, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.change import Change
from ci_pipeline.conf import Conf
from ci_pipeline.errors import AirflowApiError
from ci_pipeline.kind import Kind
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs


@dataclass(frozen=True, slots=True)
class Triggered:
    """A run that was asked for.

    Attributes:
        run: its run id.
        build_id: its number: `<branch>/<build_id>` names it, too.
        change: what it is of, its revision in full.
        url: its page in the Airflow UI.
        warnings: sentences: what the person should know, and why it has not started yet.
    """

    run: str
    build_id: int
    change: Change
    url: str
    warnings: tuple[str, ...]


def trigger(settings: Settings, conf: Conf, *, branch: str) -> Triggered:
    """Start a run of a change, a new one whether the change was run before or not.

    It is queued before Airflow is told of it. Airflow being away only delays it: it is fired with the next push.

    Args:
        settings: where everything is.
        conf: what is asked for.
        branch: the pipeline's branch to run it on.

    Raises:
        ChangeError: the conf names no change, or the branch has no pipeline.
        DistGitUnreachable: dist-git does not answer.
        StackError: git is not installed.
    """
    change = revisions.resolve(settings, conf.named(settings, branch=branch))
    with store.session() as session:
        run = runs.create(session, change, test_guidance=conf.test_guidance, kind=Kind.MANUAL, options=conf.options)
    warnings = [] if settings.is_watched(change.namespace, change.repo) else [_unwatched(change)]
    try:
        with AirflowApi(settings.airflow) as airflow:
            intake.fire(airflow, run)
    except AirflowApiError as error:
        warnings.append(f"{run.run_id} is queued and starts later: {error}")
    url = addresses.run_in_airflow(settings, run.dag_id, run.run_id)
    return Triggered(run.run_id, run.number, change, url, tuple(warnings))


def _unwatched(change: Change) -> str:
    package = f"{change.namespace}/{change.repo}"
    return (
        f"{package} is not watched (packages): if it passes, it becomes a part of {change.branch}'s host all the same"
    )
