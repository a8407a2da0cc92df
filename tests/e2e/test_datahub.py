"""What came of a change reaches whoever decides on it: the API, a sink, another contract of the bus, a gate."""

from typing import Any

import httpx
import pytest

from ci_pipeline.settings import Settings
from tests.e2e.conftest import Bus, wait_until
from tests.e2e.receiver import Receiver

DATAHUB = "/ci-pipeline-datahub"
TOLD = [
    "package.complete",
    "package.test.functional.complete",
    "compose.complete",
    "compose.test.integration.complete",
    "image.complete",
    "image.test.smoke.complete",
    "image.test.conformance.skipped",
    "complete",
]


@pytest.fixture
def rev(good: list[dict[str, Any]]) -> str:
    """The revision of the good change."""
    return str(good[0]["body"]["rev"])


@pytest.fixture
def nvr(good: list[dict[str, Any]]) -> str:
    """The NVR it was built as."""
    return str(good[-1]["body"]["nvr"])


def test_a_sink_is_told_of_every_end_and_skip_in_order(
    api: httpx.Client, receiver: Receiver, rev: str, nvr: str
) -> None:
    """By the DAG that delivers, signed; each with the run, and with the result that it is about."""
    api.post("/api/v2/dags/ci-pipeline-datahub/dagRuns", json={"logical_date": None}).raise_for_status()
    told = wait_until(lambda _: len(receiver.told(rev)) >= len(TOLD) and receiver.told(rev), seconds=120, what="all")

    assert [one["event"] for one in told[: len(TOLD)]] == TOLD
    assert [one["status"] for one in told[: len(TOLD)]] == [*["SUCCESS"] * 6, "SKIPPED", "SUCCESS"]
    assert told[1]["result"]["nvr"] == nvr
    assert told[1]["result"]["counts"] == {"passed": 1}
    assert "path" not in told[0]["result"]["artifacts"][0]


def test_the_api_finds_results_by_what_they_are_about(api: httpx.Client, nvr: str) -> None:
    """With the token of any account of Airflow; without one there is nothing to see."""
    asked = f"{DATAHUB}/api/v1/results"
    found = api.get(asked, params={"nvr": nvr, "stage": "functional_tests"}).json()["items"]
    tests = api.get(f"{asked}/{found[-1]['id']}/tests").json()["items"]

    assert found[-1]["status"] == "SUCCESS"
    assert {test["outcome"] for test in tests} == {"passed"}
    assert httpx.get(f"{api.base_url}{asked}", trust_env=False).status_code == 401


def test_a_gate_lets_a_good_change_pass(api: httpx.Client, bus: Bus, nvr: str) -> None:
    """Asked for by its NVR; and that it may pass now was announced, once."""
    asked = {"product_version": "fedora-26", "decision_context": "promote", "subject_type": "koji_build"}
    answer = api.post(f"{DATAHUB}/api/v1.0/decision", json={**asked, "subject_identifier": nvr})
    updates = [one["body"] for one in bus.all() if one["topic"].endswith(".ci.pipeline.decision.update")]
    satisfied = [one for one in updates if one["subject_identifier"] == "greeter-1.0-1.fc26"]

    assert answer.json()["policies_satisfied"], answer.text
    assert answer.json()["applicable_policies"] == ["may-go-on"]
    assert [one["policies_satisfied"] for one in satisfied][-1] is True
    assert len({str(one) for one in satisfied}) == len(satisfied)


def test_every_stage_is_a_fedora_ci_message_too(bus: Bus, rev: str, pipeline: Settings) -> None:
    """As an independent client got them: a test each, with a result; what was skipped is info."""
    heard = [one for one in bus.all() if one["body"].get("artifact", {}).get("rev") == rev]
    results = {one["body"]["test"]["type"]: one["body"]["test"].get("result") for one in heard}

    assert {one["topic"].rpartition(".")[0] for one in heard} == {"org.centos.prod.ci.uncontrolled-build.test"}
    assert results["smoke-test"] == "passed"
    assert results["conformance-tests"] == "info"
    assert heard[0]["body"]["contact"]["name"] == pipeline.contracts.contact.name
