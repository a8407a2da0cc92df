"""Which images are validated when their runs have ended."""

import pytest

from ci_pipeline import settings, store
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import GENERATE_IMAGE, PROVISION_HOSTS, Stage
from ci_pipeline.store import images, runs
from ci_pipeline.store.tables import STALE, Run
from tests.makers import new_run, play

pytestmark = pytest.mark.usefixtures("database")

OK = Status.SUCCESS


@pytest.fixture
def clustered(servers: object, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a cluster of the image."""
    monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__CLUSTER", "existing")
    settings.current.cache_clear()
    return settings.current()


def skip(configured: Settings, run: Run, stage: Stage, *, try_number: int = 1) -> None:
    """Let a run have nothing to do from a stage on."""
    with store.session() as session:
        Journal(session, configured).skip_stage(runs.locked(session, run.id), stage, try_number, "because")


def complete(configured: Settings, run: Run) -> Status:
    """End a run."""
    with store.session() as session:
        return Journal(session, configured).finish_run(runs.locked(session, run.id))


def image() -> tuple[bool, str]:
    """Return of the only image whether it is validated, and what is known of its manifest."""
    with store.session() as session:
        (row,) = images.listed(session)
        return row.validated_at is not None, row.manifest_sha256


def written() -> None:
    """Let the manifest be there."""
    with store.session() as session:
        (row,) = images.listed(session)
        row.manifest_sha256 = "1" * 64


def test_a_run_that_makes_no_image_validates_none(current: Settings) -> None:
    """Its branch's image is another run's."""
    made, other = new_run(), new_run(rev="1" * 40)
    play(current, made, *[OK] * 5)
    play(current, other, *[OK] * 4)
    skip(current, other, GENERATE_IMAGE)
    complete(current, other)

    assert image() == (False, "")


@pytest.mark.parametrize("statuses", [[OK] * 5 + [Status.FAILURE], [OK] * 9 + [Status.UNSTABLE], [OK] * 6])
def test_an_image_that_failed_or_was_not_tested_to_the_end_is_not_validated(
    clustered: Settings, statuses: list[Status]
) -> None:
    """Smoke, conformance, and a run that was ended before its conformance tests."""
    run = new_run()
    play(clustered, run, *statuses)
    complete(clustered, run)

    assert image() == (False, "")


def test_an_image_that_booted_is_validated_where_there_is_no_cluster(current: Settings) -> None:
    """With the end of its run, not before; its manifest is to be written."""
    run = new_run()
    play(current, run, *[OK] * 6)
    skip(current, run, PROVISION_HOSTS)
    before = image()
    complete(current, run)

    assert (before, image()) == ((False, ""), (True, STALE))


def test_an_opt_in_package_whose_tests_failed_is_no_fault_of_the_image(
    current: Settings,
) -> None:
    """The run is UNSTABLE all the same."""
    run = new_run("hostinfo")
    play(current, run, OK, Status.UNSTABLE, *[OK] * 4)
    skip(current, run, PROVISION_HOSTS)

    assert complete(current, run) is Status.UNSTABLE
    assert image()[0]


@pytest.mark.parametrize("manifest", ["", "1" * 64])
def test_a_cleared_test_that_fails_takes_the_validation_back(clustered: Settings, manifest: str) -> None:
    """Whether the manifest was written by then or not, it is to go."""
    run = new_run()
    play(clustered, run, *[OK] * 10)
    complete(clustered, run)
    if manifest:
        written()
    play(clustered, run, *[OK] * 3, Status.UNSTABLE, first=6, try_number=2)
    complete(clustered, run)

    assert image() == (False, STALE)


def test_a_cleared_host_that_fails_takes_it_back_too(current: Settings) -> None:
    """The image is of that very compose."""
    run = new_run()
    play(current, run, *[OK] * 6)
    skip(current, run, PROVISION_HOSTS)
    complete(current, run)
    written()
    play(current, run, Status.UNSTABLE, first=3, try_number=2)
    complete(current, run)

    assert image() == (False, STALE)


def test_tests_that_pass_again_without_a_new_image_change_nothing(current: Settings) -> None:
    """None was due: the one there is stays what it is, and so does its manifest."""
    run = new_run()
    play(current, run, *[OK] * 6)
    skip(current, run, PROVISION_HOSTS)
    complete(current, run)
    written()
    play(current, run, OK, first=3, try_number=2)
    skip(current, run, GENERATE_IMAGE, try_number=2)
    complete(current, run)

    assert image() == (True, "1" * 64)
