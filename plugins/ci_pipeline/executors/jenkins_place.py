"""Where in Jenkins the build of a stage is: a small file in the folder of the run, so that another try finds it."""

import hashlib
import json
import logging
import time
import uuid
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from ci_pipeline.executors.base import Request
from ci_pipeline.executors.jenkins_server import JenkinsServer

log = logging.getLogger(__name__)

# Below the state folder: `runs/<dag>/<run>/` and this.
PATTERN: Final = "jenkins-*.json"


class Place(BaseModel):
    """What is known of a build. It holds no secret: `token` is a name that it can be found by.

    `digest` is of the request, `workspace` the folder that it names. Times are seconds since the epoch, by our clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    token: str
    digest: str
    workspace: str
    asked_at: float
    queue_item: int | None = None
    number: int | None = None
    began_at: float | None = None
    aborted: bool = False

    @classmethod
    def of(cls, request: Request, job: str) -> "Place":
        """Return the place of a build that is about to be asked for."""
        return cls(
            job=job,
            token=str(uuid.uuid4()),
            digest=digest_of(request),
            workspace=request["workspace"],
            asked_at=time.time(),
        )


class PlaceFile:
    """The file. It appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Use the file at a path; it need not exist."""
        self.path = path

    @classmethod
    def of(cls, workspace: Path, stage: str) -> "PlaceFile":
        """Return the file of a stage, whatever its try: beside the workspaces of the tries."""
        return cls(workspace.parent / f"jenkins-{stage}.json")

    @property
    def stage(self) -> str:
        """The stage it is of."""
        return self.path.stem.removeprefix("jenkins-")

    def read(self) -> Place | None:
        """Return what it holds; None if there is no build, or it cannot be read."""
        try:
            return Place.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("%s says of no build where it is: %s", self.path, type(error).__name__)
            return None

    def write(self, place: Place) -> Place:
        """Replace what it holds; return it."""
        scratch = self.path.with_suffix(".new")
        scratch.write_text(place.model_dump_json(indent=2), encoding="utf-8")
        scratch.replace(self.path)
        return place

    def forget(self) -> None:
        """Remove it: the build has ended, and was told of."""
        self.path.unlink(missing_ok=True)


def digest_of(request: Request) -> str:
    """Return a digest of what a request asks for; another try asks for the same in another folder."""
    asked = {key: value for key, value in request.items() if key != "workspace"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def abort(server: JenkinsServer, file: PlaceFile) -> bool:
    """Abort the build a file tells of, wherever it is. The file stays until it is known to have ended.

    Returns:
        Whether nothing of it is left, and the file is gone.

    Raises:
        JenkinsAway: it is not known whether it goes on.
        ExecutorError: Jenkins refuses.
    """
    place = file.read()
    if place is None:
        file.forget()
        return True
    file.write(place.model_copy(update={"aborted": True}))
    if _goes_on(server, place):
        return False
    file.forget()
    return True


def _goes_on(server: JenkinsServer, place: Place) -> bool:
    """End what waits or runs; tell whether there was something."""
    number = place.number
    if number is None:
        item = server.queue_item(place.queue_item) if place.queue_item else None
        item = item or server.find(place.job, place.token)
        if item is None or item.cancelled:
            return False
        if item.build is None:
            server.cancel(item.id)
            return True
        number = item.build
    build = server.build(place.job, number)
    if build is None or build.has_ended or build.token != place.token:
        return False
    server.stop(place.job, number)
    return True
