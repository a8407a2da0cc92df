"""Side runs: what a backfill's run says of itself, and what it leaves alone."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from ci_pipeline import audit, publishing, requests, store
from ci_pipeline.bus import schemas
from ci_pipeline.catch_up import catch_up
from ci_pipeline.intake import Intake
from ci_pipeline.journal import Journal
from ci_pipeline.kind import SIDE_RUN, Kind
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, GENERATE_IMAGE
from ci_pipeline.store import kept, leases, outbox, runs
from ci_pipeline.store.tables import Inbound, Run
from tests.buses import publish_by
from tests.distgit import DistGit
from tests.makers import change, new_run, play, pushed

pytestmark = pytest.mark.usefixtures("database")
OK = Status.SUCCESS
OLD = "2" * 40


def side_run(repo: str = "greeter", **fields: str) -> Run:
    """Store a backfill's run."""
    with store.session() as session:
        return runs.create(session, change(repo, **fields), run_id=f"backfill__{repo}", kind=Kind.BACKFILL)


def request(settings: Settings, run: Run) -> dict[str, object]:
    """Return the request of a run's build."""
    with store.session() as session:
        return requests.make(session, settings, run, BUILD_PACKAGE, workspace=Path("/w"))


def test_its_messages_have_the_contracts_keys_and_its_candidates_ref(current: Settings, recorded: Path) -> None:
    """Nothing in them leads to the branch: neither its ref nor the newest build of the package."""
    run = side_run()
    play(current, run, OK, OK, OK, OK)
    with store.session() as session:
        messages = outbox.messages(session, run=run.id)

    assert len(messages) == 10
    for message in messages:
        example = json.loads((recorded / f"{message.topic}.json").read_text())["msg"]

        assert message.body.keys() == example.keys()
        assert message.body["ref"] == "candidate/f26/1"
        assert message.body.get("package_url", "").rpartition("/f26/")[2] in {"", f"repo/builds/{run.run_id}/"}


@pytest.mark.parametrize("kind", list(Kind))
def test_a_header_tells_the_kind_of_its_run(current: Settings, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """For who listens and must not take a backfill for news."""
    with store.session() as session:
        run = runs.create(session, change(), kind=kind)
    play(current, run, OK)
    headers = []
    make = schemas.make

    def watch(*arguments: object, **options: object) -> schemas.PipelineMessage:
        message = make(*arguments, **options)
        headers.append(message._headers["ci_pipeline_kind"])
        return message

    monkeypatch.setattr(publishing.schemas, "make", watch)
    publishing.publish(current)

    assert headers == [kind] * 3


def test_its_request_says_that_nothing_is_promoted(current: Settings) -> None:
    """As a push's says the contrary."""
    assert request(current, side_run())["promote"] is False
    assert request(current, new_run())["promote"] is True


def test_what_went_well_in_it_is_no_part_of_the_branch(current: Settings) -> None:
    """The next compose installs what was promoted, and its own candidate."""
    play(current, side_run("hostinfo"), OK, OK, OK, OK)
    run = new_run()
    with store.session() as session:
        before = requests.install_list(session, current, run)
    play(current, new_run("hostinfo", rev=OLD), OK, OK, OK, OK)
    with store.session() as session:
        after = requests.install_list(session, current, run)

    assert set(after) - set(before) == set(current.installed_by("hostinfo"))


def test_it_holds_the_branchs_composes_no_longer_than_its_own(current: Settings) -> None:
    """It is made of the branch between two promotions; its tests are in nobody's way."""
    run, other = side_run(), new_run("hostinfo")
    play(current, run, OK, OK)
    with store.session() as session:
        leases.acquire(session, name=leases.compose_of("f26"), run=run.id)
        held = leases.acquire(session, name=leases.compose_of("f26"), run=other.id)
    play(current, run, OK, first=2)
    with store.session() as session:
        assert leases.acquire(session, name=leases.compose_of("f26"), run=other.id) is None
    assert held.id == run.id


def test_a_pushs_compose_is_held_until_its_tests_have_ended(current: Settings) -> None:
    """A side run waits for it, too: the branch is about to move."""
    run, other = new_run(), side_run("hostinfo")
    play(current, run, OK, OK)
    with store.session() as session:
        leases.acquire(session, name=leases.compose_of("f26"), run=run.id)
    play(current, run, OK, first=2)
    with store.session() as session:
        assert leases.acquire(session, name=leases.compose_of("f26"), run=other.id).id == run.id


def test_a_push_of_a_revision_that_was_backfilled_is_run(current: Settings) -> None:
    """A side run has proved nothing for the branch."""
    play(current, side_run(), OK, OK, OK, OK)
    Intake(current, trigger_run_id="x").record([pushed()])
    with store.session() as session:
        (row,) = session.scalars(select(Inbound))
        kinds = [run.kind for run in session.scalars(select(Run).order_by(Run.id))]

    assert row.state == "queued"
    assert kinds == ["backfill", "push"]


def test_no_push_supersedes_it_nor_it_a_push(current: Settings) -> None:
    """A push is superseded by a newer push alone."""
    Intake(current, trigger_run_id="x").record([pushed(rev=OLD)])
    waiting = side_run()
    with store.session() as session:
        pushes = runs.not_fired(session)
    Intake(current, trigger_run_id="x").record([pushed(rev="1" * 40)])
    with store.session() as session:
        assert runs.get(session, waiting.run_id).status is None
        assert [run.rev for run in pushes] == [OLD]
        assert runs.get(session, pushes[0].run_id).status == "ABORTED"


def test_a_head_that_was_backfilled_is_still_caught_up_with(current: Settings, tmp_path: Path) -> None:
    """Its push may have been lost all the same."""
    distgit = DistGit(tmp_path)
    first = distgit.commit("greeter", {"x": "1"})
    settings = current.model_copy(update={"dist_git": current.dist_git.model_copy(update={"url": distgit.url})})
    Intake(settings, trigger_run_id="x").record([pushed(rev=first)])
    head = distgit.commit("greeter", {"x": "2"})
    play(current, side_run(rev=head), OK)
    done = catch_up(settings)

    assert [one.rev for one in done.queued] == [head]


def test_its_build_is_nobodys_newest(current: Settings) -> None:
    """Retention keeps the newest builds of a package; old ones made lately must not push them out."""
    pushes = [new_run(rev=str(number) * 40) for number in range(2)]
    side = side_run()
    with store.session() as session:
        newest = kept.newest_builds(session, "f26", [one.run_id for one in (*pushes, side)], count=1)

    assert newest == {pushes[1].run_id}


def test_a_run_without_a_message_is_no_offence(current: Settings) -> None:
    """Its own are complete, and the audit counts it."""
    run = side_run()
    play(current, run, OK, OK, OK, OK)
    with store.session() as session:
        Journal(session, current).skip_stage(runs.locked(session, run.id), GENERATE_IMAGE, 1, SIDE_RUN)
    with store.session() as session:
        status = Journal(session, current).finish_run(runs.locked(session, run.id))
    publish_by()
    done = audit.audit()

    assert (status, done.runs, done.completes, done.findings) == (OK, 1, 1, ())


def test_pushes_are_fired_before_backfills_and_those_a_few_at_a_time(current: Settings) -> None:
    """Airflow has room for the next push, however long a backfill is."""
    with store.session() as session:
        backfills = [
            runs.create(session, change(rev=f"{number}" * 40), kind=Kind.BACKFILL).run_id for number in range(6)
        ]
    push = new_run("hostinfo")
    with store.session() as session:
        now = [run.run_id for run in runs.not_fired(session)]
        for run in runs.not_fired(session):
            runs.mark_fired(session, run.id)
        afterwards = runs.not_fired(session)
        first = runs.locked(session, runs.get(session, backfills[0]).id)
        first.status, first.ended_at = "SUCCESS", datetime.now(UTC)
        session.flush()
        then = [run.run_id for run in runs.not_fired(session)]

    assert now == [push.run_id, *backfills[: runs.BACKFILLS_AT_ONCE]]
    assert afterwards == []
    assert then == [backfills[runs.BACKFILLS_AT_ONCE]]
