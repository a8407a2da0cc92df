"""The API, asked by those who may and those who may not, well and badly."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ci_pipeline.datahub.api.app import create_app
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.ui.access import Viewer
from tests.gating.makers import FUNCTIONAL, GATE, INTEGRATION, NVR, PRODUCT, SPEC_NVR, decided, told, types_of, waive
from tests.makers import COMPOSE_REV, new_run, play
from tests.ui.conftest import Login

pytestmark = pytest.mark.usefixtures("database", "gated")

OURS = {"sec-fetch-site": "same-origin"}
ASKED = {
    "product_version": PRODUCT,
    "decision_context": GATE,
    "subject_type": "koji_build",
    "subject_identifier": SPEC_NVR,
}
WISH = {
    "subject_type": "koji_build",
    "subject_identifier": SPEC_NVR,
    "testcase": FUNCTIONAL,
    "product_version": PRODUCT,
    "comment": "a known bug",
    "waived": True,
}
DECISION, WAIVERS = "/api/v1.0/decision", "/api/v1.0/waivers/"


@pytest.fixture
def login() -> Login:
    """Who asks: at first someone who may do everything."""
    return Login()


@pytest.fixture
def client(login: Login) -> Iterator[TestClient]:
    """A client of the datahub's application."""
    with TestClient(create_app(login)) as made:
        yield made


def ask(client: TestClient, **changed: Any) -> dict[str, Any]:
    """Ask for a decision and return the answer."""
    answer = client.post(DECISION, json={**ASKED, **changed})

    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(("method", "path"), [("POST", DECISION), ("POST", WAIVERS), ("GET", WAIVERS)])
@pytest.mark.parametrize(("who", "status"), [(None, 401), ("stranger", 403)])
def test_who_may_not_read_gets_nothing(
    client: TestClient, login: Login, method: str, path: str, who: str | None, status: int
) -> None:
    """Neither decisions nor waivers."""
    login.who = who

    assert client.request(method, path, json=ASKED).status_code == status


def test_who_may_only_read_cannot_waive(client: TestClient, login: Login) -> None:
    """But may ask."""
    login.who = Viewer("reader", may_act=False)

    assert client.post(WAIVERS, json=WISH, headers=OURS).status_code == 403
    assert client.post(DECISION, json=ASKED).status_code == 200
    assert told() == []


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_another_site_cannot_waive(client: TestClient, headers: dict[str, str]) -> None:
    """The browser's cookie comes along with what it sends."""
    assert client.post(WAIVERS, json=WISH, headers=headers).status_code == 403
    assert told() == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"[]", "object"),
        (b'"\\ud800"', "Invalid JSON"),
        (json.dumps({**ASKED, "subject_identifier": "x" * 256}).encode(), "subject_identifier: "),
        (json.dumps({**ASKED, "subject_identifier": "a\x00b"}).encode(), "subject_identifier: "),
        (json.dumps({**ASKED, "subject_identifier": ""}).encode(), "subject_identifier: "),
        (json.dumps({**ASKED, "decision_context": []}).encode(), "decision_context: "),
        (json.dumps({**ASKED, "decision_context": ["x"] * 21}).encode(), "decision_context: "),
        (json.dumps({**ASKED, "verbose": "yes"}).encode(), "verbose: "),
        (json.dumps({**ASKED, "ignore_waiver": [1]}).encode(), "ignore_waiver: "),
        (json.dumps({**ASKED, "subject": [{"type": "koji_build", "item": "x"}] * 101}).encode(), "subject: "),
        (json.dumps({"product_version": PRODUCT, "decision_context": GATE}).encode(), "name a subject"),
        (json.dumps({key: value for key, value in ASKED.items() if key != "product_version"}).encode(), "product_v"),
        (b"[" * 60_000, "Invalid JSON"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(client: TestClient, body: bytes, sentence: str) -> None:
    """Never with a traceback, never by the database."""
    answer = client.post(DECISION, content=body)

    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize(
    "changed",
    [{"product_version": "fedora-99"}, {"decision_context": "nobodys"}, {"subject_type": "bodhi_update"}],
)
def test_where_no_policy_is_for_it_nothing_is_decided(client: TestClient, changed: dict[str, str]) -> None:
    """404, as Greenwave does."""
    answer = client.post(DECISION, json={**ASKED, **changed})

    assert answer.status_code == 404
    assert "any applicable policies for" in answer.json()["detail"]


def test_a_package_nobody_knows_has_no_results(client: TestClient) -> None:
    """All of what is required is missing; whoever asks for it early is told so."""
    answer = ask(client, subject_identifier="nobodys-1-1.fc26")

    assert answer["policies_satisfied"] is False
    assert answer["summary"] == "3 of 3 required tests did not pass: 3 missing"


def test_an_opt_in_package_needs_nothing(client: TestClient) -> None:
    """As configured, whether it has been run or not."""
    answer = ask(client, subject_identifier="hostinfo-1-1.fc26")

    assert (answer["policies_satisfied"], answer["summary"]) == (True, "no tests are required")
    assert answer["applicable_policies"] == ["packages"]


@pytest.mark.parametrize("name", [NVR, SPEC_NVR])
def test_either_nvr_is_the_package(client: TestClient, gated: Settings, name: str) -> None:
    """The built one, and that of the spec which Koji knows."""
    play(gated, new_run(), Status.SUCCESS, Status.UNSTABLE)
    answer = ask(client, subject_identifier=name, verbose=True)

    assert answer["summary"] == "2 of 3 required tests did not pass: 1 failed, 1 missing"
    assert [one["result_id"] for one in answer["unsatisfied_requirements"] if "result_id" in one] == [
        "f26/1/functional_tests/1"
    ]
    assert {one["testcase"]["name"]: one["outcome"] for one in answer["results"]}[FUNCTIONAL] == "FAILED"
    assert answer["waivers"] == []


def test_several_subjects_are_one_decision(client: TestClient, gated: Settings) -> None:
    """In Greenwave's other form; a type no policy is for does not count among others."""
    play(gated, new_run(), *[Status.SUCCESS] * 4)
    subjects = [("koji_build", NVR), ("koji_build", "nobodys-1-1.fc26"), ("bodhi_update", "FEDORA-1")]
    answer = ask(client, subject=[{"type": type_, "item": item} for type_, item in subjects])

    assert answer["summary"] == "3 of 6 required tests did not pass: 3 missing"


def test_a_compose_is_decided_about_by_its_commit(client: TestClient, gated: Settings) -> None:
    """By its own policy, in several contexts at once."""
    play(gated, new_run(), *[Status.SUCCESS] * 4)
    answer = ask(client, subject_type="compose", subject_identifier=COMPOSE_REV, decision_context=[GATE, "release"])

    assert (answer["policies_satisfied"], answer["applicable_policies"]) == (True, ["composes"])


def test_the_results_of_another_product_do_not_count(client: TestClient, gated: Settings) -> None:
    """It was built and tested on f26, and is asked for in 27."""
    play(gated, new_run(), *[Status.SUCCESS] * 4)

    assert ask(client, product_version="fedora-27")["summary"].endswith("3 missing")


def test_a_waiver_is_in_the_name_of_who_is_signed_in(client: TestClient, gated: Settings) -> None:
    """A body that names somebody else is refused."""
    refused = client.post(WAIVERS, json={**WISH, "username": "mallory"}, headers=OURS)
    given = client.post(WAIVERS, json=WISH, headers=OURS)

    assert (refused.status_code, given.status_code) == (400, 201)
    assert given.json()["username"] == "someone"
    assert [one["id"] for one in client.get(WAIVERS).json()["data"]] == [given.json()["id"]]


@pytest.mark.parametrize(
    "changed",
    [
        {"comment": ""},
        {"comment": "   "},
        {"comment": "x" * 1001},
        {"comment": "a\x00b"},
        {"testcase": "org.example.nothing"},
        {"product_version": "fedora-99"},
        {"subject_type": "bodhi_update"},
        {"waived": "perhaps"},
    ],
)
def test_a_waiver_that_makes_no_sense_is_refused(client: TestClient, changed: dict[str, Any]) -> None:
    """And nothing is stored or said."""
    answer = client.post(WAIVERS, json={**WISH, **changed}, headers=OURS)

    assert answer.status_code == 400
    assert client.get(WAIVERS).json()["data"] == []
    assert told() == []


@pytest.mark.parametrize("query", ["page=0", "limit=101", "limit=x", "nonsense=1", "testcase=%00", "username=%00"])
def test_a_list_of_waivers_that_makes_no_sense_is_refused(client: TestClient, query: str) -> None:
    """With 400."""
    assert client.get(f"{WAIVERS}?{query}").status_code == 400


def test_waivers_come_in_pages_the_newest_first(client: TestClient, gated: Settings) -> None:
    """Those that were taken back by a later one are left out, unless they are asked for."""
    for testcase in (FUNCTIONAL, INTEGRATION, "package"):
        waive(gated, testcase=testcase)
    waive(gated, waived=False)
    first = client.get(f"{WAIVERS}?limit=2&product_version={PRODUCT}").json()
    second = client.get(first["next"]).json()

    assert [one["id"] for one in (*first["data"], *second["data"])] == [4, 3, 2]
    assert (first["prev"], second["next"]) == (None, None)
    assert [
        one["id"] for one in client.get(f"{WAIVERS}?include_obsolete=true&testcase={FUNCTIONAL}").json()["data"]
    ] == [
        4,
        1,
    ]
    assert client.get(f"{WAIVERS}?subject_identifier=nobodys-1-1").json()["data"] == []


@pytest.mark.parametrize(
    ("wish", "outcome"),
    [
        ({}, "failed-waived"),
        ({"identifier": NVR}, "failed-waived"),
        ({"testcase": "package.test.functional"}, "failed-waived"),
        ({"identifier": "greeter-1.0-2.fc26"}, "failed"),
        ({"identifier": COMPOSE_REV, "subject_type": "compose"}, "failed"),
        ({"product_version": "fedora-rawhide"}, "failed"),
        ({"testcase": INTEGRATION}, "failed"),
        ({"waived": False}, "failed"),
    ],
)
def test_a_waiver_counts_for_its_own_test_subject_and_product(
    gated: Settings, wish: dict[str, Any], outcome: str
) -> None:
    """And for nothing else."""
    play(gated, new_run(), Status.SUCCESS, Status.UNSTABLE)
    waive(gated, **wish)

    assert types_of(decided(gated))["package.test.functional"] == outcome


def test_a_waiver_that_was_taken_back_does_not_count(gated: Settings) -> None:
    """Whoever takes it back; and one that is given anew does."""
    play(gated, new_run(), Status.SUCCESS, Status.UNSTABLE)
    stood = []
    for waived, who in ((True, "alice"), (False, "bob"), (True, "alice")):
        waive(gated, waived=waived, who=who)
        stood.append(types_of(decided(gated))["package.test.functional"])

    assert stood == ["failed-waived", "failed", "failed-waived"]


def test_a_waiver_of_one_build_is_not_one_of_the_next(gated: Settings) -> None:
    """Of its own NVR it is for that build alone, of the spec's for all of them."""
    play(gated, new_run(), Status.SUCCESS, Status.UNSTABLE)
    waive(gated, "greeter-1.0-1.2.1111111.fc26")
    before = types_of(decided(gated))["package.test.functional"]

    assert before == "failed"


def test_the_policies_are_told(client: TestClient) -> None:
    """With their rules as Greenwave writes them."""
    first, second = client.get("/api/v1.0/policies").json()["policies"]

    assert (first["id"], second["subject_type"]) == ("packages", "compose")
    assert first["rules"][1] == {"type": "PassingTestCaseRule", "test_case_name": FUNCTIONAL}
