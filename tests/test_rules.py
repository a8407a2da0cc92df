"""The pipeline's decisions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline import rules, settings
from ci_pipeline.outcome import Status
from ci_pipeline.stages import CONFORMANCE_TESTS, FUNCTIONAL_TESTS, INTEGRATION_TESTS, SMOKE_TEST, STAGES, STEPS
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


@pytest.mark.parametrize(
    ("sender", "senders", "reason"),
    [
        ("eve", ["git"], "its sender 'eve' is not trusted (bus.senders)"),
        ("Git", ["git"], "its sender 'Git' is not trusted (bus.senders)"),
        ("\x00\n" + "e" * 5000, ["git"], "its sender '\\x00\\n" + "e" * 98 + "' is not trusted (bus.senders)"),
        ("", ["git"], "it does not say who sent it (user_id) (bus.senders)"),
        ("git", ["git"], ""),
        ("eve", [], ""),
        ("", [], ""),
    ],
)
def test_who_is_not_among_the_senders_is_not_trusted(sender: str, senders: list[str], reason: str) -> None:
    """With its reason, in which nothing of the sender's can do harm; without a list everyone is trusted."""
    assert rules.untrusted(sender, senders) == reason


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


OK, BAD, GONE = Status.SUCCESS, Status.FAILURE, None


@pytest.mark.parametrize(
    ("integration", "smoke", "conformance", "about_the_image", "validated"),
    [
        # A step of the conformance tests that failed, or that never was.
        (OK, OK, (OK, OK, OK, Status.UNSTABLE), True, False),
        (OK, OK, (OK, OK, OK, Status.ABORTED), True, False),
        (OK, OK, (BAD, GONE, GONE, GONE), True, False),
        (OK, OK, (OK, OK, OK, GONE), True, False),
        (OK, OK, (GONE,) * 4, True, False),
        # The host or the image did not pass, whatever else did.
        (Status.UNSTABLE, OK, (OK,) * 4, True, False),
        (GONE, OK, (OK,) * 4, True, False),
        (OK, BAD, (OK,) * 4, True, False),
        (OK, Status.SKIPPED, (Status.SKIPPED,) * 4, True, False),
        (OK, GONE, (Status.SKIPPED,) * 4, True, False),
        (BAD, OK, (OK,) * 4, False, False),
        # All passed, or there was no cluster.
        (OK, OK, (OK,) * 4, True, True),
        (OK, OK, (Status.SKIPPED,) * 4, True, True),
        # Nothing of the image ran there.
        (OK, OK, (OK, OK, OK, Status.UNSTABLE), False, True),
        (OK, OK, (BAD, GONE, GONE, GONE), False, True),
        (OK, OK, (GONE,) * 4, False, True),
    ],
)
def test_an_image_is_validated_by_what_tested_it(
    integration: Status | None,
    smoke: Status | None,
    conformance: tuple[Status | None, ...],
    about_the_image: bool,  # noqa: FBT001
    validated: bool,  # noqa: FBT001
) -> None:
    """Nothing that failed, or was never decided on, counts as passed."""
    steps = STEPS[CONFORMANCE_TESTS.event]
    ended = {INTEGRATION_TESTS: integration, SMOKE_TEST: smoke, **dict(zip(steps, conformance, strict=True))}
    known = {stage.name: status for stage, status in ended.items() if status is not None}

    assert rules.is_validated(known, about_the_image=about_the_image) is validated


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


def test_packages_that_are_watched_elsewhere_are_not_here() -> None:
    """Settings that are made of others do not remember what those watch."""
    watching = settings.load()
    before = rules.decide(change(), watching).state
    packages = watching.packages.model_copy(update={"monitored": ["hostinfo"]})
    others = watching.model_copy(update={"packages": packages})

    assert (before, rules.decide(change(), others).state) == ("queued", "ignored")
