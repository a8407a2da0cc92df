"""The one way a stage is carried out."""

import errno
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred

from ci_pipeline import notes, settings, store
from ci_pipeline.errors import ExecutorError, StageEnded
from ci_pipeline.executors.report import aborted
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, COMPOSE_OSTREE, FUNCTIONAL_TESTS, PROVISION_HOSTS
from ci_pipeline.store import kept, leases, outbox, runs
from ci_pipeline.store.tables import Run
from operators import callbacks
from operators.build_package import BuildPackageOperator
from operators.complete import CompleteOperator
from operators.compose_ostree import ComposeOstreeOperator
from operators.functional_tests import FunctionalTestsOperator
from operators.generate_image import GenerateImageOperator
from operators.provision_hosts import ProvisionHostsOperator
from operators.run_of import adopt
from tests.makers import REV, new_run, play, report
from tests.manifests.conftest import Shop, shop

__all__ = ["shop"]
pytestmark = pytest.mark.usefixtures("database")
OK = Status.SUCCESS


def history(run_id: str = "manual__1") -> list[tuple[str, int, str | None, str]]:
    """Return the tries of a run."""
    with store.session() as session:
        rows = runs.get(session, run_id).results
        return [(row.stage, row.try_number, row.status, row.reason) for row in rows]


def events(run_id: str = "manual__1") -> list[str]:
    """Return what a run has said."""
    with store.session() as session:
        return [row.event for row in outbox.messages(session, run=runs.get(session, run_id).id)]


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"rev": "HEAD~1"}, "'HEAD~1' is not a revision: give 7 to 40 hex digits"),
        ({"repo": "../x"}, "the conf's repo is not valid"),
        ({"colour": "red"}, "unknown keys in conf: colour; allowed: conformance, gating, generate_image, message"),
        ({"rev": None}, "no rev: give repo and rev, or paste a message"),
        ({"rev": None, "message": "hello"}, "the message is not JSON"),
    ],
)
def test_a_conf_that_names_no_change_fails_with_a_sentence(
    context: Callable[..., Any], params: dict[str, str], sentence: str
) -> None:
    """The operator who triggered it by hand is told what is wrong, and nothing is retried."""
    operator = BuildPackageOperator()

    with pytest.raises(AirflowFailException, match=sentence):
        operator.execute(context(operator, **params))


@pytest.mark.parametrize("run_id", ["..", ".", ".hidden", "a/b", "x" * 251])
def test_a_run_id_that_is_no_folder_of_its_own_is_refused(context: Callable[..., Any], run_id: str) -> None:
    """Airflow takes some of these."""
    operator = BuildPackageOperator()

    with pytest.raises(AirflowFailException, match="cannot be the id of a run here"):
        operator.execute(context(operator, run_id=run_id))


def test_a_failure_of_the_package_is_final(context: Callable[..., Any], carried_out: Callable[..., Any]) -> None:
    """It is written down and announced before the task fails, and never tried again."""
    operator = BuildPackageOperator()
    carried_out(operator, report(BUILD_PACKAGE, Status.FAILURE, "%check failed", Fault.PACKAGE))

    with pytest.raises(AirflowFailException, match="FAILURE: %check failed"):
        operator.execute(context(operator))

    assert history() == [("build_package", 1, "FAILURE", "%check failed")]
    assert events() == ["package.running", "package.complete"]


def test_an_infrastructure_fault_is_tried_again_quietly(
    context: Callable[..., Any], carried_out: Callable[..., Any]
) -> None:
    """While tries are left nothing is announced; the last try's fault is."""
    operator = BuildPackageOperator()
    carried_out(operator, ExecutorError("the disk is full"))

    with pytest.raises(AirflowException, match="the disk is full") as first:
        operator.execute(context(operator, try_number=1))

    assert not isinstance(first.value, AirflowFailException)
    assert events() == ["package.running"]

    with pytest.raises(AirflowFailException, match="the disk is full"):
        operator.execute(context(operator, try_number=2))

    assert events() == ["package.running", "package.complete"]


def test_a_full_disk_of_our_own_is_told_and_tried_again(
    context: Callable[..., Any], carried_out: Callable[..., Any]
) -> None:
    """The folder of the try could not be made."""
    operator = BuildPackageOperator()
    carried_out(operator, OSError(errno.ENOSPC, "No space left on device", "/runs/x"))

    with pytest.raises(AirflowException, match="the disk is full: No space left on device: /runs/x; make room") as full:
        operator.execute(context(operator, try_number=1))

    assert not isinstance(full.value, AirflowFailException)


@pytest.mark.parametrize("how", ["ended from outside", "reported"])
def test_a_stage_over_its_time_is_never_tried_again(
    context: Callable[..., Any], carried_out: Callable[..., Any], how: str
) -> None:
    """Whoever noticed that it was."""
    operator = BuildPackageOperator()
    said = "the stage was ended: it used up its limit of 3 s (limits.seconds)"
    carried_out(operator, StageEnded(said) if how == "ended from outside" else aborted(said))

    with pytest.raises(AirflowFailException, match="ABORTED: the stage was ended: it used up"):
        operator.execute(context(operator, try_number=1))

    assert history() == [("build_package", 1, "ABORTED", said)]


def test_tries_are_bounded_and_wait_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 20 seconds to at most ten minutes; how many is a setting of the stage."""
    monkeypatch.setenv("CI_PIPELINE_STAGES__BUILD_PACKAGE__RETRIES", "3")
    settings.current.cache_clear()
    operator = BuildPackageOperator()

    assert (operator.retries, operator.retry_exponential_backoff) == (3, 2.0)
    assert (operator.retry_delay, operator.max_retry_delay) == (timedelta(seconds=20), timedelta(minutes=10))


def test_unstable_tests_stop_a_gating_package_only(
    context: Callable[..., Any], carried_out: Callable[..., Any], current: Settings
) -> None:
    """The task of an opt-in package stays green; its result does not."""
    unstable = report(FUNCTIONAL_TESTS, Status.UNSTABLE, "1 of 2 functional tests failed: smoke")
    for repo in ("greeter", "hostinfo"):
        play(current, new_run(repo), OK)
    operator = FunctionalTestsOperator()
    carried_out(operator, unstable)
    with pytest.raises(AirflowFailException, match="UNSTABLE: 1 of 2"):
        operator.execute(context(operator, run_id="rpms.greeter-35fdde9-f26-1"))
    operator.execute(context(operator, run_id="rpms.hostinfo-35fdde9-f26-2"))

    assert history("rpms.hostinfo-35fdde9-f26-2")[-1][2] == "UNSTABLE"


def test_a_request_holds_what_the_contract_says(context: Callable[..., Any], carried_out: Callable[..., Any]) -> None:
    """And what the operator adds on top."""
    operator = BuildPackageOperator(extra_vars={"mock_config": "f26"})
    executor = carried_out(operator, report(BUILD_PACKAGE))
    operator.execute(context(operator))
    request = executor.request

    assert request["dist_git_url"] == "https://src.fedoraproject.org/rpms/greeter.git"
    assert (request["ref"], request["dist"]) == ("fedora/f26/x86_64/atomic-host", ".fc26")
    assert request["package_link"].endswith("/fedora-atomic/f26/repo/greeter_repo")
    assert request["mock_config"] == "f26"
    assert not [key for key in request if "password" in key or "bus" in key]


def pruned(current: Settings) -> Run:
    """Return a run of a build that retention was through with."""
    run = new_run()
    play(current, run, OK, OK)
    with store.session() as session:
        row = runs.locked(session, run.id)
        row.status, row.ended_at = "SUCCESS", datetime(2026, 1, 1, tzinfo=UTC)
        kept.mark_pruned(session, datetime(2026, 2, 1, tzinfo=UTC))
    return run


def test_a_stage_of_a_pruned_run_says_from_where_to_clear_it(context: Callable[..., Any], current: Settings) -> None:
    """An infrastructure fault, and no playbook begins."""
    run, operator = pruned(current), FunctionalTestsOperator()
    with pytest.raises(AirflowFailException, match=r"was removed on .*; clear it from build_package"):
        operator.execute(context(operator, run_id=run.run_id, try_number=2))
    with store.session() as session:
        row = runs.latest_results(session, run.id)["functional_tests"]

    assert (row.status, row.fault) == ("FAILURE", "infrastructure")


def test_a_pruned_run_can_be_cleared_from_its_build(
    context: Callable[..., Any], carried_out: Callable[..., Any], current: Settings
) -> None:
    """What follows works on what is made anew."""
    run = pruned(current)
    for operator in (BuildPackageOperator(), FunctionalTestsOperator()):
        carried_out(operator, report(operator.stage))
        operator.execute(context(operator, run_id=run.run_id, try_number=2))
    with store.session() as session:
        row = runs.get(session, run.run_id)

    assert row.pruned_at is None
    assert [entry[:3] for entry in history(run.run_id)[2:]] == [
        ("build_package", 2, "SUCCESS"),
        ("functional_tests", 2, "SUCCESS"),
    ]


def test_a_stage_with_nothing_to_do_is_skipped_and_silent(
    context: Callable[..., Any], current: Settings, published: list[list[int]]
) -> None:
    """Conformance without a cluster: the task is skipped, the reason is stored, nothing goes out on the bus."""
    run = new_run()
    play(current, run, OK, OK, OK, OK, OK, OK)
    before = events(run.run_id)
    operator = ProvisionHostsOperator()
    of_run = context(operator, run_id=run.run_id)
    adopt(of_run)
    callbacks.announce_start(of_run)

    with pytest.raises(AirflowSkipException, match="no cluster"):
        operator.execute(of_run)

    assert [one[2] for one in history(run.run_id)[-4:]] == ["SKIPPED"] * 4
    assert events(run.run_id) == before


def test_no_image_is_made_before_it_is_due(context: Callable[..., Any], current: Settings) -> None:
    """And one is made at once when the conf says so."""
    good, next_run = new_run(), new_run(rev="1" * 40)
    play(current, good, OK, OK, OK, OK, OK, OK)
    play(current, next_run, OK, OK, OK, OK)
    when_due, always = GenerateImageOperator(), GenerateImageOperator(wanted="always")
    of_run = context(when_due, run_id=next_run.run_id)
    with store.session() as session:
        row = runs.get(session, next_run.run_id)
        reasons = [operator.skip_reason(session, row, of_run) for operator in (when_due, always)]

    assert reasons[0].startswith("no image is due before")
    assert reasons[1] == ""


def test_a_compose_waits_for_the_one_before_without_a_worker(context: Callable[..., Any], current: Settings) -> None:
    """It defers, and has said nothing yet."""
    first, second = new_run(), new_run(rev="1" * 40)
    for run in (first, second):
        play(current, run, OK, OK)
    with store.session() as session:
        leases.acquire(session, name=leases.compose_of("f26"), run=first.id)
    operator = ComposeOstreeOperator()

    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context(operator, run_id=second.run_id))

    assert deferred.value.trigger.name == "compose f26"
    assert COMPOSE_OSTREE.running not in events(second.run_id)


def test_a_task_that_is_ended_ends_its_playbook(carried_out: Callable[..., Any]) -> None:
    """Nothing of a dead task goes on."""
    operator = BuildPackageOperator()
    executor = carried_out(operator, report(BUILD_PACKAGE))
    operator.on_kill()

    assert executor.cancelled


def test_the_callbacks_announce_and_publish(
    context: Callable[..., Any], carried_out: Callable[..., Any], published: list[list[int]]
) -> None:
    """The start before the work, the end after it."""
    operator = BuildPackageOperator()
    carried_out(operator, report(BUILD_PACKAGE))
    of_run = context(operator)
    adopt(of_run)
    callbacks.announce_start(of_run)
    at_start = events()
    operator.execute(of_run)
    callbacks.announce_end(of_run)

    assert at_start == ["package.running"]
    assert events()[:2] == ["package.running", "package.complete"]
    assert len(published) == 2


def test_a_bug_in_an_operator_is_still_announced(context: Callable[..., Any], published: list[list[int]]) -> None:
    """The failure callback writes down what the operator could not."""
    operator = BuildPackageOperator()
    of_run = context(operator) | {"exception": ValueError("a bug")}
    adopt(of_run)
    callbacks.announce_start(of_run)
    callbacks.announce_failure(of_run)

    assert history() == [("build_package", 1, "FAILURE", "the task ended in an error: a bug")]
    assert events() == ["package.running", "package.complete"]


def test_the_failure_callback_does_not_overrule_the_operator(
    context: Callable[..., Any], carried_out: Callable[..., Any], published: list[list[int]]
) -> None:
    """What the operator wrote stands."""
    operator = BuildPackageOperator()
    carried_out(operator, report(BUILD_PACKAGE, Status.FAILURE, "%check failed", Fault.PACKAGE))
    of_run = context(operator)
    with pytest.raises(AirflowFailException):
        operator.execute(of_run)
    callbacks.announce_failure(of_run | {"exception": AirflowFailException("x")})

    assert history() == [("build_package", 1, "FAILURE", "%check failed")]
    assert events().count("package.complete") == 1


def test_complete_sums_the_run_up(context: Callable[..., Any], current: Settings) -> None:
    """Whatever the stages left behind."""
    run = new_run()
    play(current, run, Status.FAILURE)
    operator = CompleteOperator()
    operator.execute(context(operator, run_id=run.run_id))

    assert events(run.run_id)[-1] == "complete"


def test_complete_is_said_before_airflow_is_told(
    context: Callable[..., Any], current: Settings, published: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the message does not wait for the run's note."""
    run = new_run()
    play(current, run, Status.FAILURE)
    noted: list[list[list[int]]] = []
    monkeypatch.setattr(notes, "write", lambda *_: noted.append(list(published)))
    operator = CompleteOperator()
    operator.execute(context(operator, run_id=run.run_id))

    assert noted == [[[run.id]]]


@pytest.mark.parametrize("key", ["", "/nonexistent/key.pem"])
def test_complete_writes_what_goes_with_a_validated_image(
    context: Callable[..., Any],
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    key: str,
) -> None:
    """Or says what keeps it from that; the run's `complete` is said in any case."""
    monkeypatch.setenv("CI_PIPELINE_PROVENANCE__KEY", key)
    settings.current.cache_clear()
    run = new_run()
    shop.play(run, *[Status.SUCCESS] * 6)
    shop.skip(run, PROVISION_HOSTS, "no cluster")
    operator = CompleteOperator()
    with caplog.at_level(logging.WARNING):
        operator.execute(context(operator, run_id=run.run_id))

    assert events(run.run_id)[-1] == "complete"
    assert shop.manifest.exists() == (key == "")
    assert ("provenance.key /nonexistent/key.pem cannot be read" in caplog.text) == (key != "")


def test_complete_of_a_run_without_a_change_has_nothing_to_say(context: Callable[..., Any]) -> None:
    """A run that was triggered with a wrong conf."""
    operator = CompleteOperator()

    with pytest.raises(AirflowSkipException, match="never named a change"):
        operator.execute(context(operator, rev="HEAD"))


@pytest.fixture
def backfilled(context: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """A context of a run that a backfill made: its partition key names the change, its conf nothing."""

    def make(task: object, key: str = f"rpms/greeter@{REV}", **conf: str | None) -> dict[str, Any]:
        fields = {"repo": None, "rev": None, **conf}
        return context(task, run_id="backfill__1", partition_key=key, **fields)

    return make


def test_a_backfills_run_finds_its_change_by_its_partition_key(
    backfilled: Callable[..., Any], carried_out: Callable[..., Any]
) -> None:
    """It is a side run from its first stage on."""
    operator = BuildPackageOperator()
    executor = carried_out(operator, report(BUILD_PACKAGE))
    operator.execute(backfilled(operator))
    with store.session() as session:
        run = runs.get(session, "backfill__1")

    assert (run.repo, run.rev, run.branch, run.kind) == ("greeter", REV, "f26", "backfill")
    assert executor.request["promote"] is False


def test_a_run_by_hand_with_a_partition_key_is_no_side_run(
    context: Callable[..., Any], carried_out: Callable[..., Any]
) -> None:
    """Only a backfill is."""
    operator = BuildPackageOperator()
    carried_out(operator, report(BUILD_PACKAGE))
    operator.execute(context(operator, partition_key=f"rpms/greeter@{REV}", repo=None, rev=None))
    with store.session() as session:
        assert runs.get(session, "manual__1").kind == "manual"


@pytest.mark.parametrize("key", ["", REV, f"rpms/../x@{REV}", f"rpms/greeter@{REV}\n", f"rpms/$(id)@{REV}"])
def test_a_partition_key_that_names_no_change_fails_with_a_sentence(backfilled: Callable[..., Any], key: str) -> None:
    """Airflow takes what it cannot decode, of some DAGs; nothing of it reaches a path or a tool."""
    operator = BuildPackageOperator()

    with pytest.raises(AirflowFailException, match="this run has nothing to do: "):
        operator.execute(backfilled(operator, key))


def test_a_conf_that_contradicts_the_partition_key_is_refused(backfilled: Callable[..., Any]) -> None:
    """One of the two is meant, and nobody knows which."""
    operator = BuildPackageOperator()

    with pytest.raises(AirflowFailException, match="conf names hostinfo None, and the partition key rpms/greeter@"):
        operator.execute(backfilled(operator, repo="hostinfo"))


def test_no_image_is_made_of_a_side_run_even_when_one_is_asked_for(
    backfilled: Callable[..., Any], carried_out: Callable[..., Any], current: Settings
) -> None:
    """The reason is in the results, of the stages behind it too."""
    build = BuildPackageOperator()
    carried_out(build, report(BUILD_PACKAGE))
    build.execute(backfilled(build))
    with store.session() as session:
        run = runs.get(session, "backfill__1")
    play(current, run, OK, OK, OK, first=1)
    operator = GenerateImageOperator(wanted="always")
    with pytest.raises(AirflowSkipException, match="a backfill's compose is never promoted, so no image is made"):
        operator.execute(backfilled(operator))

    assert [status for _, _, status, _ in history("backfill__1")] == [*["SUCCESS"] * 4, *["SKIPPED"] * 6]
