"""A decision that changes is published once, whatever is repeated and whoever crashes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, select

from ci_pipeline import store
from ci_pipeline.gating import announcing
from ci_pipeline.journal import Journal
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, FUNCTIONAL_TESTS
from ci_pipeline.store import database, outbox, runs
from ci_pipeline.store.downstream_tables import Decision
from ci_pipeline.store.tables import Run
from tests.gating.makers import FUNCTIONAL, GATE, NVR, PRODUCT, SPEC_NVR, decided, finish, told, types_of, waive
from tests.makers import COMPOSE_REV, REV, change, new_run, play, report

pytestmark = pytest.mark.usefixtures("database")

GOOD = [Status.SUCCESS] * 4
UPDATE = "decision.update"


def summaries(subject_type: str = "koji_build") -> list[str]:
    """Return the summaries of the decisions that were announced, in order."""
    return [row.body["summary"] for row in told(UPDATE) if row.body["subject_type"] == subject_type]


def again(settings: Settings, run: Run) -> None:
    """Let everything be considered once more."""
    with store.session() as session:
        announcing.reconsider(session, settings, runs.locked(session, run.id))


def test_without_a_policy_nothing_is_asked_and_nothing_is_said(current: Settings) -> None:
    """Whoever does not gate pays nothing for it."""
    run = new_run()
    play(current, run, *GOOD)

    assert asked(current, run) == []
    assert told() == []


def test_a_happening_asks_a_fixed_number_of_questions(gated: Settings) -> None:
    """Whatever else there is, and however many gates: the tries, the lock, the newest run, waivers, and decisions."""
    run = new_run()
    play(gated, run, *GOOD)
    once = asked(gated, run)
    for number in range(5):
        play(gated, new_run("hostinfo", rev=f"{number}" * 40), *GOOD)
        waive(gated, "hostinfo-1-1.fc26", why=str(number))
    contexts = [f"gate-{number}" for number in range(10)]
    more = [one.model_copy(update={"decision_contexts": [*one.decision_contexts, *contexts]}) for one in gated.policies]
    many = gated.model_copy(update={"policies": more})
    again(many, run)

    assert len(once) == 5
    assert len(asked(many, run)) == 5


def test_a_waiver_beside_the_end_of_a_stage_counts_whoever_comes_first(gated: Settings) -> None:
    """Neither transaction sees what the other has not committed, so one waits for the other."""
    run = new_run()
    play(gated, run, Status.SUCCESS)
    with store.session() as session:
        Journal(session, gated).begin_stage(runs.locked(session, run.id), FUNCTIONAL_TESTS, 1)
    failed = report(FUNCTIONAL_TESTS, Status.UNSTABLE)
    with ThreadPoolExecutor() as pool:
        with store.session() as session:
            Journal(session, gated).finish_stage(runs.locked(session, run.id), FUNCTIONAL_TESTS, 1, failed, final=True)
            beside = pool.submit(waive, gated)
            with pytest.raises(TimeoutError):
                beside.result(timeout=0.5)
        beside.result(timeout=30)

    assert types_of(decided(gated))["package.test.functional"] == "failed-waived"
    assert told(UPDATE)[-1].body["summary"] == decided(gated).summary


def asked(settings: Settings, run: Run) -> list[str]:
    """Return the statements that one more look at a run sends."""
    statements: list[str] = []

    def keep(_connection: object, _cursor: object, statement: str, *_: Any) -> None:
        statements.append(statement)

    engine = database.engine(settings.database.url.get_secret_value())
    with store.session() as session:
        row = runs.locked(session, run.id)
        event.listen(engine, "before_cursor_execute", keep)
        announcing.reconsider(session, settings, row)
        event.remove(engine, "before_cursor_execute", keep)
    return statements


def test_a_branch_no_policy_is_for_is_not_decided_about(gated: Settings) -> None:
    """The policies are for fedora-26, and this is rawhide."""
    play(gated, new_run(branch="rawhide"), *GOOD)

    assert told() == []


def test_each_change_of_a_decision_is_said_with_the_one_before(gated: Settings) -> None:
    """From the first result on, until everything is there."""
    run = new_run()
    play(gated, run, *GOOD)
    finish(gated, run)

    first, second, third = (row.body for row in told(UPDATE) if row.body["subject_type"] == "koji_build")
    assert first["summary"] == "2 of 3 required tests did not pass: 2 missing"
    assert first["previous"] is None
    assert (second["summary"], third["summary"]) == (
        "1 of 3 required tests did not pass: 1 missing",
        "All required tests passed",
    )
    assert [second["previous"]["summary"], third["previous"]["policies_satisfied"]] == [first["summary"], False]
    assert (third["subject_identifier"], third["product_version"], third["decision_context"]) == (
        SPEC_NVR,
        PRODUCT,
        GATE,
    )
    assert third["policies_satisfied"]
    assert third["unsatisfied_requirements"] == []
    assert third["previous"]["unsatisfied_requirements"][0]["type"].startswith("test-result-")
    assert summaries("compose") == [
        "1 of 2 required tests did not pass: 1 missing",
        "All required tests passed",
    ]


def test_what_is_stored_is_what_was_said_last(gated: Settings) -> None:
    """A decision for each gate, and the whole answer with it."""
    play(gated, new_run(), *GOOD)
    with store.session() as session:
        rows = session.scalars(select(Decision).order_by(Decision.subject_type)).all()

    assert [(row.subject_identifier, row.decision_context, row.policies_satisfied, row.number) for row in rows] == [
        (COMPOSE_REV, "release", True, 2),
        (SPEC_NVR, GATE, True, 3),
    ]
    assert rows[1].answer == decided(gated).model_dump(mode="json")


def test_repetition_says_nothing_more(gated: Settings) -> None:
    """A callback says again what the operator said; the reconciler looks again."""
    run = new_run()
    play(gated, run, *GOOD)
    before = [row.id for row in told()]
    for _ in range(3):
        again(gated, run)
    finish(gated, run)
    finish(gated, run)

    assert [row.id for row in told()] == before


def test_a_crash_before_the_commit_says_nothing_and_the_next_try_says_it_once(gated: Settings) -> None:
    """The decision, the result and the message are one transaction."""
    run = new_run()
    play(gated, run, Status.SUCCESS)
    before = len(told())
    with store.session() as session:
        Journal(session, gated).begin_stage(runs.locked(session, run.id), FUNCTIONAL_TESTS, 1)

    def end(session: Any) -> None:
        row = runs.locked(session, run.id)
        Journal(session, gated).finish_stage(row, FUNCTIONAL_TESTS, 1, report(FUNCTIONAL_TESTS), final=True)

    def end_and_crash(session: Any) -> None:
        end(session)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.transact(end_and_crash)
    after_the_crash = len(told())
    for _ in range(2):
        store.transact(end)

    assert (before, after_the_crash, len(told())) == (1, 1, 2)


def test_a_stage_that_begins_is_no_news(gated: Settings) -> None:
    """Its result is missing until it is there."""
    run = new_run()
    play(gated, run, Status.SUCCESS)
    with store.session() as session:
        Journal(session, gated).begin_stage(runs.locked(session, run.id), FUNCTIONAL_TESTS, 1)

    assert len(told()) == 1
    assert decided(gated).unsatisfied_requirements[0]["type"] == "test-result-incomplete"


def test_a_run_that_begins_anew_takes_its_decision_back(gated: Settings) -> None:
    """What was satisfied is not, until it has passed once more; and then it is said again."""
    run = new_run()
    play(gated, run, *GOOD)
    with store.session() as session:
        Journal(session, gated).begin_stage(runs.locked(session, run.id), BUILD_PACKAGE, 2)

    assert not decided(gated, NVR).policies_satisfied
    assert told(UPDATE)[-1].body["policies_satisfied"] is False


def test_the_end_of_an_older_run_changes_nothing_of_a_newer_ones_decision(gated: Settings) -> None:
    """Two commits with the same spec NVR: the newest decides."""
    older, newer = new_run(), new_run(rev="a" * 40)
    play(gated, older, Status.SUCCESS)
    play(gated, newer, *GOOD)
    before = len(summaries())
    play(gated, older, Status.FAILURE, first=1)
    finish(gated, older)

    assert len(summaries()) == before
    assert decided(gated).policies_satisfied


def test_a_side_run_decides_nothing(gated: Settings) -> None:
    """It tries a past revision, on today's branch."""
    with store.session() as session:
        run = runs.create(session, change(), kind=Kind.BACKFILL)
    play(gated, run, *GOOD)

    assert told() == []
    assert decided(gated).summary == "3 of 3 required tests did not pass: 3 missing"


def test_a_waiver_is_announced_and_the_decision_it_changes_after_it(gated: Settings) -> None:
    """Each once, on the run's own line of messages."""
    run = new_run()
    play(gated, run, Status.SUCCESS, Status.UNSTABLE)
    finish(gated, run)
    before = len(told())
    given = waive(gated)
    waive(gated)
    waiver, update = told()[before:]

    assert (waiver.event, waiver.topic, waiver.run_id) == (
        "waiver.new",
        "org.centos.prod.ci.pipeline.waiver.new",
        run.id,
    )
    assert waiver.body == given.model_dump(mode="json")
    assert (update.event, update.run_id) == (UPDATE, run.id)
    assert update.topic == "org.centos.prod.ci.pipeline.decision.update"
    assert update.body["summary"] == "1 of 3 required tests did not pass: 1 missing"
    assert FUNCTIONAL in [one["testcase"] for one in update.body["satisfied_requirements"]]


def test_a_waiver_before_there_is_a_run_counts_when_there_is_one(gated: Settings) -> None:
    """It is announced at once, of no run; the decision comes with the first result."""
    waive(gated)
    play(gated, new_run(rev=REV), Status.SUCCESS)

    waiver, update = told()
    assert (waiver.event, waiver.run_id) == ("waiver.new", None)
    assert update.body["summary"] == "1 of 3 required tests did not pass: 1 missing"


def test_a_waiver_changes_nothing_of_the_run(gated: Settings) -> None:
    """It stopped already, and stays as it ended."""
    run = new_run()
    play(gated, run, Status.SUCCESS, Status.UNSTABLE)
    finish(gated, run)
    waive(gated)
    with store.session() as session:
        row = runs.get(session, "f26/1")
        ours = [one for one in outbox.messages(session, run=run.id) if one.contract == outbox.OURS]

    assert row.status == Status.UNSTABLE
    assert [one.event for one in ours][-1] == "complete"
