"""Carries a stage out by a Jenkins job: asks for one build, and looks at it now and then until it has ended.

No worker waits: each `run` is one look. What is known of the build is in a file of the run (`jenkins_place.py`), so the
next look finds it, and so does another try of the task.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ci_pipeline.errors import ExecutorError, JenkinsAway, StageEnded
from ci_pipeline.executors import jenkins_report
from ci_pipeline.executors.base import Request
from ci_pipeline.executors.jenkins_place import Place, PlaceFile, abort, digest_of
from ci_pipeline.executors.jenkins_server import TOKEN, Build, JenkinsServer, QueueItem
from ci_pipeline.executors.report import Report, aborted, infrastructure_failure, ran_over
from ci_pipeline.jenkins_sections import Jenkins
from ci_pipeline.outcome import Status

log = logging.getLogger(__name__)

JENKINS_URL: Final = "jenkins_url"
# Past the stage's own limit a build gets this long to end itself, and to hand over what it made.
_GRACE_SECONDS: Final = 120
_ENDED: Final = "its task was ended"


class JenkinsExecutor:
    """One build of a job per stage. `run` asks for it once, and returns a report with `again_in` until it has ended."""

    def __init__(self, settings: Jenkins, connect: Callable[[], JenkinsServer]) -> None:
        """Use the jobs the settings name, on a server that is connected to when it is first needed."""
        self._settings = settings
        self._connect = connect
        self._cancelled = threading.Event()
        self._at_work: tuple[JenkinsServer, PlaceFile] | None = None

    def run(self, request: Request, *, workspace: Path) -> Report:
        """Look at the build once, or ask for it. See `Executor.run`."""
        file, server = PlaceFile.of(workspace, request["stage"]), self._connect()
        self._at_work = server, file
        try:
            report = self._patiently(_Look(self._settings, server, file, request, self._cancelled), workspace)
        except ExecutorError as error:
            if self._cancelled.is_set() and not isinstance(error, StageEnded):
                raise StageEnded(_ENDED) from error
            raise
        if self._cancelled.is_set():
            # What came of a request that was under way when we were cancelled.
            self.cancel()
            raise StageEnded(_ENDED)
        return report

    def cancel(self) -> None:
        """Abort the build. What cannot be reached now, the reconciler aborts."""
        self._cancelled.set()
        if self._at_work is not None:
            server, file = self._at_work
            with suppress(ExecutorError, OSError):
                abort(server.another(), file)

    def _patiently(self, look: "_Look", workspace: Path) -> Report:
        """Look; while Jenkins is away, wait as long as the build may take."""
        try:
            return look.at_it(workspace)
        except JenkinsAway as error:
            look.while_away(error)
            log.warning("waiting: %s", error)
            return look.again()


class _Look:
    """One look at the build of a stage."""

    def __init__(
        self, settings: Jenkins, server: JenkinsServer, file: PlaceFile, request: Request, cancelled: threading.Event
    ) -> None:
        self._settings = settings
        self._server = server
        self._file = file
        self._request = request
        self._cancelled = cancelled
        self._limit: int = request["limits"]["seconds"]

    def at_it(self, workspace: Path) -> Report:
        """Return how the build ended, or that it goes on."""
        place, is_new = self._place()
        if place.number is None:
            item = self._asked(place) if is_new else self._found(place)
            if item.build is None:
                return self._waits(item)
            place = self._remember(place, number=item.build)
            log.info("Jenkins builds: %s #%d", place.job, item.build)
        build = self._build(place)
        if not build.has_ended:
            return self._goes_on(place, build)
        report = self._ended(place, build, workspace)
        self._file.forget()
        return report.model_copy(update={"outputs": {**report.outputs, **_link(build)}})

    def again(self, **outputs: Any) -> Report:
        """Return that the stage has not ended."""
        return Report(status=Status.SUCCESS, again_in=self._settings.look_seconds, outputs=outputs)

    def while_away(self, error: JenkinsAway) -> None:
        """Raise an infrastructure fault if Jenkins has been away for longer than the build may take.

        The file stays: another try goes on with the build.
        """
        place = self._file.read()
        if place is None:
            raise ExecutorError(str(error)) from error
        if place.began_at is None and _since(place.asked_at) > self._settings.queue_seconds:
            self._remember(place, asked_at=time.time())
            msg = f"{error}; nothing was built for {self._settings.queue_seconds:g} s (jenkins.queue_seconds)"
            raise ExecutorError(msg) from error
        if place.began_at is not None and _since(place.began_at) > self._limit + _GRACE_SECONDS:
            msg = f"{error}; its build has had the {self._limit} s it may take (limits.seconds)"
            raise ExecutorError(msg) from error

    def _place(self) -> tuple[Place, bool]:
        """Return where the build is, and whether it has yet to be asked for.

        One that was aborted, or was asked for something else (an earlier stage ran again), is none of ours.
        """
        place = self._file.read()
        if place and not place.aborted and place.digest == digest_of(self._request):
            return place, False
        if place:
            with suppress(ExecutorError):
                abort(self._server, self._file)
        job = self._settings.job_of(self._request["stage"])
        return self._file.write(Place.of(self._request, job)), True

    def _asked(self, place: Place) -> QueueItem:
        """Ask for a build, once. The file has its token already, should we never hear the answer."""
        if self._cancelled.is_set():
            raise StageEnded(_ENDED)
        number = self._server.ask(place.job, token=place.token, request=json.dumps(self._request))
        self._remember(place, queue_item=number)
        log.info("Jenkins was asked for a build of %s (queue item %d)", place.job, number)
        return QueueItem(id=number)

    def _found(self, place: Place) -> QueueItem:
        """Return what became of what was asked for."""
        item = self._server.queue_item(place.queue_item) if place.queue_item else None
        item = item or self._server.find(place.job, place.token)
        if item is None and place.queue_item is None:
            return self._asked(place)
        if item is None:
            msg = f"Jenkins has lost the build it was asked for: no queue item {place.queue_item}, none of {place.job}"
            raise self._over(ExecutorError(msg))
        if item.cancelled:
            msg = f"the build was ended in Jenkins: someone cancelled it in the queue ({place.job})"
            raise self._over(StageEnded(msg))
        return item

    def _waits(self, item: QueueItem) -> Report:
        place = self._file.read()
        if place is None or _since(place.asked_at) <= self._settings.queue_seconds:
            log.info("in Jenkins' queue: %s", item.why or "it has just been asked for")
            return self.again()
        self._server.cancel(item.id)
        left = self._server.queue_item(item.id)
        if left is not None and left.build is not None:
            return self.again()
        raise self._over(ExecutorError(self._too_long(place, item.why)))

    def _too_long(self, place: Place, why: str) -> str:
        waited = f"{place.job} waited for {self._settings.queue_seconds:g} s (jenkins.queue_seconds)"
        return f"Jenkins has no agent for the build: {waited}{f': {why}' if why else ''}"

    def _build(self, place: Place) -> Build:
        assert place.number is not None  # noqa: S101 - whoever calls has seen to it
        build = self._server.build(place.job, place.number)
        if build is not None and build.token is None:
            msg = f"the Jenkins job {place.job} has no parameter {TOKEN}; make it as docs/jenkins.md says"
            raise self._over(ExecutorError(msg))
        if build is None or build.token != place.token:
            msg = f"the Jenkins build {place.job} #{place.number} is gone: was it, or its job, deleted?"
            raise self._over(ExecutorError(msg))
        return build

    def _goes_on(self, place: Place, build: Build) -> Report:
        """Return that it goes on, unless it has had its time: to get an agent, then to build."""
        if not build.has_an_agent:
            if _since(place.asked_at) > self._settings.queue_seconds:
                self._stop(place)
                why = "its Jenkinsfile sets a description when it has one"
                raise ExecutorError(self._too_long(place, why))
        elif place.began_at is None:
            self._remember(place, began_at=time.time())
        elif _since(place.began_at) > self._limit + _GRACE_SECONDS:
            self._stop(place)
            raise StageEnded(ran_over(self._limit))
        return self.again(**_link(build))

    def _ended(self, place: Place, build: Build, workspace: Path) -> Report:
        """Return how it ended. Jenkins that goes away while we read is waited for."""
        took = min(build.duration / 1000, _since(place.began_at or place.asked_at))
        try:
            return jenkins_report.read(self._server, place, build, self._request, workspace=workspace, seconds=took)
        except JenkinsAway:
            raise
        except StageEnded as error:
            return aborted(str(error))
        except ExecutorError as error:
            return infrastructure_failure(str(error))

    def _stop(self, place: Place) -> None:
        """Abort it. The file stays, so that the reconciler sees to it that it ends."""
        self._remember(place, aborted=True)
        with suppress(JenkinsAway):
            self._server.stop(place.job, place.number or 0)

    def _remember(self, place: Place, **known: Any) -> Place:
        known.setdefault("aborted", self._cancelled.is_set())
        return self._file.write(place.model_copy(update=known))

    def _over(self, error: ExecutorError) -> ExecutorError:
        """Return the error of a build that is no more; the next try asks for another one."""
        self._file.forget()
        return error


def _since(moment: float) -> float:
    return time.time() - moment


def _link(build: Build) -> dict[str, str]:
    return {JENKINS_URL: build.url} if build.url else {}
