"""Where a person finds what a run made: the addresses that messages, pages and links show."""

from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Artifact, Image, Run, StageResult

# Below Airflow's own address, served by our plugin.
CHANGE_PAGE: Final = "/ci-pipeline/change/{run_id}"
LOG_FILES: Final = "/ci-pipeline-logs"
# Kinds of files that are served there.
TEXTS: Final = ("log", "junit", "report")

LOG: Final = "Log file"
PACKAGES: Final = "Package repository"
COMPOSE: Final = "Compose"
IMAGE: Final = "Image"
MESSAGES: Final = "Messages"
RESULTS: Final = "Results"
JENKINS: Final = "Jenkins build"

_PREPARING: Final = frozenset({"base-os.log"})


def of_try(session: Session, settings: Settings, run: Run, stage: str, try_number: int) -> dict[str, str]:
    """Return the addresses a try of a stage has something to show at, by their names above.

    What the run made is shown from the stage on that made it; the log and the Jenkins build are the try's own.
    """
    page = below_airflow(settings, CHANGE_PAGE.format(run_id=quote(run.run_id, safe="")))
    found = {MESSAGES: f"{page}#messages", RESULTS: f"{page}#results"}
    if run.pruned_at is None:
        found |= _made(session, settings, run)
    tries = select(StageResult).where(StageResult.run_id == run.id, StageResult.stage == stage)
    result = session.scalar(tries.where(StageResult.try_number == try_number))
    return found | (_of_result(settings, run, result) if result else {})


def below_airflow(settings: Settings, path: str) -> str:
    """Return an address below Airflow's, without its host: a browser may know that by another name than we do."""
    return urlsplit(settings.airflow.url).path.rstrip("/") + path


def run_in_airflow(settings: Settings, dag_id: str, run_id: str) -> str:
    """Return the address of a run's page in Airflow's UI, as messages and commands say it: whole."""
    return f"{settings.airflow.url}/dags/{dag_id}/runs/{run_id}"


def artifacts_of(settings: Settings, branch: str) -> str:
    """Return the address of a branch's artifacts."""
    return f"{settings.artifacts.url}/fedora-atomic/{branch}"


def compose_of(settings: Settings, branch: str) -> str:
    """Return the address of a branch's OSTree repository."""
    return f"{artifacts_of(settings, branch)}/ostree"


def image_of(settings: Settings, branch: str, name: str) -> str:
    """Return the address of an image; "" while it has no name."""
    return f"{artifacts_of(settings, branch)}/images/{name}" if name else ""


def packages_of(settings: Settings, run: Run) -> str:
    """Return the address of the repository of a run's packages: the newest build is never a side run's."""
    folder = f"{run.repo}_repo" if Kind(run.kind).promotes else f"builds/{run.run_id}"
    return f"{artifacts_of(settings, run.branch)}/repo/{folder}/"


def log_of(settings: Settings, run: Run, result: StageResult) -> str:
    """Return the whole address of the log of a try's main tool; "" if it left none, or none is kept."""
    log = _main_log(run, result)
    return f"{settings.airflow.url}{_log_path(run, log)}" if log else ""


def file_of(settings: Settings, run: Run, made: Artifact) -> str:
    """Return the whole address of a file that a run made: among the artifacts, or below Airflow; "" if it has none."""
    published = _published(settings, Path(made.path))
    if published or made.kind not in TEXTS or run.pruned_at is not None:
        return published
    return f"{settings.airflow.url}{_log_path(run, made)}"


def _published(settings: Settings, path: Path) -> str:
    base, folder = settings.artifacts.url, settings.artifacts.folder
    if ".." in path.parts or not path.is_relative_to(folder) or not base.startswith(("http://", "https://")):
        return ""
    return f"{base.rstrip('/')}/{quote(str(path.relative_to(folder)))}"


def _made(session: Session, settings: Settings, run: Run) -> dict[str, str]:
    known, folder = runs.outputs(session, run.id), artifacts_of(settings, run.branch)
    built = runs.latest_results(session, run.id).get(BUILD_PACKAGE.name)
    found = {}
    if built is not None and built.status == Status.SUCCESS:
        found[PACKAGES] = f"{folder}/repo/builds/{run.run_id}/"
    if "compose_rev" in known:
        found[COMPOSE] = f"{compose_of(settings, run.branch)}/"
    if "image_name" in known and _is_kept(session, run, known["image_name"]):
        found[IMAGE] = image_of(settings, run.branch, known["image_name"])
    return found


def _is_kept(session: Session, run: Run, name: str) -> bool:
    kept = select(Image.id).where(Image.run_id == run.id, Image.name == name, Image.removed_at.is_(None))
    return session.scalar(kept) is not None


def _of_result(settings: Settings, run: Run, result: StageResult) -> dict[str, str]:
    found = {}
    if log := _main_log(run, result):
        found[LOG] = below_airflow(settings, _log_path(run, log))
    jenkins = str(result.outputs.get("jenkins_url", ""))
    if urlsplit(jenkins).scheme in {"http", "https"}:
        found[JENKINS] = f"{jenkins.rstrip('/')}/console"
    return found


def _main_log(run: Run, result: StageResult) -> Artifact | None:
    """Return the log of a try's main tool: a stage names it first, but for what it had to prepare."""
    logs = [one for one in result.artifacts if one.kind == "log" and run.pruned_at is None]
    return min(logs, key=lambda one: (one.name in _PREPARING, one.id), default=None)


def _log_path(run: Run, log: Artifact) -> str:
    return f"{LOG_FILES}/{quote(run.dag_id)}/{log.id}"
