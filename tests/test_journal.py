"""The journal: what happened, and what is said of it, in one transaction."""

import json
from pathlib import Path

import pytest

from ci_pipeline import store
from ci_pipeline.bus import schemas
from ci_pipeline.errors import StoreError
from ci_pipeline.executors.report import Report
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import (
    BUILD_PACKAGE,
    COMPOSE_OSTREE,
    FUNCTIONAL_TESTS,
    GENERATE_IMAGE,
    INTEGRATION_TESTS,
    PROVISION_HOSTS,
    SMOKE_TEST,
)
from ci_pipeline.store import images, leases, ledger, outbox, runs
from tests.buses import all_said
from tests.journals import begin, complete, finish, said
from tests.makers import EVENTS_OF_A_GOOD_RUN, new_run, play, pushed

pytestmark = pytest.mark.usefixtures("database")

OK = Status.SUCCESS


def test_a_report_whose_commit_was_answered_to_nobody_may_come_again(current: Settings) -> None:
    """Nothing is said twice. Another report of the same try is refused."""
    run = new_run()
    begin(current, run, BUILD_PACKAGE)
    finish(current, run, BUILD_PACKAGE)
    finish(current, run, BUILD_PACKAGE)

    with pytest.raises(StoreError, match="may not report"):
        finish(current, run, BUILD_PACKAGE, status=Status.FAILURE, reason="x")

    assert [event for event, _ in said(run)].count("package.complete") == 1


@pytest.mark.parametrize("has_ended", [False, True])
def test_what_is_known_of_a_try_that_goes_on_is_written_down_and_not_said(
    current: Settings, *, has_ended: bool
) -> None:
    """A try that has ended, though whoever looks at it has not heard, keeps what it said then."""
    run = new_run()
    begin(current, run, BUILD_PACKAGE)
    if has_ended:
        finish(current, run, BUILD_PACKAGE)
    before, known = said(run), Report(status=OK, again_in=9, outputs={"jenkins_url": "https://jenkins/job/x/1/"})
    with store.session() as session:
        Journal(session, current).go_on(runs.locked(session, run.id), BUILD_PACKAGE, 1, known)
    with store.session() as session:
        row = runs.latest_results(session, run.id)[BUILD_PACKAGE.name]

    assert row.status == (OK if has_ended else None)
    assert ("jenkins_url" in row.outputs) is not has_ended
    assert said(run) == before


def test_a_failed_build_is_announced_and_ends_the_run(current: Settings) -> None:
    """The original sent no `complete` for a failed stage; ours does, for the stage and for the run."""
    run = new_run()
    play(current, run, Status.FAILURE)

    assert complete(current, run) == (Status.FAILURE, "build_package: because")
    assert said(run) == [("package.running", "SUCCESS"), ("package.complete", "FAILURE"), ("complete", "FAILURE")]


def test_unstable_tests_of_a_gating_package_queue_nothing_more(current: Settings) -> None:
    """The compose is not even announced."""
    run = new_run("greeter")
    play(current, run, OK, Status.UNSTABLE)

    assert complete(current, run)[0] is Status.UNSTABLE
    assert said(run)[-2:] == [("package.test.functional.complete", "UNSTABLE"), ("complete", "UNSTABLE")]


def test_unstable_tests_of_an_opt_in_package_are_carried_to_the_end(current: Settings) -> None:
    """The run goes on, and what is said at the end still tells that some tests did not pass."""
    run = new_run("hostinfo")
    play(current, run, OK, Status.UNSTABLE, *[OK] * 8)

    assert complete(current, run)[0] is Status.UNSTABLE
    assert ("compose.running", "SUCCESS") in said(run)
    assert ("compose.complete", "UNSTABLE") in said(run)


def test_unstable_integration_tests_queue_no_image(current: Settings) -> None:
    """Whatever the package, a host that fails its tests goes nowhere."""
    run = new_run("hostinfo")
    play(current, run, OK, OK, OK, Status.UNSTABLE)

    assert complete(current, run) == (Status.UNSTABLE, "integration_tests: because")


def test_a_good_run_says_every_event_in_order(current: Settings) -> None:
    """The conformance tests are off as shipped: they are skipped and say nothing on the bus."""
    run = new_run()
    play(current, run, OK, OK, OK, OK, OK, OK)
    with store.session() as session:
        Journal(session, current).skip_stage(runs.locked(session, run.id), PROVISION_HOSTS, 1, "no cluster")

    assert complete(current, run) == (Status.SUCCESS, "")
    assert [event for event, _ in said(run)] == EVENTS_OF_A_GOOD_RUN


def test_every_message_is_what_the_contract_says(current: Settings) -> None:
    """Key for key the keys of what was recorded on the real bus."""
    run = new_run()
    play(current, run, OK, OK, OK, OK, OK, OK)
    complete(current, run)
    with store.session() as session:
        rows = outbox.messages(session, run=run.id)
    recorded = Path(__file__).parent / "data" / "messages"
    for row in rows:
        example = json.loads((recorded / f"org.centos.prod.ci.pipeline.{row.event}.json").read_text())

        assert row.body.keys() == example["msg"].keys()

        schemas.check(row.event, current.bus.topic_prefix, row.body)


def test_beginning_and_saying_twice_changes_nothing(current: Settings) -> None:
    """A callback repeats what the operator has done."""
    run = new_run()
    begin(current, run, BUILD_PACKAGE)
    begin(current, run, BUILD_PACKAGE)
    finish(current, run, BUILD_PACKAGE)
    complete(current, run)
    before = said(run)
    complete(current, run)

    assert said(run) == before


def test_a_try_reports_once(current: Settings) -> None:
    """A leftover process cannot overwrite what is known."""
    run = new_run()
    play(current, run, OK)

    with pytest.raises(StoreError, match="try 1 of build_package may not report"):
        finish(current, run, BUILD_PACKAGE, status=Status.FAILURE)


def test_an_old_try_cannot_report_after_a_newer_one_began(current: Settings) -> None:
    """A worker that was thought dead comes back."""
    run = new_run()
    begin(current, run, BUILD_PACKAGE, 1)
    begin(current, run, BUILD_PACKAGE, 2)

    with pytest.raises(StoreError, match="try 2 has taken its place"):
        finish(current, run, BUILD_PACKAGE, 1)


def test_a_try_that_is_followed_by_another_is_not_announced(current: Settings) -> None:
    """For the world the stage is still running; the history keeps both tries."""
    run = new_run()
    begin(current, run, BUILD_PACKAGE, 1)
    finish(current, run, BUILD_PACKAGE, 1, status=Status.FAILURE, fault=Fault.INFRASTRUCTURE, final=False)
    begin(current, run, BUILD_PACKAGE, 2)
    finish(current, run, BUILD_PACKAGE, 2)

    assert said(run)[:2] == [("package.running", "SUCCESS"), ("package.complete", "SUCCESS")]

    with store.session() as session:
        tries = [row.status for row in runs.locked(session, run.id).results]

    assert tries == ["FAILURE", "SUCCESS"]


def test_a_cleared_stage_announces_itself_again(current: Settings) -> None:
    """A re-run publishes its own messages, later, and the run its own `complete`."""
    run = new_run()
    play(current, run, OK, Status.UNSTABLE)
    complete(current, run)
    play(current, run, OK, first=1, try_number=2)
    begin(current, run, COMPOSE_OSTREE)
    again = said(run)[-5:]

    assert again == [
        ("complete", "UNSTABLE"),
        ("package.test.functional.queued", "SUCCESS"),
        ("package.test.functional.running", "SUCCESS"),
        ("package.test.functional.complete", "SUCCESS"),
        ("compose.running", "SUCCESS"),
    ]


def test_what_ran_before_a_cleared_stage_is_out_of_date(current: Settings) -> None:
    """A re-run from the compose does not read the integration tests of the compose before."""
    run = new_run("hostinfo")
    play(current, run, OK, OK, OK, Status.UNSTABLE)
    begin(current, run, COMPOSE_OSTREE, 2)
    with store.session() as session:
        known = list(runs.latest_results(session, run.id))

    assert known == ["build_package", "functional_tests", "compose_ostree"]


@pytest.mark.parametrize("ended", ["ABORTED", "FAILURE"])
def test_the_next_stage_begins_after_the_end_of_the_one_before(current: Settings, ended: str) -> None:
    """Marked success in the UI: Airflow starts the next task before the ended one has reported, or was retried."""
    run = new_run()
    begin(current, run, BUILD_PACKAGE)
    if ended == "FAILURE":
        finish(current, run, BUILD_PACKAGE, status=Status.FAILURE, fault=Fault.INFRASTRUCTURE, reason="x", final=False)
    begin(current, run, FUNCTIONAL_TESTS)

    assert said(run) == [
        ("package.running", "SUCCESS"),
        ("package.complete", ended),
        ("package.test.functional.queued", "SUCCESS"),
        ("package.test.functional.running", "SUCCESS"),
    ]
    with pytest.raises(StoreError, match="may not report"):
        finish(current, run, BUILD_PACKAGE)


def test_a_stage_cleared_while_a_later_one_runs_begins_after_that_ones_end(current: Settings) -> None:
    """What the later one would have said is out of date."""
    run = new_run()
    play(current, run, OK)
    begin(current, run, FUNCTIONAL_TESTS)
    begin(current, run, BUILD_PACKAGE, 2)

    assert said(run)[-2:] == [("package.test.functional.complete", "ABORTED"), ("package.running", "SUCCESS")]


def test_a_run_that_was_stopped_while_a_stage_ran_is_aborted(current: Settings) -> None:
    """The stage's `complete` goes out as well, for its `running` did."""
    run = new_run()
    play(current, run, OK)
    begin(current, run, FUNCTIONAL_TESTS)

    assert complete(current, run)[0] is Status.ABORTED
    assert said(run)[-2:] == [("package.test.functional.complete", "ABORTED"), ("complete", "ABORTED")]


def test_a_run_that_was_stopped_between_stages_is_aborted(current: Settings) -> None:
    """What did not run cannot have passed."""
    run = new_run()
    play(current, run, OK, OK)

    assert complete(current, run) == (Status.ABORTED, "the run ended before compose_ostree could run")


def test_no_image_due_skips_what_follows_with_the_reason(current: Settings) -> None:
    """Nothing is said on the bus; the results tell why."""
    run = new_run()
    play(current, run, OK, OK, OK, OK)
    with store.session() as session:
        Journal(session, current).skip_stage(runs.locked(session, run.id), GENERATE_IMAGE, 1, "not due")
    with store.session() as session:
        skipped = {name: row.reason for name, row in runs.latest_results(session, run.id).items() if row.reason}

    assert complete(current, run)[0] is Status.SUCCESS
    assert skipped["generate_image"] == "not due"
    assert skipped["smoke_test"] == skipped["conformance_tests"] == "nothing to work on: generate_image was skipped"
    assert not [event for event, _ in said(run) if event.startswith("image")]


def test_an_image_that_was_skipped_can_be_made_after_all(current: Settings) -> None:
    """An operator clears the stage with another conf."""
    run = new_run()
    play(current, run, OK, OK, OK, OK)
    for try_number in (1, 2):
        with store.session() as session:
            Journal(session, current).skip_stage(runs.locked(session, run.id), GENERATE_IMAGE, try_number, "not due")
    play(current, run, OK, OK, first=4, try_number=3)
    with store.session() as session:
        known = {name: row.status for name, row in runs.latest_results(session, run.id).items()}

    assert known["generate_image"] == known["smoke_test"] == "SUCCESS"


def test_the_interval_counts_from_the_last_smoke_passed_image(current: Settings) -> None:
    """An image that did not boot is no reason to wait for the next one."""
    run = new_run()
    play(current, run, OK, OK, OK, OK, OK)
    with store.session() as session:
        generated_only = images.last_good(session, "f26")
    play(current, run, OK, first=5)
    with store.session() as session:
        smoke_passed = images.last_good(session, "f26")
        (image,) = images.listed(session)

    assert generated_only is None
    assert smoke_passed is not None
    assert image.name == "fedora-atomic-26.1-9a4e37c459e67c7.qcow2"


def test_a_failed_smoke_test_leaves_the_image_not_good(current: Settings) -> None:
    """It is recorded, and is not the one the interval counts from."""
    run = new_run()
    play(current, run, OK, OK, OK, OK, OK, Status.FAILURE)
    with store.session() as session:
        assert images.last_good(session, "f26") is None
    assert complete(current, run)[0] is Status.FAILURE
    assert SMOKE_TEST.complete in dict(said(run))


@pytest.mark.parametrize("ending", [Status.SUCCESS, Status.UNSTABLE, Status.FAILURE])
def test_the_compose_lease_ends_with_the_integration_tests(current: Settings, ending: Status) -> None:
    """However they end, the next run may compose."""
    run, next_run = new_run(), new_run(rev="1" * 40)
    play(current, run, OK, OK)
    with store.session() as session:
        leases.acquire(session, name=leases.compose_of("f26"), run=run.id)
    play(current, run, OK, ending, first=2)
    with store.session() as session:
        assert leases.acquire(session, name=leases.compose_of("f26"), run=next_run.id) is None


def test_a_failed_compose_gives_the_lease_back(current: Settings) -> None:
    """Its integration tests never come."""
    run, next_run = new_run(), new_run(rev="1" * 40)
    play(current, run, OK, OK)
    with store.session() as session:
        leases.acquire(session, name=leases.compose_of("f26"), run=run.id)
    play(current, run, Status.FAILURE, first=2)
    with store.session() as session:
        assert leases.acquire(session, name=leases.compose_of("f26"), run=next_run.id) is None


def test_decisions_are_announced_by_the_trigger(current: Settings) -> None:
    """Queued and ignored changes are; a duplicate and a dead letter are not."""
    messages = [pushed("greeter"), pushed("greeter"), pushed("polari"), ledger.Received("x", "m", b"{")]
    with store.session() as session:
        journal = Journal(session, current)
        for row in ledger.record(session, messages, current):
            journal.announce_decisions([row], trigger_run_id="listening")
    rows = all_said()

    assert [row.event for row in rows] == ["package.queued", "package.ignore"]
    assert {row.body["CI_NAME"] for row in rows} == {"ci-pipeline-trigger"}
    assert rows[0].body["build_url"].endswith("/dags/ci-pipeline-trigger/runs/listening")


def test_integration_is_queued_only_for_a_compose(current: Settings) -> None:
    """The announcement of the next stage is part of the end of the one before."""
    run = new_run()
    play(current, run, OK, OK, Status.FAILURE)

    assert INTEGRATION_TESTS.queued not in dict(said(run))
