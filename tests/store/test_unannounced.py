"""What is ignored: noted when it is decided, announced once and stored then, and never lost."""

import threading
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import select

from ci_pipeline import audit, publishing, store
from ci_pipeline.bus.publisher import Publisher
from ci_pipeline.errors import BusUnreachable, CiPipelineError, MessageRejected
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store import outbox
from ci_pipeline.store.tables import Outbox, Unannounced
from tests.buses import all_said
from tests.makers import pushed

pytestmark = pytest.mark.usefixtures("database")

Answer = CiPipelineError | None


class Bus:
    """A bus that answers as it is told, by the package a message is about."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.answer: Callable[[str], Answer] = lambda _: None

    def publish_all(self, messages: Sequence[object]) -> list[Answer]:
        answers = [self.answer(one.body["repo"]) for one in messages]
        self.heard += [
            (one.body["repo"], one._headers["ci_pipeline_id"])
            for one, answer in zip(messages, answers, strict=True)
            if answer is None
        ]
        return answers

    @property
    def packages(self) -> list[str]:
        """What it has heard of."""
        return [package for package, _ in self.heard]


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Bus:
    """What is published goes here."""
    made = Bus()
    monkeypatch.setattr(Publisher, "publish_all", lambda _, messages: made.publish_all(messages))
    return made


def ignore(settings: Settings, *packages: str) -> None:
    """Let pushes of packages nobody watches be recorded, in one batch."""
    Intake(settings, trigger_run_id="listening").record([pushed(package) for package in packages])


def stored() -> list[Outbox]:
    """Return what is stored of what was said."""
    with store.session() as session:
        return outbox.messages(session)


def pending() -> tuple[int, int]:
    """Return how many messages wait, and how many are parked."""
    with store.session() as session:
        return outbox.pending(session)


def test_it_waits_as_all_that_is_to_be_said(current: Settings, bus: Bus) -> None:
    """It is counted, and what will be said of it is known, before a row of the outbox is."""
    ignore(current, "polari", "gnome-maps")
    (first, second) = all_said()

    assert (pending(), stored()) == ((2, 0), [])
    assert [first.body["repo"], second.body["repo"]] == ["polari", "gnome-maps"]
    assert (first.event, first.inbound_id, first.published_at) == ("package.ignore", 1, None)
    assert first.body["build_url"].endswith("/dags/ci-pipeline-trigger/runs/listening")


def test_what_is_announced_is_what_was_known_before(current: Settings, bus: Bus) -> None:
    """In the same words and by the same id; then it is stored, as published, and none waits."""
    ignore(current, "polari", "gnome-maps")
    known = [(row.id, row.topic, row.body, row.created_at) for row in all_said()]
    published = publishing.publish(current)
    again = publishing.publish(current)

    assert (published, again, pending()) == (2, 0, (0, 0))
    assert [(row.id, row.topic, row.body, row.created_at) for row in stored()] == known
    assert all(row.published_at for row in stored())
    assert not audit.audit().findings


def test_what_is_of_runs_goes_first(current: Settings, bus: Bus) -> None:
    """However long what is ignored has waited."""
    ignore(current, "polari")
    Intake(current, trigger_run_id="x").record([pushed()])
    publishing.publish(current)

    assert bus.packages == ["greeter", "polari"]


def test_a_bus_that_goes_away_keeps_the_rest(current: Settings, bus: Bus) -> None:
    """What was confirmed is not said again; the rest goes out later, in its order."""
    ignore(current, "a", "b", "c")
    bus.answer = lambda package: BusUnreachable("away") if package == "b" else None
    with pytest.raises(BusUnreachable):
        publishing.publish(current)
    left = pending()
    bus.answer = lambda _: None
    publishing.publish(current)

    assert left == (1, 0)
    assert bus.packages == ["a", "c", "b"]
    assert not audit.audit().findings


def test_what_the_bus_refuses_is_parked(current: Settings, bus: Bus) -> None:
    """With the reason, as every message; it holds up nothing."""
    ignore(current, "a", "b")
    bus.answer = lambda package: MessageRejected("not allowed") if package == "a" else None
    publishing.publish(current)

    assert pending() == (0, 1)
    assert [(row.body["repo"], row.error, row.published_at is None) for row in stored()] == [
        ("a", "not allowed", True),
        ("b", "", False),
    ]


def test_a_crash_before_the_commit_says_it_again_by_the_same_id(
    current: Settings, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least once: who hears it twice can tell."""
    ignore(current, "polari")
    with monkeypatch.context() as crashing:
        crashing.setattr(outbox, "store_answered", _crash)
        with pytest.raises(KeyboardInterrupt):
            publishing.publish(current)
    waits = pending()
    publishing.publish(current)

    assert waits == (1, 0)
    assert bus.packages == ["polari", "polari"]
    assert len(set(bus.heard)) == 1
    assert not audit.audit().findings


def _crash(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_batch_that_is_not_committed_is_not_announced(current: Settings, bus: Bus) -> None:
    """Nothing is said before it is true."""
    with store.session() as session:
        Intake(current, trigger_run_id="x").take_up(session, [pushed("polari")])
        session.rollback()
    publishing.publish(current)

    assert (bus.heard, pending()) == ([], (0, 0))


def test_publishers_at_the_same_time_say_everything_once(current: Settings, bus: Bus) -> None:
    """The listener and the reconciler; batches larger than what is announced at a time among them."""
    packages = [f"p{number}" for number in range(450)]
    ignore(current, *packages[:300])
    ignore(current, *packages[300:])
    start = threading.Barrier(3)

    def publish() -> None:
        start.wait()
        publishing.publish(current)

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bus.packages == packages
    assert len(stored()) == len(packages)


def test_while_our_contract_is_off_it_is_kept_and_not_said(current: Settings, bus: Bus) -> None:
    """As everything else is that is withheld."""
    contracts = current.contracts.model_copy(update={"ci_pipeline": False})
    settings = current.model_copy(update={"contracts": contracts})
    ignore(settings, "polari")
    publishing.publish(settings)
    with store.session() as session:
        noted = session.scalars(select(Unannounced)).all()

    assert (bus.heard, noted, pending()) == ([], [], (0, 0))
    assert [(row.event, row.withheld) for row in stored()] == [("package.ignore", True)]
    assert not audit.audit().findings
