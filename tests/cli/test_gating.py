"""`decide` ends with what a script needs to know, and `waive` says who it was."""

import getpass
import json

import pytest

from ci_pipeline import settings
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from tests.cli.conftest import Cli
from tests.gating.makers import FUNCTIONAL, GATE, NVR, POLICIES, PRODUCT, SPEC_NVR
from tests.makers import new_run, play

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def gated(servers: object, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings with policies."""
    monkeypatch.setenv("CI_PIPELINE_POLICIES", json.dumps(POLICIES))
    settings.current.cache_clear()
    return settings.current()


def test_what_was_never_run_has_to_be_named_with_its_product(cli: Cli) -> None:
    """Nothing tells which it is."""
    result = cli("decide", "nobodys-1-1", "--context", GATE)

    assert result.exit_code == 1
    assert "name its product (--product)" in result.stderr


def test_a_gate_without_a_policy_is_an_error(cli: Cli) -> None:
    """That says where the policies are."""
    result = cli("decide", SPEC_NVR, "--context", "nobodys", "--product", PRODUCT)

    assert result.exit_code == 1
    assert "any applicable policies" in result.stderr


@pytest.mark.parametrize(("statuses", "status"), [([Status.SUCCESS] * 4, 0), ([Status.SUCCESS], 1)])
def test_the_exit_status_is_the_decision(cli: Cli, gated: Settings, statuses: list[Status], status: int) -> None:
    """And the product is that of the branch."""
    play(gated, new_run(), *statuses)
    result = cli("decide", NVR, "--context", GATE)
    told = json.loads(cli("decide", NVR, "--context", GATE, "--json").stdout)

    assert result.exit_code == status
    assert result.stdout.startswith("satisfied: All" if status == 0 else "not satisfied: 2 of 3")
    assert told["policies_satisfied"] is (status == 0)


@pytest.mark.parametrize("reason", ["", " ", "x" * 1001])
def test_a_waiver_needs_a_reason(cli: Cli, reason: str) -> None:
    """Of a length that is read."""
    result = cli("waive", SPEC_NVR, FUNCTIONAL, "--reason", reason, "--product", PRODUCT)

    assert result.exit_code == 1
    assert "needs a reason" in result.stderr
    assert json.loads(cli("waivers", "--json").stdout) == []


def test_a_test_is_waived_and_the_waiver_taken_back(cli: Cli, gated: Settings) -> None:
    """By the account that did, whatever name it gives."""
    play(gated, new_run(), Status.SUCCESS, Status.UNSTABLE)
    given = cli("waive", SPEC_NVR, "package.test.functional", "--reason", "known", "--as", "alice")
    taken = cli("waive", SPEC_NVR, "package.test.functional", "--reason", "fixed", "--take-back")
    every = json.loads(cli("waivers", SPEC_NVR, "--all", "--json").stdout)
    account = f"{getpass.getuser()} on the command line"

    assert given.stdout == f"waived: {FUNCTIONAL} of {SPEC_NVR} in {PRODUCT}, by alice, as {account} says\n"
    assert taken.stdout == f"no longer waived: {FUNCTIONAL} of {SPEC_NVR} in {PRODUCT}, by {account}\n"
    assert [(one["waived"], one["comment"]) for one in every] == [(False, "fixed"), (True, "known")]
    assert "taken back" in cli("waivers").stdout
