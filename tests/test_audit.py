"""The audit: every way to lose or invent something is found, and a healthy pipeline has nothing to answer for."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, text, update

from ci_pipeline import audit, store
from ci_pipeline.audit import Audit
from ci_pipeline.intake import Intake
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Inbound, Outbox, Run, Unannounced
from tests.buses import publish_by
from tests.makers import REV, change, play, pushed, received

pytestmark = pytest.mark.usefixtures("database")

OK = Status.SUCCESS


def take_up(settings: Settings, *, rev: str = REV) -> Run:
    """Let the intake take up a push; return its run."""
    Intake(settings, trigger_run_id="x").record([pushed(rev=rev)])
    with store.session() as session:
        return runs.recent(session, limit=1)[0]


def end(settings: Settings, run: Run) -> None:
    """End a run."""
    with store.session() as session:
        Journal(session, settings).finish_run(runs.locked(session, run.id))


def ended(settings: Settings) -> Run:
    """Return a run that built its package and ended, and whose messages are out."""
    run = take_up(settings)
    play(settings, run, OK)
    end(settings, run)
    publish()
    return run


def publish() -> None:
    """Let a bus take everything."""
    publish_by()


def offences(done: Audit) -> list[tuple[str, str, str]]:
    """Return the findings as tuples."""
    return [(found.check, found.what, found.sentence) for found in done.findings]


def found_after(*statements: object) -> list[tuple[str, str, str]]:
    """Break the database; return what the audit finds then."""
    with store.session() as session:
        for statement in statements:
            session.execute(statement)  # type: ignore[call-overload]
    return offences(audit.audit())


def test_a_message_nobody_decided_about_is_found() -> None:
    """An intake that wrote a row and no decision has lost a push."""
    columns = {"topic": "t", "message_id": "m", "digest": "", "body": "", "state": "received"}
    with store.session() as session:
        session.add(Inbound(**columns))

    assert found_after() == [("undecided", "message 1", "it was received and nothing was decided")]


@pytest.mark.parametrize(("package", "state"), [("greeter", "queued"), ("polari", "ignored")])
def test_a_decision_that_was_never_said_is_found(current: Settings, package: str, state: str) -> None:
    """Its packager waits for an answer."""
    Intake(current, trigger_run_id="x").record([pushed(package)])

    assert offences(audit.audit()) == []
    assert found_after(delete(Outbox), delete(Unannounced)) == [
        ("unannounced", "message 1", f"it is {state}, and that was never announced")
    ]


def test_a_queued_change_whose_run_is_gone_is_found(current: Settings) -> None:
    """Deleting a run leaves the message that asked for it."""
    take_up(current)
    publish()

    assert found_after(delete(Run)) == [("queued without run", "message 1", "it has no run")]


def test_a_queued_change_that_was_given_the_run_of_another_is_found(current: Settings) -> None:
    """One run cannot stand for two changes."""
    run = take_up(current)
    publish()
    with store.session() as session:
        other = runs.create(session, change("hostinfo"))

    assert found_after(update(Inbound).where(Inbound.run == run.id).values(run=other.id)) == [
        ("queued without run", "message 1", "it has the run f26/2, which is of another change")
    ]


def test_a_superseded_change_that_was_never_announced_as_ended_is_found(current: Settings) -> None:
    """Superseding a change and forgetting its run loses it."""
    take_up(current)
    publish()

    assert found_after(update(Inbound).values(state="superseded")) == [
        ("superseded without end", "message 1", "it is superseded, but its run f26/1 has never said complete")
    ]


def test_a_run_that_ended_without_a_word_is_found(current: Settings) -> None:
    """This is what the original did when a stage failed."""
    take_up(current)
    publish()

    assert found_after(update(Run).values(status="FAILURE")) == [
        ("ended without complete", "run f26/1", "it ended FAILURE, but it never said complete")
    ]


def test_a_complete_that_says_something_else_is_found(current: Settings) -> None:
    """The last word has to be the truth."""
    ended(current)

    assert found_after(update(Run).values(status="SUCCESS")) == [
        ("ended without complete", "run f26/1", "it ended SUCCESS, but its last complete says ABORTED")
    ]


def test_a_running_without_its_complete_is_found_once_the_run_has_ended(current: Settings) -> None:
    """While the run goes on, the stage may still speak."""
    run = take_up(current)
    with store.session() as session:
        Journal(session, current).begin_stage(runs.locked(session, run.id), BUILD_PACKAGE, 1)
    publish()

    assert found_after() == []

    end(current, run)
    publish()

    assert found_after(delete(Outbox).where(Outbox.event == BUILD_PACKAGE.complete)) == [
        (
            "stages out of step",
            "run f26/1",
            "package.running is not followed by its complete, and the run has ended",
        )
    ]


def test_a_complete_without_its_running_is_found(current: Settings) -> None:
    """Nothing ends that has not begun."""
    ended(current)

    assert found_after(delete(Outbox).where(Outbox.event == BUILD_PACKAGE.running)) == [
        ("stages out of step", "run f26/1", "package.complete is said without a running before it")
    ]


def test_a_stage_that_begins_twice_is_found(current: Settings) -> None:
    """A second `running` needs a `complete` between."""
    ended(current)

    assert found_after(
        update(Outbox).where(Outbox.event == BUILD_PACKAGE.complete).values(event=BUILD_PACKAGE.running)
    ) == [("stages out of step", "run f26/1", "package.running is said again before its complete")]


def test_a_stage_that_ends_after_its_run_is_found(current: Settings) -> None:
    """Even when the run then runs again, and ends well: the first pass was told wrong."""
    run = ended(current)
    # package.complete and complete change places; then the stage is cleared and runs again.
    swap = "UPDATE outbox SET sequence = sequence + :by WHERE event = :event"
    with store.session() as session:
        session.execute(text(swap), {"by": 1000, "event": BUILD_PACKAGE.complete})
    play(current, run, OK, try_number=2)
    end(current, run)
    with store.session() as session:
        session.execute(text("UPDATE outbox SET sequence = sequence + 2000 WHERE published_at IS NULL"))
        session.execute(text("UPDATE outbox SET published_at = now()"))

    assert ("stages out of step", "run f26/1", "package.complete is said without a running before it") in found_after()


def test_a_run_that_speaks_after_its_complete_is_found(current: Settings) -> None:
    """`complete` is the last word of a run that has ended."""
    run = ended(current)
    play(current, run, OK, try_number=2)
    publish()

    assert found_after(update(Run).values(status="ABORTED")) == [
        ("complete not last", "run f26/1", "it has ended, and package.complete is its last word")
    ]


def test_a_run_that_says_complete_twice_is_found(current: Settings) -> None:
    """Once per run; again only after it ran again."""
    run = ended(current)
    with store.session() as session:
        runs.locked(session, run.id).status = None
    end(current, run)
    publish()

    assert found_after() == [("complete not last", "run f26/1", "complete is said twice for one pass")]


def test_what_the_bus_refused_is_found_until_it_is_out(current: Settings) -> None:
    """A parked message is an operator's task."""
    run = ended(current)
    with store.session() as session:
        (row,) = [row for row in outbox.messages(session, run=run.id) if row.event == "complete"]
    parked = update(Outbox).where(Outbox.id == row.id)

    assert found_after(parked.values(parked_at=row.created_at, published_at=None, error="not allowed")) == [
        ("parked", f"outbox {row.id}", f"the bus refused {row.topic}: not allowed")
    ]
    assert found_after(parked.values(parked_at=None)) == []

    publish()

    assert found_after() == []


def test_messages_of_a_run_that_went_out_in_another_order_are_found(current: Settings) -> None:
    """Also when the older one is not out at all."""
    ended(current)
    running = update(Outbox).where(Outbox.event == BUILD_PACKAGE.running)
    late = ("published out of order", "run f26/1", "package.complete went out before package.running, which is older")

    assert found_after(running.values(published_at=text("now() + interval '1 minute'"))) == [late]
    assert found_after(running.values(published_at=None)) == [late]


def test_what_waits_for_too_long_is_found(current: Settings) -> None:
    """Everything that is to be said is out after the time given."""
    take_up(current)
    with store.session() as session:
        (row,) = outbox.messages(session)

    assert offences(audit.audit()) == []

    with store.session() as session:
        session.execute(update(Outbox).values(created_at=text("now() - interval '61 seconds'")))
    (found,) = audit.audit().findings

    assert (found.check, found.what) == ("waiting too long", f"outbox {row.id}")


def test_what_is_ignored_and_waits_too_long_to_be_announced_is_found(current: Settings) -> None:
    """It is said in time, too, although nobody waits for it."""
    Intake(current, trigger_run_id="x").record([pushed("polari"), pushed("gnome-maps")])
    with store.session() as session:
        session.execute(update(Unannounced).values(created_at=text("now() - interval '61 seconds'")))

    found = [(one.check, one.what) for one in audit.audit().findings]

    assert found == [("waiting too long", "message 1"), ("waiting too long", "message 2")]
    assert audit.audit(patience=timedelta(minutes=5)).findings == ()


def test_an_empty_database_is_accounted_for() -> None:
    """Nothing arrived, nothing is missing."""
    done = audit.audit()

    assert done.findings == ()
    assert done.summary == "0 messages: none; 0 runs (0 going on), 0 completes; all accounted for"


def test_a_healthy_pipeline_has_nothing_to_answer_for(current: Settings) -> None:
    """Ended, failed, superseded, cleared and running runs; ignored, repeated and unreadable messages."""
    good = take_up(current, rev="1" * 40)
    play(current, good, OK, OK, OK, OK, OK, OK, OK)
    end(current, good)
    play(current, good, Status.FAILURE, try_number=2)
    end(current, good)
    take_up(current, rev="2" * 40)
    going_on = take_up(current, rev="3" * 40)
    play(current, going_on, OK)
    Intake(current, trigger_run_id="x").record([pushed("polari"), pushed(rev="3" * 40), received(b"{")])
    publish()
    done = audit.audit()

    assert done.findings == ()
    assert done.summary == (
        "6 messages: 1 dead, 1 duplicate, 1 ignored, 2 queued, 1 superseded; "
        "3 runs (1 going on), 3 completes; all accounted for"
    )
