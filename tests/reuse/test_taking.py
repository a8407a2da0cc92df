"""What is kept is taken only as it was, and from then on both runs have files of their own."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ci_pipeline import requests, store
from ci_pipeline.errors import ExecutorError
from ci_pipeline.executors.report import Report, ReportedArtifact, Reused, parse_report
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status
from ci_pipeline.reuse import Taking
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import kept_outputs, runs, tries
from ci_pipeline.store.tables import Run
from tests.makers import change

KEY = "5" * 64
RPM = "greeter-1.0-1.3.35fdde9.fc26.noarch.rpm"
SAID = Report(status=Status.SUCCESS, content_key=KEY, reuses=True, outputs={"commits": 3, "commit_subject": "mine"})
pytestmark = pytest.mark.usefixtures("database")


@dataclass
class Pipeline:
    """A pipeline whose files are the test's own, and its builds."""

    settings: Settings

    def run(self, number: int, kind: Kind = Kind.PUSH) -> Run:
        """Store a run."""
        with store.session() as session:
            return runs.create(session, change(rev=f"{number:040x}"), kind=kind)

    def workspace(self, run: Run) -> Path:
        """Return the folder of a run's first try; it is there."""
        folder = requests.workspace_of(self.settings, run, "build_package", 1)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def repo(self, run: Run) -> Path:
        """Return the repository of a run."""
        return requests.package_repo_of(self.settings, run)

    def build(self, run: Run) -> Report:
        """Let a run have built."""
        repo, workspace = self.repo(run), self.workspace(run)
        made = [(repo / RPM, "rpm"), (workspace / "build.log", "log"), (workspace / "rpmlint.txt", "report")]
        for path in (*(path for path, _ in made), repo / "repodata" / "repomd.xml"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path.name} as made", encoding="ascii")
        (repo / "unknown").write_text("of whatever")
        outputs = {
            "nvr": "greeter-1.0-1.3.35fdde9.fc26",
            "commits": 3,
            "commit_subject": "theirs",
            "package_repo": str(repo),
            "repodata": {"repomd.xml": sha256(repo / "repodata" / "repomd.xml")},
        }
        artifacts = [reported(path, kind) for path, kind in made]
        return self.end(run, Report(status=Status.SUCCESS, content_key=KEY, outputs=outputs, artifacts=artifacts))

    def end(self, run: Run, report: Report) -> Report:
        """Write down how the first try of a run's build ended."""
        with store.session() as session:
            tries.begin(session, run.id, BUILD_PACKAGE, 1)
            tries.end(session, run.id, BUILD_PACKAGE, 1, report)
        return report

    def take(self, run: Run, said: Report = SAID, *, known: tuple[str, ...] = (KEY,)) -> Report:
        """Let a run reuse what its stage says; the playbook has left things in its workspace."""
        workspace = self.workspace(run)
        (workspace / "source").mkdir(exist_ok=True)
        (workspace / "request.json").touch()
        with store.session() as session:
            made = requests.make(session, self.settings, run, BUILD_PACKAGE, workspace=workspace)
        return Taking(self.settings, run, {**made, "reuse": {"known": list(known)}}, workspace).take(said)

    def known(self, run: Run) -> list[str]:
        """Return the keys that a run may reuse."""
        with store.session() as session:
            return kept_outputs.keys(session, run, "build_package")


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reported(path: Path, kind: Any) -> ReportedArtifact:
    """Return a file as a stage reports it."""
    return ReportedArtifact(name=path.name, path=str(path), kind=kind, sha256=sha256(path), size=path.stat().st_size)


@pytest.fixture
def pipeline(current: Settings, tmp_path: Path) -> Pipeline:
    """A pipeline of the test's own."""
    artifacts = current.artifacts.model_copy(update={"folder": tmp_path / "artifacts"})
    return Pipeline(current.model_copy(update={"state": tmp_path / "state", "artifacts": artifacts}))


def remove(path: Path) -> None:
    """Let a file be gone."""
    path.unlink()


def change_it(path: Path) -> None:
    """Let a file have another byte."""
    path.write_text(path.read_text().replace("as made", "as mado"))


def by_a_link(path: Path) -> None:
    """Put a symlink to the same content in the place of a file."""
    shutil.copy(path, path.with_suffix(".copy"))
    path.unlink()
    path.symlink_to(path.with_suffix(".copy"))


def by_a_pipe(path: Path) -> None:
    """Put a pipe in the place of a file: who opens it must not wait."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [remove, change_it, by_a_link, by_a_pipe])
@pytest.mark.parametrize("what", [RPM, "repodata/repomd.xml", "build.log", "rpmlint.txt"])
def test_what_is_not_as_it_was_is_made_anew(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, what: str, spoil: Callable[[Path], None]
) -> None:
    """Nothing of it is used, then or later; the log says why, and the try begins with an empty folder."""
    old, new = pipeline.run(1), pipeline.run(2)
    pipeline.build(old)
    in_workspace = pipeline.workspace(old) / what
    spoil(in_workspace if in_workspace.exists() else pipeline.repo(old) / what)

    done = pipeline.take(new)

    assert (done.again_in, done.outputs, done.artifacts) == (1, {}, [])
    assert "not reused, but made anew: " in caplog.text
    assert Path(what).name in caplog.text
    assert list(pipeline.workspace(new).iterdir()) == []
    assert [path.name for path in pipeline.repo(new).parent.iterdir()] == [old.run_id]
    assert pipeline.known(new) == []


def test_without_the_checksums_of_its_index_a_repository_is_made_anew(pipeline: Pipeline) -> None:
    """Whoever could change the index could hide a package."""
    old, new = pipeline.run(1), pipeline.run(2)
    report = pipeline.build(old)
    with store.session() as session:
        row = runs.latest_results(session, old.id)["build_package"]
        row.outputs = {key: value for key, value in report.outputs.items() if key != "repodata"}

    assert pipeline.take(new).again_in == 1


def test_a_file_of_another_place_is_not_taken(pipeline: Pipeline, tmp_path: Path) -> None:
    """A result that names it cannot be ours."""
    old, new, secret = pipeline.run(1), pipeline.run(2), tmp_path / "secret"
    secret.write_text("secret")
    report = pipeline.build(old)
    with store.session() as session:
        row = runs.latest_results(session, old.id)["build_package"]
        row.artifacts[1].path, row.artifacts[1].sha256 = str(secret), sha256(secret)

    assert report.artifacts[1].name == "build.log"
    assert pipeline.take(new).again_in == 1


def test_what_was_removed_a_moment_ago_is_made_anew(pipeline: Pipeline) -> None:
    """It was there when the stage began."""
    assert pipeline.take(pipeline.run(1)).again_in == 1


def test_a_stage_cannot_take_what_it_was_not_offered(pipeline: Pipeline) -> None:
    """Whatever key it names."""
    pipeline.build(pipeline.run(1))

    with pytest.raises(ExecutorError, match="says that it reuses what nobody has kept"):
        pipeline.take(pipeline.run(2), known=("6" * 64,))


@pytest.mark.parametrize(
    "said",
    [
        '{"status": "SUCCESS", "reuses": true}',
        f'{{"status": "FAILURE", "fault": "package", "content_key": "{KEY}", "reuses": true}}',
    ],
)
def test_a_report_that_reuses_names_a_key_and_has_succeeded(said: str) -> None:
    """Anything else breaks the contract."""
    with pytest.raises(ExecutorError, match="breaks the stage contract at reuses"):
        parse_report(said.encode())


@pytest.mark.parametrize("field", ['"source": 1', '"reused_from": 1', '"content_key": "not a digest"'])
def test_no_report_says_itself_whose_output_it_took(field: str) -> None:
    """The result it names might be of anything."""
    with pytest.raises(ExecutorError, match="breaks the stage contract"):
        parse_report(f'{{"status": "SUCCESS", {field}}}'.encode())


def test_what_is_as_it_was_is_the_runs_own_from_then_on(pipeline: Pipeline) -> None:
    """Packages, index, log and reports: without those of the older run, and without any that nobody named."""
    old, new = pipeline.run(1), pipeline.run(2)
    theirs = pipeline.build(old)

    done = pipeline.take(new)
    shutil.rmtree(pipeline.repo(old))
    shutil.rmtree(pipeline.workspace(old))

    assert isinstance(done, Reused)
    assert [(one.name, one.kind, one.sha256, one.size) for one in done.artifacts] == [
        (one.name, one.kind, one.sha256, one.size) for one in theirs.artifacts
    ]
    assert all(sha256(Path(one.path)) == one.sha256 for one in done.artifacts)
    repo = pipeline.repo(new)
    assert sorted(str(path.relative_to(repo)) for path in repo.rglob("*")) == [RPM, "repodata", "repodata/repomd.xml"]
    assert {Path(one.path).parent for one in done.artifacts} == {repo, pipeline.workspace(new) / "reused"}
    assert (repo.parents[1] / "greeter_repo").resolve() == repo


def test_it_is_told_as_if_it_had_been_made_now(pipeline: Pipeline) -> None:
    """With what is known of this run's own commit, and where this run has it."""
    old, new = pipeline.run(1), pipeline.run(2)
    theirs = pipeline.build(old).outputs

    done = pipeline.take(new)

    assert done.outputs == {**theirs, "package_repo": str(pipeline.repo(new)), "commit_subject": "mine"}
    assert (done.status, done.reason, done.content_key) == (Status.SUCCESS, "", KEY)


def test_a_side_run_leaves_the_packages_address(pipeline: Pipeline) -> None:
    """`<package>_repo` is the newest build, and that of a backfill is none."""
    pipeline.build(pipeline.run(1))
    new = pipeline.run(2, Kind.BACKFILL)
    pipeline.take(new)

    assert not (pipeline.repo(new).parents[1] / "greeter_repo").exists()


def test_who_made_it_is_told_however_often_it_is_reused(pipeline: Pipeline) -> None:
    """The third run takes the second's files, which the first one made; its own are gone by then."""
    first, second, third = pipeline.run(1), pipeline.run(2), pipeline.run(3)
    pipeline.build(first)
    pipeline.end(second, pipeline.take(second))
    shutil.rmtree(pipeline.repo(first))
    shutil.rmtree(pipeline.workspace(first))
    pipeline.end(third, pipeline.take(third))

    with store.session() as session:
        made = [runs.latest_results(session, run.id)["build_package"] for run in (first, second, third)]
        assert [one.reused_from_id for one in made] == [None, made[0].id, made[0].id]


def test_on_another_file_system_it_is_copied(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no link can be made."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    old, new = pipeline.run(1), pipeline.run(2)
    pipeline.build(old)
    monkeypatch.setattr(os, "link", refuse)
    pipeline.take(new)

    assert sha256(pipeline.repo(new) / RPM) == sha256(pipeline.repo(old) / RPM)
    assert (pipeline.repo(new) / RPM).stat().st_ino != (pipeline.repo(old) / RPM).stat().st_ino
