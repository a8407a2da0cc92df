"""Results are found by what they are about, and each is shown as it was."""

from datetime import UTC, datetime, timedelta

import pytest

from ci_pipeline import store
from ci_pipeline.datahub import queries
from ci_pipeline.datahub.model import RunResult
from ci_pipeline.datahub.queries import Filter
from ci_pipeline.errors import StoreError
from ci_pipeline.executors.report import Report, ReportedArtifact, ReportedTest
from ci_pipeline.journal import Journal
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status, TestOutcome
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, COMPOSE_OSTREE, FUNCTIONAL_TESTS, GENERATE_IMAGE
from ci_pipeline.store import runs
from tests.makers import COMPOSE_REV, change, new_run, play

pytestmark = pytest.mark.usefixtures("database")

NVR = "greeter-1.0-1.3.35fdde9.fc26"
MANY = 100


def found(settings: Settings, *, limit: int = MANY, **wanted: object) -> list[RunResult]:
    """Return the results that a filter finds."""
    with store.session() as session:
        return list(queries.results(session, settings, Filter(**wanted), limit=limit).items)  # type: ignore[arg-type]


def named(results: list[RunResult]) -> list[str]:
    """Return the ids of results."""
    return [one.id for one in results]


def test_nothing_is_found_where_nothing_is(current: Settings) -> None:
    """An empty datahub is an empty page, and the last one."""
    with store.session() as session:
        page = queries.results(session, current, Filter(), limit=10)

    assert page == queries.Page((), None)


@pytest.mark.parametrize("name", ["", "f26/1", "f26/1/build_package", "f26/1/build_package/7", "f26/1/x/1", "../1/x/1"])
def test_a_result_that_is_not_there_is_an_error_that_says_what_an_id_is(current: Settings, name: str) -> None:
    """Whatever is asked for."""
    play(current, new_run(), Status.SUCCESS)

    with store.session() as session, pytest.raises(StoreError, match="BRANCH/NUMBER/STAGE/TRY"):
        queries.result(session, current, name)


def test_a_result_is_found_by_its_id(current: Settings) -> None:
    """And says of which run it is."""
    play(current, new_run(), Status.SUCCESS)

    with store.session() as session:
        result = queries.result(session, current, "f26/1/build_package/1")

    assert (result.id, result.stage, result.status) == ("f26/1/build_package/1", "build_package", "SUCCESS")
    assert (result.run.id, result.run.change) == ("f26/1", change())
    assert result.testcase == "org.centos.prod.ci.pipeline.package.complete"


@pytest.mark.parametrize(
    ("wanted", "stages"),
    [
        ({"nvr": NVR}, ["integration_tests", "compose_ostree", "functional_tests", "build_package"]),
        ({"original_spec_nvr": "greeter-1.0-1.fc26", "stage": "build_package"}, ["build_package"]),
        ({"compose_rev": COMPOSE_REV}, ["integration_tests", "compose_ostree"]),
        ({"repo": "greeter", "outcome": "UNSTABLE"}, ["integration_tests"]),
        ({"namespace": "modules"}, []),
        ({"branch": "f26", "stage": "compose_ostree"}, ["compose_ostree"]),
        ({"ref": "fedora/f26/x86_64/atomic-host", "stage": "compose_ostree"}, ["compose_ostree"]),
        ({"ref": "fedora/rawhide/x86_64/atomic-host"}, []),
        ({"run": "f26/1", "stage": "build_package"}, ["build_package"]),
        ({"run": "f26/2"}, []),
        ({"run": "f26/x"}, []),
        ({"run": "1"}, []),
        ({"outcome": "RUNNING"}, []),
    ],
)
def test_results_are_found_by_what_they_are_about(current: Settings, wanted: dict[str, str], stages: list[str]) -> None:
    """The newest first."""
    play(current, new_run(), Status.SUCCESS, Status.SUCCESS, Status.SUCCESS, Status.UNSTABLE)

    assert [one.stage for one in found(current, **wanted)] == stages


def test_results_are_found_by_when_they_ended(current: Settings) -> None:
    """What still runs has not ended: it is asked for by its outcome."""
    run = new_run()
    play(current, run, Status.SUCCESS)
    with store.session() as session:
        Journal(session, current).begin_stage(runs.locked(session, run.id), FUNCTIONAL_TESTS, 1)
    now, moment = datetime.now(UTC), timedelta(minutes=1)

    assert named(found(current, since=now - moment, until=now + moment)) == ["f26/1/build_package/1"]
    assert found(current, since=now + moment) == []
    assert found(current, until=now - moment) == []
    assert named(found(current, outcome="RUNNING")) == ["f26/1/functional_tests/1"]


def test_a_side_run_is_on_the_ref_of_its_candidate_alone(current: Settings) -> None:
    """Who asks for the branch's ref hears nothing of what will never be on it."""
    with store.session() as session:
        backfilled = runs.create(session, change(), kind=Kind.BACKFILL)
    play(current, backfilled, Status.SUCCESS)
    play(current, new_run("hostinfo"), Status.SUCCESS)

    (candidate,) = found(current, ref="candidate/f26/1")
    (on_branch,) = found(current, ref="fedora/f26/x86_64/atomic-host")

    assert (candidate.run.id, candidate.run.ref) == ("f26/1", "candidate/f26/1")
    assert (on_branch.run.id, on_branch.run.ref) == ("f26/2", "fedora/f26/x86_64/atomic-host")


def test_pages_show_everything_once(current: Settings) -> None:
    """Also when new results come in between two pages."""
    play(current, new_run(), *[Status.SUCCESS] * 4)
    seen, before = [], None
    with store.session() as session:
        while True:
            page = queries.results(session, current, Filter(), limit=3, before=before)
            seen += named(list(page.items))
            before = page.before
            if before is None:
                break
            play(current, new_run("hostinfo"), Status.SUCCESS)

    stages = ["integration_tests", "compose_ostree", "functional_tests", "build_package"]
    assert seen == [f"f26/1/{stage}/1" for stage in stages]


def test_a_result_stays_about_what_it_was_about(current: Settings) -> None:
    """A stage that is tried again makes something else; the older result is not moved to it, and no longer current."""
    run = new_run()
    play(current, run, *[Status.SUCCESS] * 3)
    again = Report(status=Status.SUCCESS, outputs={"compose_rev": "f" * 64, "version": "26.2"})
    with store.session() as session:
        journal, row = Journal(session, current), runs.locked(session, run.id)
        journal.begin_stage(row, COMPOSE_OSTREE, 2)
        journal.finish_stage(row, COMPOSE_OSTREE, 2, again, final=True)

    (old,), (new,) = found(current, compose_rev=COMPOSE_REV), found(current, compose_rev="f" * 64)

    assert (old.id, old.current) == ("f26/1/compose_ostree/1", False)
    assert (new.id, new.current, new.nvr) == ("f26/1/compose_ostree/2", True, NVR)


def test_tests_are_counted_and_artifacts_have_addresses(current: Settings) -> None:
    """Those that are published, and logs, behind Airflow's login; a package that is published nowhere has none."""
    served = current.artifacts.folder / "fedora-atomic/f26/repo/builds/x y/greeter.rpm"
    report = Report(
        status=Status.UNSTABLE,
        tests=[
            ReportedTest(name="a", outcome=TestOutcome.PASSED),
            ReportedTest(name="b", outcome=TestOutcome.PASSED),
            ReportedTest(name="c", outcome=TestOutcome.FAILED),
        ],
        artifacts=[
            ReportedArtifact(name="greeter.rpm", path=str(served), kind="rpm", sha256="0" * 64, size=7),
            ReportedArtifact(name="build.log", path="/elsewhere/build.log", kind="log", sha256="0" * 64, size=7),
            ReportedArtifact(name="a.src.rpm", path="/elsewhere/a.src.rpm", kind="srpm", sha256="0" * 64, size=7),
        ],
    )
    run = new_run()
    with store.session() as session:
        journal, row = Journal(session, current), runs.locked(session, run.id)
        journal.begin_stage(row, BUILD_PACKAGE, 1)
        journal.finish_stage(row, BUILD_PACKAGE, 1, report, final=True)

    (result,) = found(current)

    assert result.counts == {"passed": 2, "failed": 1}
    url = f"{current.artifacts.url}/fedora-atomic/f26/repo/builds/x%20y/greeter.rpm"
    log = f"{current.airflow.url}/ci-pipeline-logs/ci-pipeline-f26/2"
    assert [one.url for one in result.artifacts] == [url, log, ""]


def test_skipped_stages_are_results_too(current: Settings) -> None:
    """With their reason; the stages behind them have no try, and keep their ids when the skip is told again."""
    run = new_run()
    play(current, run, *[Status.SUCCESS] * 4)
    for _ in range(2):
        with store.session() as session:
            Journal(session, current).skip_stage(runs.locked(session, run.id), GENERATE_IMAGE, 1, "not due")

    skipped = found(current, outcome="SKIPPED")

    assert [one.id for one in skipped][-2:] == ["f26/1/smoke_test/0", "f26/1/generate_image/1"]
    assert skipped[-1].reason == "not due"
    assert len(skipped) == 6
