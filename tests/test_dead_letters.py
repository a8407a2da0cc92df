"""Dead letters and parked messages: kept whole, shown, and tried again when what was wrong is put right."""

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from ci_pipeline import audit, dead_letters, store
from ci_pipeline.bus import inbound
from ci_pipeline.dead_letters import Letter
from ci_pipeline.errors import ChangeError, StoreError
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.ledger import Received
from ci_pipeline.store.tables import Inbound, Outbox
from tests.buses import all_said, publish_by
from tests.makers import REV, pushed, received

pytestmark = pytest.mark.usefixtures("database")


def take_up(settings: Settings, *messages: Received) -> None:
    """Let the intake take up a batch."""
    Intake(settings, trigger_run_id="x").record(messages)


def misread(settings: Settings, *messages: Received) -> None:
    """Let an intake that does not know the format yet take up a batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbound, "read", _refuse)
        take_up(settings, *messages)


def _refuse(*_: object, **__: object) -> None:
    raise ChangeError("not a format the pipeline reads")


def row(number: int = 1) -> Inbound:
    """Return a row of the ledger."""
    with store.session() as session:
        return session.get_one(Inbound, number)


def said() -> list[str]:
    """Return what is said or to be said, in order."""
    return [message.event for message in all_said()]


def letters() -> list[Letter]:
    """Return what needs a human."""
    with store.session() as session:
        return dead_letters.listed(session, limit=20)


def park(settings: Settings) -> Outbox:
    """Take up a push whose announcement the bus refuses; return it."""
    take_up(settings, pushed())
    parked = update(Outbox).values(parked_at=datetime(2026, 11, 1, tzinfo=UTC), error="not allowed on this topic")
    with store.session() as session:
        session.execute(parked)
        return session.scalars(select(Outbox)).one()


@pytest.mark.parametrize(
    "letter",
    ["1", "77", "9" * 40, "-1", "\u0663", "", "x", "'; DROP TABLE run", "00000000-0000-0000-0000-000000000000"],
)
def test_what_is_no_letter_is_refused(current: Settings, letter: str) -> None:
    """Message 1 is there, and it is not dead."""
    take_up(current, pushed())

    with pytest.raises(StoreError, match="`ci-pipeline dead list` lists them"):
        dead_letters.replay(current, letter)

    assert row().state == "queued"


def test_a_message_that_was_cut_cannot_be_replayed(current: Settings) -> None:
    """What is kept of it may even read well, and mean something else."""
    take_up(current, received(b'{"a": "' + b"x" * 70_000))

    with pytest.raises(StoreError, match="message 1 cannot be replayed: it was longer than the 64 KiB that are kept"):
        dead_letters.replay(current, "1")

    assert row().state == "dead"


@pytest.mark.parametrize("raw", [b'{"repo": "caf\xe9"}', b'{"repo": "\x00"}'])
def test_a_message_that_was_not_text_cannot_be_replayed(current: Settings, raw: bytes) -> None:
    """It is kept in an escaped form."""
    take_up(current, received(raw))

    with pytest.raises(StoreError, match="message 1 cannot be replayed: it was not UTF-8 text"):
        dead_letters.replay(current, "1")


def test_a_letter_that_still_cannot_be_read_stays_dead_with_the_new_reason(current: Settings) -> None:
    """The reason is today's, and nothing is said."""
    misread(current, received({"commit": 7}))

    told = dead_letters.replay(current, "1")

    assert told == "message 1 is still dead: the message's commit is not a JSON object"
    assert (row().state, row().reason) == ("dead", "the message's commit is not a JSON object")
    assert said() == []


def test_a_letter_that_can_be_read_is_queued_on_its_own_row(current: Settings) -> None:
    """It has a run, it is announced, and it is dead no more."""
    misread(current, pushed())

    assert dead_letters.replay(current, "1") == "message 1 is queued"
    assert (row().state, row().reason, row().repo, row().rev) == ("queued", "", "greeter", REV)

    with store.session() as session:
        (run,) = runs.not_fired(session)
        (message,) = outbox.messages(session)

    assert row().run == run.id
    assert (message.event, message.run_id, message.inbound_id) == ("package.queued", run.id, 1)
    assert message.body["build_url"] == f"{current.airflow.url}/dags/ci-pipeline-trigger/runs/"
    assert letters() == []
    assert audit.audit().findings == ()


def test_a_letter_is_replayed_once(current: Settings) -> None:
    """The second time it is no dead letter."""
    misread(current, pushed())
    dead_letters.replay(current, "1")

    with pytest.raises(StoreError, match="no dead letter"):
        dead_letters.replay(current, "1")

    assert said() == ["package.queued"]


def test_a_letter_about_a_package_that_is_not_watched_is_ignored(current: Settings) -> None:
    """And that is announced."""
    misread(current, pushed("polari"))

    told = dead_letters.replay(current, "1")

    assert told == "message 1 is ignored: package polari is not watched (packages.monitored)"
    assert said() == ["package.ignore"]


def test_a_letter_whose_change_came_again_is_a_duplicate(current: Settings) -> None:
    """It has its run already."""
    misread(current, pushed())
    take_up(current, pushed())

    assert dead_letters.replay(current, "1") == "message 1 is duplicate: the same change was queued by message 2"
    assert said() == ["package.queued"]


@pytest.mark.parametrize(("letter", "older"), [("1", ["queued", "queued"]), ("2", ["superseded", "queued"])])
def test_a_letter_supersedes_only_what_came_before_it(current: Settings, letter: str, older: list[str]) -> None:
    """A push that was read late is not the newer one."""
    first, second = pushed(rev="1" * 40), pushed(rev="2" * 40)
    for number, message in enumerate((first, second), 1):
        (misread if str(number) == letter else take_up)(current, message)
    dead_letters.replay(current, letter)

    assert [row(1).state, row(2).state] == older


def test_a_parked_message_goes_out_with_the_next_publishing(current: Settings) -> None:
    """Not before, and without another look at the broker's permissions."""
    message = park(current)
    heard: list[str] = []
    publish_by(lambda one: heard.append(one.event))

    assert heard == []

    told = dead_letters.replay(current, str(message.id))
    publish_by(lambda one: heard.append(one.event))

    assert told == f"message {message.id} goes out on {message.topic} with the next publishing"
    assert heard == ["package.queued"]
    assert audit.audit().findings == ()


def test_a_replayed_message_that_is_refused_again_is_parked_again(current: Settings) -> None:
    """With the reason of that time."""
    message = park(current)
    dead_letters.replay(current, str(message.id))
    with store.session() as session:
        session.execute(update(Outbox).values(parked_at=datetime.now(UTC), error="still not allowed"))

    assert [letter.reason for letter in letters()] == ["still not allowed"]


def test_both_kinds_are_listed_the_newest_first(current: Settings) -> None:
    """With what an operator needs to go on."""
    message = park(current)
    take_up(current, received(b"{", topic="a.topic"))
    dead, parked = letters()

    assert (dead.kind, dead.id, dead.topic) == ("dead letter", "2", "a.topic")
    assert dead.reason.startswith("the message is not JSON")
    assert (parked.kind, parked.id, parked.topic) == ("parked", str(message.id), message.topic)
    assert (parked.when, parked.reason) == (datetime(2026, 11, 1, tzinfo=UTC), "not allowed on this topic")


def test_the_whole_body_is_shown(current: Settings) -> None:
    """As it arrived, or as it is to go out."""
    message = park(current)
    take_up(current, received(b'{"x": 1'))
    with store.session() as session:
        dead, parked = (
            dead_letters.body_of(session, current, dead_letters.find(session, letter))
            for letter in ("2", str(message.id))
        )

    assert dead == '{"x": 1'
    assert json.loads(parked) == message.body
