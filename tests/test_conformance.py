"""Whether a run gets a cluster, and why not."""

import pytest

from ci_pipeline import conformance, settings, store
from ci_pipeline.journal import Journal
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status
from ci_pipeline.stages import GENERATE_IMAGE
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from tests.makers import change, new_run, play

pytestmark = pytest.mark.usefixtures("database")
OK = Status.SUCCESS


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A cluster that is there; more is to be set by the test."""
    monkeypatch.setenv("CI_PIPELINE_CONFORMANCE__CLUSTER", "existing")
    settings.current.cache_clear()
    return monkeypatch


def configure(configured: pytest.MonkeyPatch, **values: str) -> None:
    """Set keys of [conformance]."""
    for key, value in values.items():
        configured.setenv(f"CI_PIPELINE_CONFORMANCE__{key.upper()}", value)
    settings.current.cache_clear()


def a_run(*statuses: Status, rev: str = "1" * 40, kind: Kind = Kind.PUSH, **options: str) -> Run:
    """Return a run whose first stages have ended so."""
    with store.session() as session:
        run = runs.create(session, change(rev=rev), kind=kind, options=options)
    play(settings.current(), run, *statuses)
    return run


def reason(run: Run) -> str:
    """Return why the run has no conformance tests."""
    with store.session() as session:
        return conformance.skip_reason(session, settings.current(), runs.locked(session, run.id))


def skip_image(run: Run) -> None:
    """Let the run have no image."""
    with store.session() as session:
        Journal(session, settings.current()).skip_stage(runs.locked(session, run.id), GENERATE_IMAGE, 1, "not due")


def test_a_new_image_that_has_booted_is_tested(configured: pytest.MonkeyPatch) -> None:
    """As configured when nothing is."""
    assert reason(a_run(*[OK] * 6)) == ""


def test_without_a_cluster_the_setting_is_named(configured: pytest.MonkeyPatch) -> None:
    """Whoever reads it knows what to change."""
    configure(configured, cluster="none")

    assert reason(a_run(*[OK] * 6)) == 'no cluster: conformance.cluster = "none" in pipeline.toml'


def test_a_control_plane_that_is_not_built_says_how_to_build_it(configured: pytest.MonkeyPatch) -> None:
    """The demo has one only where somebody took the time."""
    configure(configured, cluster="control-plane", control_plane__programs="/nonexistent/kubernetes")

    assert reason(a_run(*[OK] * 6)) == (
        "no cluster: there is no Kubernetes in /nonexistent/kubernetes; `make kubernetes` builds it"
    )


@pytest.mark.parametrize("wanted", ["always", "with-image"])
def test_a_side_run_never_has_a_cluster(configured: pytest.MonkeyPatch, wanted: str) -> None:
    """No image is made of it, and the branch's own is none of its business."""
    assert "backfill" in reason(a_run(*[OK] * 4, kind=Kind.BACKFILL, conformance=wanted))


def test_without_a_new_image_it_is_told_why_there_is_none(configured: pytest.MonkeyPatch) -> None:
    """In the words of the stage that made none."""
    run = a_run(*[OK] * 4)
    skip_image(run)

    assert reason(run) == "no new image: not due"


def test_always_takes_the_newest_image_of_the_branch(configured: pytest.MonkeyPatch) -> None:
    """There has to be one."""
    configure(configured, when="always")
    run = a_run(*[OK] * 4)
    skip_image(run)
    before = reason(run)
    play(settings.current(), new_run(), *[OK] * 6)

    assert before == "f26 has no image that has booted"
    assert reason(run) == ""


def test_always_is_not_for_a_run_whose_host_was_not_tested(configured: pytest.MonkeyPatch) -> None:
    """A run that was superseded skips all of its stages."""
    configure(configured, when="always")
    play(settings.current(), new_run(), *[OK] * 6)

    assert reason(a_run(OK)).startswith("nothing to test: no host of this run")


def test_what_the_run_asks_for_is_stronger_than_what_is_configured(configured: pytest.MonkeyPatch) -> None:
    """In both directions."""
    declined = reason(a_run(*[OK] * 6, conformance="never"))
    configure(configured, when="never")

    assert declined == "no conformance tests wanted: the run was triggered with conformance = never"
    assert reason(a_run(*[OK] * 6, rev="2" * 40, conformance="with-image")) == ""
    assert reason(a_run(*[OK] * 6, rev="3" * 40)).endswith('conformance.when = "never" in pipeline.toml')
