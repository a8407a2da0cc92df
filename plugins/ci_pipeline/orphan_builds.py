"""Jenkins builds that nobody waits for any more: their run or stage was ended while its task was deferred."""

import logging
from collections.abc import Callable
from pathlib import Path

from ci_pipeline import store
from ci_pipeline.errors import ExecutorError
from ci_pipeline.executors.jenkins_place import PATTERN, PlaceFile, abort
from ci_pipeline.executors.jenkins_server import JenkinsServer
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs

log = logging.getLogger(__name__)


def end_all(settings: Settings, connect: Callable[[], JenkinsServer]) -> list[tuple[str, str]]:
    """Abort the builds of stages that have ended. One that Jenkins does not end at once is looked at again.

    Args:
        settings: where the folders of runs are.
        connect: makes the server; called when there is something to abort.

    Returns:
        Run id and a sentence, for each build that is aborted now.
    """
    left = [path for path in sorted(settings.state.glob(f"runs/*/*/{PATTERN}")) if _is_over(path)]
    try:
        server = connect() if left else None
    except ExecutorError as error:
        log.warning("%d Jenkins builds that nobody waits for cannot be aborted: %s", len(left), error)
        return []
    return [said for path in left if server for said in _end(server, path)]


def _end(server: JenkinsServer, path: Path) -> list[tuple[str, str]]:
    file = PlaceFile(path)
    place = file.read()
    try:
        is_gone = abort(server, file)
    except ExecutorError as error:
        log.warning("the Jenkins build of %s of %s cannot be aborted: %s", file.stage, path.parent.name, error)
        return []
    if place is None or place.aborted or is_gone:
        return []
    return [(path.parent.name, f"aborted a Jenkins build of {place.job} that outlived {file.stage}")]


def _is_over(path: Path) -> bool:
    """Tell whether the stage of a file has ended, for good.

    After an infrastructure fault another try may follow, which goes on with the build; then its run has no end yet.
    """
    with store.session() as session:
        run = runs.find(session, path.parent.parent.name, path.parent.name)
        if run is None or run.status is not None:
            return True
        result = runs.latest_results(session, run.id).get(PlaceFile(path).stage)
        if result is None:
            return True
        is_lost = result.status == Status.FAILURE and result.fault == Fault.INFRASTRUCTURE
        return result.status is not None and not is_lost
