"""The same happenings in two contracts: the pipeline's own and fedora-ci's, each as pipeline.toml switches it."""

from collections.abc import Iterator

import pytest

from ci_pipeline import publishing, settings, store
from ci_pipeline.executors.report import Report
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, CONFORMANCE_TESTS, GENERATE_IMAGE, STAGES, Stage
from ci_pipeline.store import ledger, outbox, runs
from ci_pipeline.store.tables import Outbox, Run
from tests.makers import COMPOSE_REV, EVENTS_OF_A_GOOD_RUN, new_run, play, pushed, report

pytestmark = pytest.mark.usefixtures("database")

OK, UNSTABLE, FAILURE = Status.SUCCESS, Status.UNSTABLE, Status.FAILURE


@pytest.fixture
def both(current: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings that ask for both contracts."""
    monkeypatch.setenv("CI_PIPELINE_CONTRACTS__FEDORA_CI", "true")
    settings.current.cache_clear()
    yield settings.current()
    settings.current.cache_clear()


def messages(run: Run, contract: str = outbox.FEDORA_CI) -> list[Outbox]:
    """Return the stored messages of a run in one contract."""
    with store.session() as session:
        return outbox.messages(session, run=run.id, contract=contract)


def phases(run: Run) -> list[tuple[str, str, str]]:
    """Return the test, the phase and the result of each fedora-ci message of a run."""
    return [
        (row.body["test"]["type"], row.event.rpartition(".")[2], row.body["test"].get("result", ""))
        for row in messages(run)
    ]


def end(settings: Settings, run: Run, stage: Stage, ended: Report, *, try_number: int = 1) -> None:
    """Let a stage begin and end."""
    with store.session() as session:
        journal, row = Journal(session, settings), runs.locked(session, run.id)
        journal.begin_stage(row, stage, try_number)
        journal.finish_stage(row, stage, try_number, ended, final=True)


def test_nothing_is_said_as_fedora_ci_unless_asked_for(current: Settings) -> None:
    """As shipped, there is one contract."""
    run = new_run()
    play(current, run, OK, OK)

    assert messages(run) == []
    assert len(messages(run, outbox.OURS)) == 5


def test_each_stage_is_a_test_with_a_result(both: Settings) -> None:
    """The status is the stage's own: the compose passed, although the run is unstable by then."""
    run = new_run("hostinfo")  # opt-in: its failing tests stop nothing
    play(both, run, OK, UNSTABLE, OK)

    assert phases(run) == [
        ("build-package", "running", ""),
        ("build-package", "complete", "passed"),
        ("functional-tests", "queued", ""),
        ("functional-tests", "running", ""),
        ("functional-tests", "complete", "needs_inspection"),
        ("compose-ostree", "running", ""),
        ("compose-ostree", "complete", "passed"),
        ("integration-tests", "queued", ""),
    ]


@pytest.mark.parametrize(
    ("status", "fault", "phase", "result"),
    [
        (FAILURE, Fault.PACKAGE, "complete", "failed"),
        (FAILURE, Fault.INFRASTRUCTURE, "error", ""),
        (Status.ABORTED, Fault.NONE, "error", ""),
    ],
)
def test_what_could_not_be_tested_is_an_error(
    both: Settings, status: Status, fault: Fault, phase: str, result: str
) -> None:
    """Only the package's own failure is a result."""
    run = new_run()
    end(both, run, BUILD_PACKAGE, report(BUILD_PACKAGE, status, reason="no room", fault=fault))

    assert phases(run)[-1] == ("build-package", phase, result)
    assert "no room" in str(messages(run)[-1].body)


def test_a_skipped_stage_is_info_and_our_own_contract_has_no_words_for_it(both: Settings) -> None:
    """Each is said once, however often the skip is told; what is one test to the world is one message."""
    run = new_run()
    play(both, run, *[OK] * 4)
    for _ in range(2):
        with store.session() as session:
            Journal(session, both).skip_stage(runs.locked(session, run.id), GENERATE_IMAGE, 1, "not due")

    skipped = [one for one in phases(run) if one[2] == "info"]
    assert skipped == [(test, "complete", "info") for test in ("generate-image", "smoke-test", "conformance-tests")]
    assert not [row.event for row in messages(run, outbox.OURS) if row.event.startswith("image")]


def test_the_steps_of_the_conformance_tests_are_one_test(both: Settings) -> None:
    """It runs from the first step to the last, and is about the image of its run."""
    run = new_run()
    play(both, run, *[OK] * len(STAGES))

    said = [(phase, result) for test, phase, result in phases(run) if test == "conformance-tests"]
    assert said == [("queued", ""), ("running", ""), ("complete", "passed")]
    assert messages(run)[-1].body["artifact"]["descriptor"].endswith(".qcow2")
    assert CONFORMANCE_TESTS is STAGES[-1]


def test_a_message_says_who_pushed_and_where_to_look(both: Settings) -> None:
    """The facts of the run, in that contract's words."""
    with store.session() as session:
        (row,) = ledger.record(session, [pushed()], both)
        run = session.get(Run, row.run)
    assert run is not None
    play(both, run, OK, OK, OK)

    body = messages(run)[-2].body
    assert body["artifact"]["issuer"] == "packager"
    assert body["artifact"]["compose_rev"] == COMPOSE_REV
    assert body["run"]["url"].endswith(f"/dags/ci-pipeline-f26/runs/{run.run_id}")
    assert body["contact"]["name"] == "CI-Pipeline"


def test_an_address_that_cannot_be_said_parks_the_message_and_fails_no_stage(
    both: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator sees why; our own message goes out."""
    broken = both.model_copy(update={"airflow": both.airflow.model_copy(update={"url": "ftp://airflow"})})
    run = new_run()
    play(broken, run, OK)

    assert all(row.parked_at and "url" in row.error for row in messages(run))
    assert not any(row.parked_at for row in messages(run, outbox.OURS))


def test_both_contracts_go_out_in_the_order_things_happened(both: Settings) -> None:
    """Through the real broker."""
    run = new_run()
    play(both, run, OK)

    assert publishing.publish(both) == 6
    with store.session() as session:
        rows = outbox.messages(session, run=run.id)
    assert [row.published_at for row in rows] == sorted(row.published_at for row in rows if row.published_at)
    assert [row.contract for row in rows] == [outbox.OURS, outbox.FEDORA_CI] * 3


def test_the_own_contract_can_be_withheld(both: Settings) -> None:
    """It is kept, so that everything which counts by it goes on; it is not published, and nothing waits for it."""
    silent = both.model_copy(update={"contracts": both.contracts.model_copy(update={"ci_pipeline": False})})
    run = new_run()
    play(silent, run, *[OK] * 6)
    with store.session() as session:
        Journal(session, silent).finish_run(runs.locked(session, run.id))

    publishing.publish(silent)

    assert [row.event for row in messages(run, outbox.OURS)][:15] == EVENTS_OF_A_GOOD_RUN
    assert not any(row.published_at for row in messages(run, outbox.OURS))
    assert all(row.published_at for row in messages(run))
    with store.session() as session:
        assert outbox.pending(session) == (0, 0)
