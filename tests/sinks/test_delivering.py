"""A sink that misbehaves loses nothing, gets nothing twice, and holds nobody else up."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from ci_pipeline import dead_letters, store
from ci_pipeline.errors import SettingsError
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import deliveries, runs
from ci_pipeline.store.downstream_tables import Delivery
from tests.makers import new_run, play, report
from tests.sinks.conftest import SERVERS, Downstream, Make
from tests.sinks.servers import ElasticServer

pytestmark = pytest.mark.usefixtures("database")

KINDS = tuple(SERVERS)
# A build and its tests: their ends are told.
TWO = (Status.SUCCESS, Status.SUCCESS)


def ran(hub: Downstream, *statuses: Status) -> list[str]:
    """Let a run go on, and return the ids of what the sink is to be told of it."""
    play(hub.settings, new_run(), *(statuses or TWO))
    return [str(row.id) for row in hub.rows]


@pytest.mark.parametrize("kind", KINDS)
def test_what_happened_is_delivered_once_and_in_order(downstream: Make, kind: str) -> None:
    """The second pass has nothing to do, and does not even connect."""
    hub = downstream(kind)
    told = ran(hub)
    first, asked = hub.deliver(), len(hub.server.asked)
    second = hub.deliver()

    assert hub.has == told
    assert (first.delivered, first.waiting, first.problem) == (2, 0, "")
    assert (second.delivered, len(hub.server.asked)) == (0, asked)
    assert [row.delivered_at is not None for row in hub.rows] == [True, True]


@pytest.mark.parametrize(
    "mood", ["silent", "cut", "cut-body", "401", "403", "404", "429", "502", "503", "302 Location=/"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sink_that_takes_nothing_now_is_waited_for(downstream: Make, kind: str, mood: str) -> None:
    """However often: nothing is parked, and all of it is there, once and in order, when the sink is well again."""
    hub = downstream(kind, attempts=1)
    told = ran(hub)
    hub.server.moods = [mood, mood, mood]
    passes = [hub.deliver() for _ in range(3)]
    waiting, last = hub.rows[0], hub.deliver()

    assert [(one.delivered, one.parked, one.waiting) for one in passes] == [(0, 0, 2)] * 3
    assert all(one.problem for one in passes)
    assert (waiting.attempts, waiting.failures, bool(waiting.answer)) == (3, 0, True)
    assert (last.delivered, last.waiting) == (2, 0)
    assert hub.has == told


@pytest.mark.parametrize("kind", ["resultsdb", "http"])
def test_an_answer_that_never_ends_is_read_up_to_a_limit(downstream: Make, kind: str) -> None:
    """What was taken was taken: the rest of the answer is nobody's business."""
    hub = downstream(kind, timeout_seconds=60)
    told = ran(hub)
    hub.server.moods = ["endless"]
    began = datetime.now(UTC)
    done = hub.deliver()

    assert datetime.now(UTC) - began < timedelta(seconds=30)
    assert (done.delivered, done.problem) == (2, "")
    assert hub.has == told


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_trickles_has_one_deadline(downstream: Make, kind: str) -> None:
    """For all of it, not for each byte; what was taken is not taken twice."""
    hub = downstream(kind, timeout_seconds=0.5)
    told = ran(hub)
    hub.server.moods = ["trickle"]
    began = datetime.now(UTC)
    done = hub.deliver()

    assert datetime.now(UTC) - began < timedelta(seconds=20)
    assert "no whole answer within 0.5 s" in done.problem
    assert hub.deliver().waiting == 0
    assert hub.has == told


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_tried_again_a_number_of_times_and_then_parked(downstream: Make, kind: str) -> None:
    """So that it blocks nobody: what is behind it is delivered."""
    hub = downstream(kind, attempts=2)
    told = ran(hub)
    # A bulk request that fails is tried again document by document; each kind meets two errors for the first delivery.
    bulk = ["500"] if kind == "elasticsearch" else []
    hub.server.moods = [*bulk, "500"]
    first = hub.deliver()
    hub.server.moods = [*bulk, "500"]
    second = hub.deliver()

    assert (first.parked, first.waiting) == (0, 2)
    assert (second.delivered, second.parked, second.waiting) == (1, 1, 0)
    assert hub.has == told[1:]
    assert "500" in hub.rows[0].answer


@pytest.mark.parametrize("mood", ["400", "409", "413", "422"])
@pytest.mark.parametrize("kind", ["resultsdb", "http"])
def test_what_is_refused_is_parked_with_the_answer(downstream: Make, kind: str, mood: str) -> None:
    """At once, and without the colours the server sent; the rest goes on."""
    hub = downstream(kind)
    told = ran(hub)
    hub.server.moods = [mood]
    done = hub.deliver()
    row = hub.rows[0]

    assert (done.delivered, done.parked, done.waiting, done.problem) == (1, 1, 0, "")
    assert hub.has == told[1:]
    assert f"it answered {mood} to POST {hub.server.url}" in row.answer
    assert row.answer.endswith(f"in a mood: {mood}")


def test_what_was_parked_is_listed_shown_and_replayed(downstream: Make) -> None:
    """Among what needs a human; it is delivered with the next pass."""
    hub = downstream("http")
    told = ran(hub)
    hub.server.moods = ["400"]
    hub.deliver()
    with store.session() as session:
        (letter,) = dead_letters.listed(session, limit=10)
        body = dead_letters.body_of(session, hub.settings, dead_letters.find(session, letter.id))
    sentence = dead_letters.replay(hub.settings, letter.id)
    done = hub.deliver(at_once=False)

    assert (letter.kind, letter.topic, letter.run) == ("parked delivery", "the-http: package.complete", "f26/1")
    assert "it answered 400" in letter.reason
    assert f'"id": "{told[0]}"' in body
    assert sentence == f"delivery {told[0]} goes to the-http with the next pass"
    assert (done.delivered, hub.has) == (1, [told[1], told[0]])


def test_a_parked_delivery_of_a_sink_that_is_gone_is_not_replayed(downstream: Make, current: Settings) -> None:
    """It would wait for ever."""
    hub = downstream("http")
    told = ran(hub)
    hub.server.moods = ["400"]
    hub.deliver()

    with pytest.raises(SettingsError, match="there is no sink 'the-http'"):
        dead_letters.replay(current, told[0])


def test_a_sink_is_left_alone_for_twice_as_long_each_time(downstream: Make) -> None:
    """Up to ten minutes; until then a pass does not ask it."""
    hub = downstream("http")
    ran(hub)
    hub.server.moods = ["503"] * 9
    waits = []
    for _ in range(9):
        hub.deliver()
        waits.append(round((hub.rows[0].next_try_at - datetime.now(UTC)).total_seconds() + 0.5))
    asked = len(hub.server.asked)
    quiet = hub.deliver(at_once=False)

    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert (quiet.problem, quiet.waiting, len(hub.server.asked)) == ("", 2, asked)


@pytest.mark.parametrize(("asked_for", "seconds"), [("120", 120), ("99999", 600), ("soon", 10), ("-1", 10)])
def test_a_sink_that_says_how_long_is_left_alone_that_long(downstream: Make, asked_for: str, seconds: int) -> None:
    """Within bounds, and if it is a number."""
    hub = downstream("http")
    ran(hub)
    hub.server.moods = [f"429 Retry_After={asked_for}"]
    hub.deliver()
    wait = hub.rows[0].next_try_at - datetime.now(UTC)

    assert abs(wait.total_seconds() - seconds) < 2


def test_a_sink_that_is_down_holds_up_no_other(downstream: Make) -> None:
    """Each has a queue of its own."""
    down = downstream("http", name="down")
    hub = downstream("resultsdb", beside=down)
    told = ran(hub)
    down.server.moods = ["503"]

    assert down.deliver().problem
    assert hub.deliver().delivered == 2
    assert hub.has == told


def test_two_passes_do_not_deliver_side_by_side(downstream: Make) -> None:
    """The second one leaves it to the first."""
    hub = downstream("http")
    ran(hub)
    with deliveries.turn(hub.name) as ours:
        done = hub.deliver()

    assert ours
    assert (done.busy, done.delivered) == (True, 0)
    assert not hub.server.asked
    assert hub.deliver().delivered == 2


def test_a_pass_that_died_behind_its_request_makes_no_second_result(downstream: Make) -> None:
    """What was under way is written down before it is sent: it is looked for before it is sent again."""
    hub = downstream("resultsdb")
    told = ran(hub)
    hub.deliver()
    with store.session() as session:
        session.execute(update(Delivery).values(delivered_at=None))

    assert hub.deliver().delivered == 2
    assert hub.has == told


def test_a_missing_secret_makes_the_sink_wait(downstream: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """And names the variable; nothing is sent unsigned."""
    hub = downstream("http")
    ran(hub)
    monkeypatch.delenv("SINK_SECRET")
    done = hub.deliver()

    assert "the environment variable SINK_SECRET (secret_env of the sink the-http) is not set" in done.problem
    assert (done.parked, done.waiting, hub.server.asked) == (0, 2, [])


@pytest.mark.parametrize("secret", ["whsec_", "hunter2-hunter2!", "whsec_ä"])
def test_a_secret_that_is_none_is_not_shown(downstream: Make, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """The sentence says what it has to be."""
    hub = downstream("http")
    ran(hub)
    monkeypatch.setenv("SINK_SECRET", secret)
    done = hub.deliver()

    assert done.delivered == 0
    assert secret.removeprefix("whsec_") == "" or secret not in done.problem + hub.rows[0].answer


def test_a_file_of_certificates_that_is_not_there_makes_the_sink_wait(downstream: Make) -> None:
    """It is named."""
    hub = downstream("http", ca="/nowhere/ca.pem")
    ran(hub)

    assert "(ca = /nowhere/ca.pem)" in hub.deliver().problem


def test_an_address_where_nobody_listens_is_waited_for(downstream: Make) -> None:
    """And named."""
    hub = downstream("http", url="http://127.0.0.1:9")
    ran(hub)
    done = hub.deliver()

    assert "http://127.0.0.1:9 does not answer" in done.problem
    assert (done.parked, done.waiting) == (0, 2)


@pytest.mark.parametrize("kind", ["resultsdb", "elasticsearch"])
def test_an_answer_that_is_not_the_datahubs_is_an_error(downstream: Make, kind: str) -> None:
    """A proxy's page that says 200 is no sign that anything was taken."""
    hub = downstream(kind)
    told = ran(hub)
    # A bulk request is tried again document by document.
    hub.server.moods = ["503", *["garbage"] * (2 if kind == "elasticsearch" else 1)]
    hub.deliver()
    done = hub.deliver()

    assert (done.delivered, done.waiting, bool(done.problem)) == (0, 2, True)
    hub.deliver()
    assert hub.has == told


def test_a_document_that_is_refused_spoils_no_other(downstream: Make) -> None:
    """Of a bulk request each document has an answer of its own."""
    hub = downstream("elasticsearch")
    told = ran(hub)
    assert isinstance(hub.server, ElasticServer)
    hub.server.refuses = {"package.complete": 400}
    done = hub.deliver()

    assert (done.delivered, done.parked, done.problem) == (1, 1, "")
    assert hub.has == told[1:]
    assert "it answered 400 to a document" in hub.rows[0].answer
    assert "it says 400" in hub.rows[0].answer


@pytest.mark.parametrize("status", [429, 503, 404])
def test_a_document_that_cannot_be_taken_now_waits(downstream: Make, status: int) -> None:
    """An overloaded cluster answers so, one that has no such index too."""
    hub = downstream("elasticsearch", attempts=1)
    told = ran(hub)
    assert isinstance(hub.server, ElasticServer)
    hub.server.refuses = {"package.complete": status}
    done = hub.deliver()
    hub.server.refuses = {}

    assert (done.delivered, done.parked, done.waiting) == (1, 0, 1)
    assert hub.deliver().delivered == 1
    assert sorted(hub.has) == sorted(told)


def test_a_bulk_request_that_is_too_large_is_sent_in_parts(downstream: Make) -> None:
    """Nothing is parked for the company it is in."""
    hub = downstream("elasticsearch")
    told = ran(hub, *TWO, Status.SUCCESS, Status.SUCCESS)
    assert isinstance(hub.server, ElasticServer)
    hub.server.most_bytes = 2500
    done = hub.deliver()

    assert (done.delivered, done.parked) == (len(told), 0)
    assert hub.has == told


def test_only_what_a_sink_wants_is_stored(downstream: Make) -> None:
    """By default how stages and runs end."""
    hub = downstream("http", events=["running"])
    ends = downstream("http", beside=hub, name="ends")
    play(ends.settings, new_run(), *TWO)

    assert [row.event for row in hub.rows] == ["package.running", "package.test.functional.running"]
    assert [row.event for row in ends.rows] == ["package.complete", "package.test.functional.complete"]


def test_what_is_not_written_down_is_not_told(downstream: Make) -> None:
    """A delivery is of the transaction that makes it true; no stage waits for a sink, which nobody reaches here."""
    hub = downstream("http", url="http://127.0.0.1:9")
    run = new_run()
    with store.session() as session:
        journal, row = Journal(session, hub.settings), runs.locked(session, run.id)
        journal.begin_stage(row, BUILD_PACKAGE, 1)
        journal.finish_stage(row, BUILD_PACKAGE, 1, report(BUILD_PACKAGE), final=True)
        stored = session.query(Delivery).count()
        session.rollback()
    lost = hub.rows
    play(hub.settings, run, Status.SUCCESS)

    assert (stored, lost) == (1, [])
    assert len(hub.rows) == 1


def test_the_state_of_a_sink_is_told(downstream: Make, current: Settings) -> None:
    """Configured or not, as long as something waits or is parked."""
    hub = downstream("http", attempts=1)
    ran(hub)
    hub.server.moods = ["400", "503"]
    hub.deliver()
    with store.session() as session:
        known = deliveries.states(session, [hub.name, "fresh"])
        forgotten = deliveries.states(session, [])

    assert [(one.name, one.configured, one.waiting, one.parked) for one in known] == [
        ("the-http", True, 1, 1),
        ("fresh", True, 0, 0),
    ]
    assert known[0].oldest_at
    assert "503" in known[0].answer
    assert [(one.name, one.configured) for one in forgotten] == [("the-http", False)]
