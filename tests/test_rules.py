"""The pipeline's decisions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline import rules, settings
from ci_pipeline.outcome import Status
from ci_pipeline.stages import FUNCTIONAL_TESTS, INTEGRATION_TESTS, STAGES
from tests.makers import change

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"namespace": "container"}, "namespace container is not watched"),
        ({"repo": "polari"}, "package polari is not watched"),
        ({"branch": "f24"}, "branch f24 has no pipeline"),
    ],
)
def test_what_is_not_watched_is_ignored_with_its_reason(fields: dict[str, str], reason: str) -> None:
    """A packager who wonders why nothing happened finds the setting to change."""
    decision = rules.decide(change(**{"repo": "greeter", **fields}), settings.load())

    assert decision.state == "ignored"
    assert decision.reason.startswith(reason)


def test_a_push_that_is_none_is_ignored_whatever_it_is_of() -> None:
    """A deleted branch or a fork comes first."""
    assert rules.decide(change(), settings.load(), ignore_reason="a fork").reason == "a fork"


def test_a_watched_change_is_queued() -> None:
    """The package, its namespace and its branch are watched."""
    assert rules.decide(change(), settings.load()).state == "queued"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("status", [Status.FAILURE, Status.ABORTED])
def test_a_failure_stops_everywhere(stage: object, status: Status) -> None:
    """Nothing is composed of, or released from, something broken."""
    assert rules.stops_the_run(stage, status, gating=False)


def test_unstable_functional_tests_gate_only_gating_packages() -> None:
    """An opt-in package is reported, not gated."""
    assert rules.stops_the_run(FUNCTIONAL_TESTS, Status.UNSTABLE, gating=True)
    assert not rules.stops_the_run(FUNCTIONAL_TESTS, Status.UNSTABLE, gating=False)


def test_unstable_integration_always_stops() -> None:
    """A host that fails its tests is never released, whoever owns the package."""
    assert rules.stops_the_run(INTEGRATION_TESTS, Status.UNSTABLE, gating=False)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("status", [Status.SUCCESS, Status.SKIPPED])
def test_what_is_fine_goes_on(stage: object, status: Status) -> None:
    """A stage with nothing to do stops nothing."""
    assert not rules.stops_the_run(stage, status, gating=True)


def test_no_image_was_ever_good_so_one_is_due() -> None:
    """The first run of a branch makes an image."""
    assert rules.image_not_due(wanted="when-due", interval_hours=24, last_good=None, now=NOW) == ""


@given(hours=st.floats(0, 1000), age=st.floats(0, 1000))
def test_an_image_is_due_once_the_last_is_older_than_the_interval(hours: float, age: float) -> None:
    """Due exactly when the interval has passed; otherwise the reason says when it will be."""
    last = NOW - timedelta(hours=age)
    reason = rules.image_not_due(wanted="when-due", interval_hours=hours, last_good=last, now=NOW)

    assert (reason == "") == (last + timedelta(hours=hours) <= NOW)


def test_conf_overrules_the_interval() -> None:
    """An operator can ask for an image, or for none."""
    assert rules.image_not_due(wanted="always", interval_hours=24, last_good=NOW, now=NOW) == ""
    assert "never" in rules.image_not_due(wanted="never", interval_hours=24, last_good=None, now=NOW)
