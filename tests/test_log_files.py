"""Logs and reports over HTTP: only those, only of the DAG that was asked for, only from our folders, only as text."""

import asyncio
import os
from pathlib import Path

import httpx
import pytest
from fastapi import HTTPException

from ci_pipeline import log_files, store
from ci_pipeline.executors.report import Report
from ci_pipeline.journal import Journal
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import runs
from tests.makers import new_run

pytestmark = pytest.mark.usefixtures("database")


def anybody() -> None:
    """Let everybody read."""


def nobody(dag_id: str) -> None:
    """Let nobody read."""
    raise HTTPException(403, f"no reading {dag_id}")


@pytest.fixture
def folder(current: Settings) -> Path:
    """A folder of a run."""
    made = current.state / "runs" / "ci-pipeline-f26" / "x" / "build_package-1"
    made.mkdir(parents=True, exist_ok=True)
    return made


def reported(current: Settings, path: Path, kind: str = "log") -> int:
    """Let a build report a file; return the artifact's id."""
    artifact = {"name": path.name, "path": str(path), "kind": kind, "sha256": "0" * 64, "size": 1}
    run = new_run()
    with store.session() as session:
        journal, row = Journal(session, current), runs.locked(session, run.id)
        journal.begin_stage(row, BUILD_PACKAGE, 1)
        report = Report.model_validate({"status": "FAILURE", "artifacts": [artifact]})
        journal.finish_stage(row, BUILD_PACKAGE, 1, report, final=True)
        return row.results[0].artifacts[0].id


def answer(artifact: int, *, dag: str = "ci-pipeline-f26", may_read: object = anybody) -> httpx.Response:
    """Ask for a log."""

    async def ask() -> httpx.Response:
        server = httpx.ASGITransport(log_files.app(may_read))
        async with httpx.AsyncClient(transport=server, base_url="http://airflow") as client:
            return await client.get(f"/{dag}/{artifact}")

    return asyncio.run(ask())


def test_who_may_not_read_the_dag_reads_nothing(current: Settings, folder: Path) -> None:
    """The dependency decides, before anything is looked up."""
    (folder / "build.log").write_text("secret")
    refused = answer(reported(current, folder / "build.log"), may_read=nobody)

    assert (refused.status_code, "secret" in refused.text) == (403, False)


def test_a_log_is_sent_as_text_whatever_is_in_it(current: Settings, folder: Path) -> None:
    """No browser runs it, or guesses what it might be."""
    (folder / "build.log").write_text("<script>alert(1)</script>\n" * 10_000)
    sent = answer(reported(current, folder / "build.log"))

    assert sent.text == "<script>alert(1)</script>\n" * 10_000
    assert sent.headers["content-type"] == "text/plain; charset=utf-8"
    assert sent.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in sent.headers["content-security-policy"]


def test_a_log_of_another_dag_is_not_there(current: Settings, folder: Path) -> None:
    """Who may read one DAG may not read all of them by counting."""
    (folder / "build.log").write_text("x")

    assert answer(reported(current, folder / "build.log"), dag="ci-pipeline-rawhide").status_code == 404


@pytest.mark.parametrize("kind", ["junit", "report"])
def test_what_tests_report_is_sent_as_text(current: Settings, folder: Path, kind: str) -> None:
    """As a log is: no browser takes it for anything else."""
    (folder / "junit.xml").write_text("<testsuite/>")
    sent = answer(reported(current, folder / "junit.xml", kind))

    assert (sent.text, sent.headers["content-type"]) == ("<testsuite/>", "text/plain; charset=utf-8")


@pytest.mark.parametrize("kind", ["srpm", "rpm", "image"])
def test_what_is_no_log_is_not_there(current: Settings, folder: Path, kind: str) -> None:
    """The rest has its place among the artifacts."""
    (folder / "file").write_text("x")

    assert answer(reported(current, folder / "file", kind)).status_code == 404


@pytest.mark.parametrize("how", ["elsewhere", "gone", "link", "linked folder", "pipe", "folder", "dots"])
def test_what_is_no_file_in_our_folders_is_not_there(current: Settings, folder: Path, tmp_path: Path, how: str) -> None:
    """A stage may report any path, and package code may put anything there."""
    (tmp_path / "secret").write_text("secret")
    path = folder / how
    if how == "elsewhere":
        path = tmp_path / "secret"
    elif how == "link":
        path.symlink_to(tmp_path / "secret")
    elif how == "linked folder":
        path.symlink_to(tmp_path)
        path /= "secret"
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "dots":
        path = folder / ("../" * 30) / tmp_path.relative_to("/") / "secret"
    try:
        got = answer(reported(current, path))
    finally:
        if folder in path.parents and how in {"link", "pipe"}:
            path.unlink()

    assert (got.status_code, "secret" in got.text) == (404, False)
