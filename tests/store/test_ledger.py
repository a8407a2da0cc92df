"""The ledger: one row per message, one final state, one run per change and branch."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from ci_pipeline import store
from ci_pipeline.settings import Settings
from ci_pipeline.store import ledger, runs
from ci_pipeline.store.tables import Inbound, Revision, Run
from tests.makers import REV, change, pushed, received

pytestmark = pytest.mark.usefixtures("database")


def record(settings: Settings, *messages: ledger.Received) -> list[Inbound]:
    """Record messages in one transaction."""
    with store.session() as session:
        return ledger.record(session, messages, settings)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe\x00", b"[]", b"7", b'"x"', b"{}", b'{"commit": 7}', b"\x00" * 100, b"[" * 100_000],
)
def test_what_cannot_be_read_is_a_dead_letter_with_a_reason(current: Settings, raw: bytes) -> None:
    """Nothing on the bus can crash the intake, and nothing disappears."""
    (row,) = record(current, received(raw))

    assert row.state == "dead"
    assert row.reason
    assert row.run is None


def test_a_dead_letter_keeps_what_arrived(current: Settings) -> None:
    """An operator can look at it, whatever bytes it is made of."""
    (row,) = record(current, received(b"\x00caf\xe9"))

    assert row.body == "\\x00caf\\xe9"


def test_what_is_not_watched_is_ignored_with_its_reason(current: Settings) -> None:
    """The reason names the setting."""
    (row,) = record(current, pushed("polari"))

    assert (row.state, row.reason) == ("ignored", "package polari is not watched (packages.monitored)")


def test_a_watched_change_is_queued_with_one_run(current: Settings) -> None:
    """The run carries the change and the branch's number, and waits to be fired."""
    (row,) = record(current, pushed("greeter"))
    with store.session() as session:
        (run,) = runs.not_fired(session)

    assert (row.state, row.run) == ("queued", run.id)
    assert run.run_id == "rpms.greeter-35fdde9-f26-1"


def test_the_same_change_again_is_a_duplicate_of_the_first(current: Settings) -> None:
    """In the same batch or later, under the same message id or another, in whatever format."""
    by_hand = received({"namespace": "rpms", "repo": "greeter", "rev": REV, "branch": "f26"}, message_id="m-2")
    rows = record(current, pushed(), pushed()) + record(current, by_hand)

    assert [row.state for row in rows] == ["queued", "duplicate", "duplicate"]
    assert {row.run for row in rows} == {rows[0].run}
    assert rows[2].reason == f"the same change was queued by message {rows[0].id}"


def test_one_rev_on_two_branches_is_two_runs(current: Settings) -> None:
    """A run is a change on a branch."""
    rows = record(current, pushed(branch="f26"), pushed(branch="main"))

    assert [row.state for row in rows] == ["queued", "queued"]
    assert [row.branch for row in rows] == ["f26", "rawhide"]


def test_numbers_count_up_per_branch(current: Settings) -> None:
    """`build_id` is the branch's own count."""
    messages = [pushed(rev=f"{n:040x}", branch=branch) for n, branch in enumerate(["f26", "f26", "rawhide", "f26"], 1)]
    record(current, *messages)
    with store.session() as session:
        numbers = list(session.execute(select(Run.branch, Run.number).order_by(Run.id)))

    assert numbers == [("f26", 1), ("f26", 2), ("rawhide", 1), ("f26", 3)]


def test_intakes_at_the_same_time_queue_a_change_once(current: Settings) -> None:
    """Two triggerers, or a redelivery while the first is still at work."""
    start = threading.Barrier(4)

    def take_up() -> None:
        start.wait()
        record(current, pushed())

    threads = [threading.Thread(target=take_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.session() as session:
        states = dict(session.execute(select(Inbound.state, func.count()).group_by(Inbound.state)).all())

    assert states == {"queued": 1, "duplicate": 3}


def test_a_batch_that_fails_leaves_no_trace(current: Settings) -> None:
    """What is not committed is not acknowledged, and comes again."""

    def crash() -> None:
        with store.session() as session:
            ledger.record(session, [pushed()], current)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        crash()
    with store.session() as session:
        left = session.scalar(select(func.count()).select_from(Inbound))

    assert left == 0


def test_queued_changes_are_in_the_index_of_revisions(current: Settings) -> None:
    """With the time of their commit, if the message tells it."""
    commit = {"namespace": "rpms", "repo": "greeter", "rev": REV, "branch": "f26", "date": "2026-11-01T12:00:00+02:00"}
    record(current, received({"commit": commit, "agent": "x"}))
    with store.session() as session:
        (revision,) = session.scalars(select(Revision))

    assert (revision.repo, revision.rev, revision.branch) == ("greeter", REV, "f26")
    assert revision.committed_at.replace(microsecond=0) == datetime(2026, 11, 1, 10, tzinfo=UTC)


def test_a_run_started_by_hand_is_numbered_like_others() -> None:
    """It exists in Airflow already, so it is not fired."""
    with store.session() as session:
        first = runs.create(session, change())
        by_hand = runs.create(session, change(rev="1" * 40), run_id="manual__1")

    assert (first.number, by_hand.number) == (1, 2)
    assert by_hand.fired_at is not None
