"""Tests that are known to fail: they are told, and do not count while their rule holds."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.ci_results import verdict

TRACKER = "https://bugs.example.org/7"
RULE: dict[str, Any] = {"test": r"\[sig-network\] DNS.*", "tracker": TRACKER, "until": "2027-01-31", "expired": False}
DNS = {"name": "[sig-network] DNS for services", "outcome": "failed", "seconds": 1.0, "message": "timed out"}
PODS = {"name": "[sig-apps] pods start", "outcome": "failed", "seconds": 1.0, "message": "no"}


def passed(test: dict[str, Any]) -> dict[str, Any]:
    """Return the test as one that passed."""
    return test | {"outcome": "passed", "message": ""}


def test_a_test_whose_time_is_over_fails_and_that_is_said() -> None:
    """Nobody has kept the promise of its bug."""
    part = verdict([DNS, passed(PODS)], "conformance", [RULE | {"expired": True}])

    assert part["status"] == "UNSTABLE"
    assert part["reason"] == (
        "1 of 2 conformance tests failed: [sig-network] DNS for services; "
        "the quarantine of [sig-network] DNS for services ended on 2027-01-31: https://bugs.example.org/7"
    )
    assert part["tests"][0]["outcome"] == "failed"


def test_a_rule_covers_no_other_test() -> None:
    """The whole name has to match; both are told."""
    part = verdict([DNS, PODS], "conformance", [RULE, RULE | {"test": "pods"}])

    assert (part["status"], part["outputs"]) == ("UNSTABLE", {"total": 2, "failed": 1, "skipped": 0, "quarantined": 1})
    assert part["reason"] == (
        "1 of 2 conformance tests failed: [sig-apps] pods start; "
        "1 that failed is quarantined: [sig-network] DNS for services"
    )


@pytest.mark.parametrize("outcome", ["failed", "error"])
def test_a_known_failure_is_its_own_outcome(outcome: str) -> None:
    """It is no pass, it has its bug in its message, and it stops nothing."""
    part = verdict([DNS | {"outcome": outcome}, passed(PODS)], "conformance", [RULE])

    assert (part["status"], part["outputs"]["failed"]) == ("SUCCESS", 0)
    assert part["reason"] == "1 that failed is quarantined: [sig-network] DNS for services"
    assert [test["outcome"] for test in part["tests"]] == ["quarantined", "passed"]
    assert part["tests"][0]["message"] == f"{TRACKER}: timed out"


@pytest.mark.parametrize("outcome", ["passed", "skipped"])
@pytest.mark.parametrize("expired", [True, False])
def test_a_test_that_did_not_fail_is_what_it_is(outcome: str, expired: object) -> None:
    """Its rule says nothing then."""
    part = verdict([DNS | {"outcome": outcome}], "conformance", [RULE | {"expired": expired}])

    assert (part["status"], part["reason"]) == ("SUCCESS", "")
    assert part["tests"][0]["outcome"] == outcome
    assert "quarantined" not in part["outputs"]
