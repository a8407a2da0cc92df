"""A build is reused: the operator, the executor, the playbook and the sandbox as they are, on a real dist-git."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from sqlalchemy import text

from ci_pipeline import settings, store
from ci_pipeline.datahub import queries
from ci_pipeline.executors.report import Report
from ci_pipeline.outcome import Status
from ci_pipeline.reuse import asking
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import outbox, runs, tries
from operators.build_package import BuildPackageOperator
from tests.distgit import DistGit, package
from tests.makers import new_run, report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ci_pipeline.datahub.model import TestedResult

pytestmark = pytest.mark.usefixtures("database", "published")


@dataclass
class Builds:
    """Builds changes of a package, each in a run of its own."""

    context: Callable[..., dict[str, Any]]
    made: int = 0

    def __call__(self, rev: str, **conf: str) -> TestedResult:
        """Build a revision in a new run; return what came of it."""
        self.made += 1
        operator = BuildPackageOperator()
        operator.execute(self.context(operator, run_id=f"manual__{self.made}", rev=rev, **conf))
        return result_of(f"manual__{self.made}")


def result_of(run_id: str) -> TestedResult:
    """Return what came of the build of a run, as commands and API show it."""
    with store.session() as session:
        return queries.run_results(session, settings.current(), runs.get(session, run_id)).stages[0]


def said(run_id: str) -> list[tuple[str, str, str]]:
    """Return what a run has said: event, status, NVR."""
    with store.session() as session:
        rows = outbox.messages(session, run=runs.get(session, run_id).id)
        return [(row.event, row.body["status"], row.body["nvr"]) for row in rows if row.event.startswith("package.c")]


@pytest.fixture
def distgit(tmp_path: Path) -> DistGit:
    """A dist-git with a package."""
    made = DistGit(tmp_path / "dist-git")
    made.folder.mkdir()
    return made


@pytest.fixture
def build(
    context: Callable[..., dict[str, Any]], distgit: DistGit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Builds:
    """Builds in folders of the test's own."""
    monkeypatch.setenv("CI_PIPELINE_DIST_GIT__URL", distgit.url)
    monkeypatch.setenv("CI_PIPELINE_ARTIFACTS__FOLDER", str(tmp_path / "artifacts"))
    settings.current.cache_clear()
    return Builds(context)


def rebased(distgit: DistGit, name: str) -> str:
    """Make the newest commit anew, a day later, as a rebase does; return the new revision."""
    clone = distgit.folder / "clones" / name
    later = {
        "GIT_COMMITTER_NAME": "Other",
        "GIT_COMMITTER_EMAIL": "o@example.org",
        "GIT_COMMITTER_DATE": "2026-05-05T05:05:05Z",
    }
    git = ["git", "-C", str(clone)]
    subprocess.run([*git, "commit", "--quiet", "--amend", "--no-edit"], check=True, env=os.environ | later)
    subprocess.run([*git, "push", "--quiet", "--force", "origin", "f26"], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_rebased_commit_has_the_build_of_what_it_was(build: Builds, distgit: DistGit) -> None:
    """Its files, their checksums and its NVR; the message says that as of any build."""
    rev = distgit.commit("greeter", package("greeter"))
    first = build(rev)
    other_rev = rebased(distgit, "greeter")
    second = build(other_rev)

    assert other_rev != rev
    assert (first.status, first.reused_from) == ("SUCCESS", None)
    assert (second.status, second.reused_from) == ("SUCCESS", "f26/1/build_package/1")
    assert [(one.name, one.sha256) for one in second.artifacts] == [(one.name, one.sha256) for one in first.artifacts]
    assert {one.url for one in second.artifacts}.isdisjoint(one.url for one in first.artifacts)
    assert second.outputs["nvr"] == first.outputs["nvr"]
    assert said("manual__2") == said("manual__1") == [("package.complete", "SUCCESS", first.outputs["nvr"])]


def test_what_cannot_be_taken_is_made_in_the_same_try(
    context: Callable[..., dict[str, Any]], carried_out: Callable[..., Any], current: settings.Settings
) -> None:
    """The task is deferred for a moment: whoever has a builder gives it back, and no try is used up."""
    old, key = new_run(rev="a" * 40), "5" * 64
    with store.session() as session:
        tries.begin(session, old.id, BUILD_PACKAGE, 1)
        tries.end(session, old.id, BUILD_PACKAGE, 1, report(BUILD_PACKAGE).model_copy(update={"content_key": key}))
    operator = BuildPackageOperator()
    executor = carried_out(operator, Report(status=Status.SUCCESS, content_key=key, reuses=True))
    with pytest.raises(TaskDeferred):
        operator.execute(context(operator))

    assert executor.request["reuse"]["known"] == [key]

    executor.outcome = report(BUILD_PACKAGE)
    operator.execute(context(operator))

    assert executor.request["reuse"]["known"] == []
    made = result_of("manual__1")
    assert (made.status, made.reused_from, made.try_number) == ("SUCCESS", None, 1)
    assert said("manual__1") == [("package.complete", "SUCCESS", made.outputs["nvr"])]


def test_playbooks_are_read_while_nobody_waits_for_the_database(
    context: Callable[..., Any], carried_out: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk holds no transaction open; what was read is in the request."""
    open_then: list[int] = []

    def read(_: Path) -> str:
        with store.session() as session:
            others = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            open_then.append(session.scalar(text(f"{others} AND datname = current_database()")))
        return "read"

    monkeypatch.setattr(asking, "playbooks_digest", read)
    operator = BuildPackageOperator()
    executor = carried_out(operator, report(BUILD_PACKAGE))
    operator.execute(context(operator))

    assert open_then == [0]
    assert executor.request["reuse"]["request"] == asking.digest_of(executor.request, "read")
