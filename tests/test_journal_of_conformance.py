"""The journal of the conformance tests: several steps with a cluster, which are one thing to the world."""

import pytest

from ci_pipeline import settings, store
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import (
    CONFIGURE_CLUSTER,
    CONFORMANCE_TESTS,
    GENERATE_IMAGE,
    PROVISION_HOSTS,
    STAGES,
)
from ci_pipeline.store import images, leases, outbox, runs
from ci_pipeline.store.tables import Run
from tests.journals import begin, complete, finish, said
from tests.makers import EVENTS_OF_CONFORMANCE, new_run, play

pytestmark = pytest.mark.usefixtures("database")

OK = Status.SUCCESS


@pytest.fixture
def clustered(current: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a cluster, used always."""
    assert current.conformance.cluster == "none"
    monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__CLUSTER", "existing")
    monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__WHEN", "always")
    settings.current.cache_clear()
    return settings.current()


def of_conformance(run: Run) -> list[tuple[str, str]]:
    """Return what was said of the conformance tests, with its status."""
    return [(event.rpartition(".")[2], status) for event, status in said(run) if event in EVENTS_OF_CONFORMANCE]


def test_the_steps_of_the_cluster_are_one_thing_to_the_world(clustered: Settings) -> None:
    """Queued after the smoke test, running with the first step, complete with the last."""
    run = new_run()
    play(clustered, run, *[OK] * 9)
    before = of_conformance(run)
    play(clustered, run, OK, first=9)

    assert before == [("queued", "SUCCESS"), ("running", "SUCCESS")]
    assert of_conformance(run) == [*before, ("complete", "SUCCESS")]
    assert complete(clustered, run) == (OK, "")


@pytest.mark.parametrize("good", [0, 1, 2, 3])
@pytest.mark.parametrize("ending", [Status.FAILURE, Status.ABORTED])
def test_a_step_that_fails_ends_the_conformance_tests(clustered: Settings, good: int, ending: Status) -> None:
    """Whichever it is: the run's reason names it."""
    run = new_run()
    play(clustered, run, *[OK] * (6 + good), ending)

    assert of_conformance(run)[-1] == ("complete", str(ending))
    assert complete(clustered, run) == (ending, f"{STAGES[6 + good].name}: because")


def test_a_step_that_is_tried_again_says_nothing(clustered: Settings) -> None:
    """The cluster is being installed, as far as anybody knows."""
    run = new_run()
    play(clustered, run, *[OK] * 7)
    begin(clustered, run, CONFIGURE_CLUSTER)
    finish(clustered, run, CONFIGURE_CLUSTER, status=Status.FAILURE, fault=Fault.INFRASTRUCTURE, final=False)
    begin(clustered, run, CONFIGURE_CLUSTER, 2)
    finish(clustered, run, CONFIGURE_CLUSTER, 2)

    assert of_conformance(run) == [("queued", "SUCCESS"), ("running", "SUCCESS")]


def test_steps_that_are_cleared_begin_the_tests_again(clustered: Settings) -> None:
    """A second time queued, running and complete, after the first."""
    run = new_run()
    play(clustered, run, *[OK] * 9, Status.FAILURE)
    play(clustered, run, *[OK] * 4, first=6, try_number=2)

    assert [event for event, _ in of_conformance(run)] == ["queued", "running", "complete"] * 2
    assert of_conformance(run)[-1] == ("complete", "SUCCESS")


def test_steps_that_are_cleared_while_the_tests_run_end_them_first(clustered: Settings) -> None:
    """ABORTED, then from the beginning."""
    run = new_run()
    play(clustered, run, *[OK] * 9)
    begin(clustered, run, CONFORMANCE_TESTS)
    play(clustered, run, *[OK] * 4, first=6, try_number=2)

    assert [event for event, _ in of_conformance(run)] == ["queued", "running", "complete"] * 2
    assert [status for event, status in of_conformance(run) if event == "complete"] == ["ABORTED", "SUCCESS"]


def test_a_run_that_is_stopped_between_two_steps_ends_the_tests(clustered: Settings) -> None:
    """Nobody waits for a `complete` that never comes."""
    run = new_run()
    play(clustered, run, *[OK] * 8)

    assert complete(clustered, run)[0] is Status.ABORTED
    assert of_conformance(run)[-1][0] == "complete"


def test_the_newest_image_is_tested_in_a_run_without_one(clustered: Settings) -> None:
    """The messages name it from the first on, and it is what is validated, though a newer one comes meanwhile."""
    maker, run, later = new_run(), new_run(rev="1" * 40), new_run(rev="2" * 40)
    play(clustered, maker, *[OK] * 6)
    play(clustered, run, *[OK] * 4)
    with store.session() as session:
        Journal(session, clustered).skip_stage(runs.locked(session, run.id), GENERATE_IMAGE, 1, "not due")
        (tested,) = images.listed(session)
    begin(clustered, run, PROVISION_HOSTS)
    newer = {"image_name": "newer.qcow2", "image_size": 1, "image_sha256": "1" * 64, "compose_rev": "1", "version": "2"}
    with store.session() as session:
        images.record(session, run=later.id, branch="f26", outputs=newer)
        images.smoke_passed(session, run=later.id, name="newer.qcow2")
    finish(clustered, run, PROVISION_HOSTS)
    play(clustered, run, OK, OK, OK, first=7)
    with store.session() as session:
        named = {row.body["image_name"] for row in outbox.messages(session, run=run.id) if "conformance" in row.event}
        validated = {image.name for image in images.listed(session) if image.validated_at}

    assert named == validated == {tested.name}


def test_a_mere_control_plane_validates_no_image(clustered: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the image runs in it."""
    monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__CLUSTER", "control-plane")
    settings.current.cache_clear()
    run = new_run()
    play(settings.current(), run, *[OK] * 10)
    with store.session() as session:
        (image,) = images.listed(session)

    assert of_conformance(run)[-1:] == [("complete", "SUCCESS")]
    assert image.validated_at is None


def test_the_end_of_a_run_gives_its_cluster_back(clustered: Settings) -> None:
    """Whatever tore it down, or did not."""
    run, next_run = new_run(), new_run(rev="1" * 40)
    name = leases.cluster_of("f26", clustered.conformance)
    with store.session() as session:
        leases.acquire(session, name=name, run=run.id)
        waits_for = leases.acquire(session, name=name, run=next_run.id)
    complete(clustered, run)
    with store.session() as session:
        assert waits_for.id == run.id
        assert leases.acquire(session, name=name, run=next_run.id) is None
