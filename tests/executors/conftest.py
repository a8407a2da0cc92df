"""A stage that Jenkins carries out."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ci_pipeline.executors.jenkins import JenkinsExecutor
from ci_pipeline.executors.report import Report
from ci_pipeline.jenkins_sections import Jenkins
from operators.jenkins_server import connect
from tests.jenkins_stand_in import JenkinsStandIn, jenkins

__all__ = ["jenkins"]


class JenkinsStage:
    """A stage of a run, whose tries are looked at as Airflow does: each time by an executor of its own."""

    def __init__(self, folder: Path, stage: str = "build_package", **settings: Any) -> None:
        self.folder = folder
        self.stage = stage
        self.settings = Jenkins(**settings)
        self.executor = self.new_executor()

    def new_executor(self) -> JenkinsExecutor:
        """Return what the next look is made by."""
        self.executor = JenkinsExecutor(self.settings, partial(connect, self.settings.connection))
        return self.executor

    def workspace(self, try_number: int = 1) -> Path:
        """Return the folder of a try."""
        folder = self.folder / "run" / f"{self.stage}-{try_number}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def request(self, try_number: int = 1, **more: Any) -> dict[str, Any]:
        """Return the request of a try."""
        artifacts = self.folder / "artifacts"
        return {
            "stage": self.stage,
            "repo": "greeter",
            "workspace": str(self.workspace(try_number)),
            "artifacts": str(artifacts),
            "package_repo": str(artifacts / "builds" / "run"),
            "ostree_repo": str(artifacts / "ostree"),
            "image_dir": str(artifacts / "images"),
            "limits": {"seconds": 60, "disk_mb": 1},
            **more,
        }

    def look(self, try_number: int = 1, **more: Any) -> Report:
        """Look once."""
        return self.new_executor().run(self.request(try_number, **more), workspace=self.workspace(try_number))

    @property
    def place(self) -> dict[str, Any]:
        """What the file of the run says of the build; empty if there is none."""
        path = self.folder / "run" / f"jenkins-{self.stage}.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def let_pass(self, seconds: float) -> None:
        """Let what was asked for or begun have been so much earlier."""
        place = self.place
        for key in ("asked_at", "began_at"):
            place[key] = place[key] and place[key] - seconds
        (self.folder / "run" / f"jenkins-{self.stage}.json").write_text(json.dumps(place))

    def make_outputs(self) -> None:
        """Make what a build makes in the folder that is shared with the agents."""
        repodata = self.folder / "artifacts" / "builds" / "run" / "repodata"
        repodata.mkdir(parents=True, exist_ok=True)
        (repodata / "repomd.xml").touch()


@pytest.fixture
def stage(tmp_path: Path, jenkins: JenkinsStandIn) -> Callable[..., JenkinsStage]:
    """`stage(queue_seconds=10)`: a stage, and the settings of its Jenkins."""
    return partial(JenkinsStage, tmp_path)


def result(status: str = "SUCCESS", **more: Any) -> bytes:
    """Return a result.json."""
    return json.dumps({"status": status, **more}).encode()


def artifact(path: Path | str, data: bytes, **more: Any) -> dict[str, Any]:
    """Return what a result.json says of a file."""
    digest, name = hashlib.sha256(data).hexdigest(), Path(path).name
    return {"name": name, "path": str(path), "kind": "log", "sha256": digest, "size": len(data), **more}
