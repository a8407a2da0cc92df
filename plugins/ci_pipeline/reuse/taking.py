"""Taking what is kept of a key: its files are checked, and linked to where this run would have made them.

A link is a file of its own: what removes the older run's, or the younger one's, leaves the other's alone.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from ci_pipeline import requests, store
from ci_pipeline.builders.incoming import Incoming, move_link
from ci_pipeline.errors import ExecutorError, NotKept
from ci_pipeline.executors.base import Request
from ci_pipeline.executors.report import Report, ReportedArtifact, Reused
from ci_pipeline.outcome import Status
from ci_pipeline.reuse.linking import link, plain
from ci_pipeline.settings import Settings
from ci_pipeline.store import kept_outputs
from ci_pipeline.store.tables import Run, StageResult

log = logging.getLogger(__name__)

_FOLDER: Final = "reused"
# What is known of the run's own commit: as it is, not as that of the kept build was.
_OWN: Final = ("commits", "commit_subject", "commit_time", "inputs")


@dataclass(frozen=True, slots=True)
class Taking:
    """Takes what a report says is to be reused.

    Attributes:
        settings: where everything is.
        run: the run that reuses it.
        request: what its stage was asked for.
        workspace: the folder of its try.
    """

    settings: Settings
    run: Run
    request: Request
    workspace: Path

    def take(self, report: Report) -> Report:
        """Return the report of the stage with what is kept, as if it had been made now.

        Where that is not there any more as it was, it is forgotten, the log says so, and the report returned says that
        the stage is to be carried out at once: nothing of it is in its place then.

        Raises:
            ExecutorError: the stage names a key that it was not told of.
        """
        if report.content_key not in self.request.get("reuse", {}).get("known", ()):
            msg = "the stage says that it reuses what nobody has kept"
            raise ExecutorError(msg)
        kept = store.transact(partial(self._find, key=report.content_key))
        if kept is None:
            return self._anew("what was kept has just been removed")
        try:
            return self._taken(kept, report)
        except NotKept as error:
            store.transact(partial(kept_outputs.forget, result=kept.id))
            return self._anew(str(error))

    def _find(self, session: Session, key: str) -> StageResult | None:
        return kept_outputs.find(session, self.run, self.request["stage"], key)

    def _taken(self, kept: StageResult, report: Report) -> Report:
        """Link everything, and only then put it in its place."""
        repo, name = Path(self.request["package_repo"]), f"{kept.run.branch}/{kept.run.number}"
        aside = repo.with_name(f".{repo.name}.new")
        for folder in (aside, self.workspace / _FOLDER):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        artifacts = [self._artifact(kept, one, aside, repo) for one in _reported(kept)]
        self._link_metadata(kept, aside)
        Incoming(aside, repo, whole=True).put()
        if self.request["promote"]:
            move_link(Path(self.request["package_link"]), repo)
        log.info("reused from run %s: the same inputs (key %s)", name, report.content_key)
        own = {key: report.outputs[key] for key in _OWN if key in report.outputs}
        return Reused(
            **report.model_dump(include={"status", "content_key", "tool_seconds"}),
            outputs={**kept.outputs, **own, "package_repo": str(repo)},
            artifacts=artifacts,
            source=kept.reused_from_id or kept.id,
        )

    def _artifact(self, kept: StageResult, one: ReportedArtifact, aside: Path, repo: Path) -> ReportedArtifact:
        """Link a file, and return it as this run's."""
        path, theirs = Path(one.path), requests.package_repo_of(self.settings, kept.run)
        if path.parent == theirs:
            link(path, aside / plain(path.name), one.sha256)
            return one.model_copy(update={"path": str(repo / path.name)})
        workspace = requests.workspace_of(self.settings, kept.run, kept.stage, kept.try_number)
        if ".." in path.parts or not path.is_relative_to(workspace):
            raise NotKept(f"{path} is in no folder of run {kept.run.branch}/{kept.run.number}")
        names = [part for part in path.relative_to(workspace).parts if part != _FOLDER]
        target = self.workspace.joinpath(_FOLDER, *map(plain, names))
        target.parent.mkdir(parents=True, exist_ok=True)
        link(path, target, one.sha256)
        return one.model_copy(update={"path": str(target)})

    def _link_metadata(self, kept: StageResult, aside: Path) -> None:
        """Link the repository's index, which is no artifact, and is held by checksums all the same."""
        files, theirs = kept.outputs.get("repodata"), requests.package_repo_of(self.settings, kept.run)
        if not isinstance(files, Mapping) or "repomd.xml" not in files:
            raise NotKept(f"run {kept.run.branch}/{kept.run.number} has not told the checksums of its repository")
        (aside / "repodata").mkdir()
        for name, sha256 in files.items():
            link(theirs / "repodata" / plain(name), aside / "repodata" / name, str(sha256))

    def _anew(self, why: str) -> Report:
        """Leave the folder of the try as empty as it was, and have the stage carried out."""
        log.warning("not reused, but made anew: %s", why)
        repo = Path(self.request["package_repo"])
        shutil.rmtree(repo.with_name(f".{repo.name}.new"), ignore_errors=True)
        for path in self.workspace.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        return Report(status=Status.SUCCESS, again_in=1)


def _reported(kept: StageResult) -> list[ReportedArtifact]:
    return [
        ReportedArtifact(name=one.name, path=one.path, kind=one.kind, sha256=one.sha256, size=one.size)
        for one in kept.artifacts
    ]
