"""From a Jenkins build that has ended to the report of its stage: docs/jenkins.md has the table.

Result and files come out of Jenkins' archive, from machines that are not ours. No file is taken whose name is odd,
and none kept whose size and checksum are not what result.json says.
"""

import hashlib
import io
import logging
import os
import re
import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import Any, Final

from ci_pipeline.errors import ExecutorError, JenkinsAway, StageEnded
from ci_pipeline.executors.base import Request
from ci_pipeline.executors.jenkins_place import Place
from ci_pipeline.executors.jenkins_server import Build, JenkinsServer
from ci_pipeline.executors.report import (
    MAX_REPORT_BYTES,
    REPORT_NAME,
    Report,
    ReportedArtifact,
    open_regular_file,
    over_time,
    ran_over,
    read_report,
)
from ci_pipeline.outcome import Status

log = logging.getLogger(__name__)

FOLDER: Final = "jenkins"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~-]{0,199}")
_CHECKSUM: Final = re.compile(r"[0-9a-f]{64}")
_FINE: Final = frozenset({Status.SUCCESS, Status.SKIPPED})


def read(  # noqa: PLR0913 - all that is known of the build
    server: JenkinsServer, place: Place, build: Build, request: Request, *, workspace: Path, seconds: float
) -> Report:
    """Return the report of a build.

    Args:
        server: where it is.
        place: how it was asked for.
        build: how it ended.
        request: what was asked for.
        workspace: the folder of this try; the build's files come into `jenkins/` there.
        seconds: the wall time it took.

    Raises:
        StageEnded: someone aborted it in Jenkins, or it used up its time.
        JenkinsAway: Jenkins went away; ask again.
        ExecutorError: it left no report that can be trusted.
    """
    if build.result == Status.ABORTED:
        raise _aborted(build)
    if REPORT_NAME not in build.paths:
        raise _without_report(server, place, build, seconds=seconds, limit=request["limits"]["seconds"])
    reader = _Reader(server, place, build, request, folder=workspace / FOLDER)
    report = over_time(_beside(build, reader.report()), seconds=seconds, limit=request["limits"]["seconds"])
    report = report.model_copy(update={"artifacts": reader.artifacts(report)})
    if report.status is Status.SUCCESS:
        look_for_outputs(request, report.outputs)
    return report


def look_for_outputs(request: Request, outputs: dict[str, Any]) -> None:
    """See that what a successful stage made is where the next one looks for it.

    Raises:
        ExecutorError: it is not: the agent does not share our folders.
    """
    path = _made(request, outputs)
    if path is not None and not path.exists():
        msg = (
            f"the Jenkins build says it made {path}, and it is not here: "
            "its agent has to share the folder of artifacts, at the same path (docs/jenkins.md)"
        )
        raise ExecutorError(msg)


def _made(request: Request, outputs: dict[str, Any]) -> Path | None:
    """Return the file that proves what a stage made; None of one that makes nothing for others."""
    if request["stage"] == "build_package":
        return Path(request["package_repo"]) / "repodata" / "repomd.xml"
    if request["stage"] == "compose_ostree":
        revision = _output(outputs, "compose_rev", _CHECKSUM)
        return Path(request["ostree_repo"]) / "objects" / revision[:2] / f"{revision[2:]}.commit"
    if request["stage"] == "generate_image":
        return Path(request["image_dir"]) / _output(outputs, "image_name", _NAME)
    return None


def _output(outputs: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = outputs.get(key)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        msg = f"the stage's {REPORT_NAME} breaks the stage contract at outputs.{key}: it is missing, or no {key}"
        raise ExecutorError(msg)
    return value


def _aborted(build: Build) -> ExecutorError:
    causes = build.interrupted_by
    why = "; ".join(cause.text for cause in causes if cause.text) or "Jenkins does not say by whom"
    if causes and all(cause.is_the_agents for cause in causes):
        return ExecutorError(f"the Jenkins build lost its agent: {why}: {build.url}")
    return StageEnded(f"the build was aborted in Jenkins: {why}: {build.url}")


def _without_report(server: JenkinsServer, place: Place, build: Build, *, seconds: float, limit: int) -> ExecutorError:
    if seconds >= limit:
        return StageEnded(ran_over(limit))
    try:
        last = server.last_line(place.job, build.number)
    except JenkinsAway:
        raise
    except ExecutorError:
        last = ""
    said = f"; its console ends: {last}" if last else ""
    return ExecutorError(
        f"the Jenkins build ended {build.result or 'with Jenkins,'} without {REPORT_NAME}{said}: {build.url}"
    )


def _beside(build: Build, report: Report) -> Report:
    """Return the report as it counts beside Jenkins' own result.

    Raises:
        ExecutorError: Jenkins calls a build failed whose report calls it good: nobody knows what it is.
    """
    says = f"its {REPORT_NAME} says {report.status}, Jenkins says {build.result}"
    if report.status not in _FINE or build.result == Status.SUCCESS:
        if str(report.status) != build.result:
            log.info("%s: %s", says, build.url)
        return report
    if build.result != Status.UNSTABLE:
        raise ExecutorError(f"the Jenkins build contradicts itself, {says}; see its console: {build.url}")
    return report.model_copy(update={"reason": f"{report.reason}; {says}" if report.reason else says})


class _Reader:
    """Brings what a build archived into a folder of ours."""

    def __init__(self, server: JenkinsServer, place: Place, build: Build, request: Request, *, folder: Path) -> None:
        self._server = server
        self._place = place
        self._build = build
        self._folder = folder
        self._shared = PurePosixPath(request["artifacts"])
        self._room = request["limits"]["disk_mb"] << 20

    def report(self) -> Report:
        """Return the build's report."""
        if self._folder.is_symlink():
            self._folder.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._fetch(REPORT_NAME, self._folder / REPORT_NAME, most=MAX_REPORT_BYTES)
        report = read_report(self._folder)
        if report.again_in:
            msg = f"the stage's {REPORT_NAME} breaks the stage contract at again_in: nothing outlives a Jenkins build"
            raise ExecutorError(msg)
        return report

    def artifacts(self, report: Report) -> list[ReportedArtifact]:
        """Return the artifacts of a report, where they are here. A bad end is told even when a file of it is gone."""
        found = []
        for one in report.artifacts:
            try:
                found.append(self._brought(one))
            except JenkinsAway:
                raise
            except ExecutorError as error:
                if report.status in _FINE:
                    raise
                log.warning("left out: %s", error)
        return found

    def _brought(self, artifact: ReportedArtifact) -> ReportedArtifact:
        """Return an artifact where it is here: out of the archive, or in the folder that is shared with the agents."""
        path = PurePosixPath(artifact.path)
        if ".." in path.parts or path.as_posix() != artifact.path:
            raise self._wrong(artifact, "has no plain path")
        if path.is_relative_to(self._shared):
            _check(Path(path), artifact)
            return artifact
        if not path.is_relative_to(self._place.workspace):
            raise self._wrong(artifact, "is neither in the stage's workspace nor among the artifacts")
        inside = path.relative_to(self._place.workspace)
        target = self._folder / inside
        if target != self._folder / REPORT_NAME:
            self._bring(artifact, str(inside), target)
        return artifact.model_copy(update={"path": str(target)})

    def _bring(self, artifact: ReportedArtifact, inside: str, target: Path) -> None:
        if inside not in self._build.paths:
            raise self._wrong(artifact, "was not archived")
        self._room -= artifact.size
        if self._room < 0:
            raise self._wrong(artifact, "is larger than the stage may write (limits.disk_mb)")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._fetch(inside, target, most=artifact.size)
        _check(target, artifact)

    def _fetch(self, inside: str, target: Path, *, most: int) -> None:
        target.unlink(missing_ok=True)
        with target.open("xb") as file:
            self._server.fetch(self._place.job, self._build.number, inside, file, most=most)

    def _wrong(self, artifact: ReportedArtifact, what: str) -> ExecutorError:
        return ExecutorError(f"the artifact {artifact.path[:300]!r} of the Jenkins build {what}: {self._build.url}")


def _check(path: Path, artifact: ReportedArtifact) -> None:
    """See that a file is what the report says. Raises ExecutorError."""
    try:
        with open_regular_file(path) as file:
            size, digest = _measured(file.fileno())
    except OSError as error:
        msg = f"the artifact {path} of the Jenkins build cannot be read here: {error.strerror}"
        raise ExecutorError(msg) from error
    if (size, digest) != (artifact.size, artifact.sha256):
        msg = f"the artifact {path} of the Jenkins build is not what its {REPORT_NAME} says: size or sha256 differ"
        raise ExecutorError(msg)


def _measured(descriptor: int) -> tuple[int, str]:
    """Return size and checksum; of what is no regular file, none that fits."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return -1, ""
    with io.FileIO(descriptor, closefd=False) as file:
        return status.st_size, hashlib.file_digest(file, "sha256").hexdigest()
