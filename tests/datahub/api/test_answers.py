"""What the API answers: filters, pages, ids, ETags."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from ci_pipeline import store
from ci_pipeline.journal import Journal
from ci_pipeline.lane import Lane
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import lanes, runs
from ci_pipeline.store.tables import Run
from tests.datahub.api.conftest import API, IMAGE, PREFIX, walk
from tests.makers import COMPOSE_REV, REV, change, new_run, play, reuse_build

pytestmark = pytest.mark.usefixtures("database")

LISTS = ["runs", "results", "results/f26/1/functional_tests/1/tests", "tests", "images"]
NVR = "greeter-1.0-1.3.35fdde9.fc26"


def named(item: dict[str, str]) -> tuple[str, ...]:
    """Return what an item is called."""
    return item.get("id", item.get("result", "")), item.get("name", "")


@pytest.mark.parametrize("path", [path for path in LISTS if "/" not in path])
def test_of_nothing_there_is_an_empty_page(client: TestClient, path: str) -> None:
    """And no next one."""
    answer = client.get(f"{API}/{path}")

    assert answer.json() == {"items": [], "next": None}
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("runs/f26/99", "there is no run 'f26/99'; an id is BRANCH/NUMBER"),
        ("results/f26/1/build_package/9", "there is no result 'f26/1/build_package/9'"),
        ("results/f26/1/build_package/9/tests", "there is no result"),
        ("images/nothing.qcow2", "no image nothing.qcow2"),
        ("nothing", "There is nothing at this address"),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, told: Run, path: str, sentence: str) -> None:
    """As a problem with a sentence."""
    answer = client.get(f"{API}/{path}")
    problem = answer.json()

    assert (answer.status_code, problem["status"], problem["title"]) == (404, 404, "Not Found")
    assert sentence in problem["detail"]


def test_a_result_names_the_one_whose_output_it_took(client: TestClient, current: Settings) -> None:
    """By its id; what made its own names none."""
    origin, run = new_run(), new_run(rev="a" * 40)
    play(current, origin, Status.SUCCESS)
    reuse_build(current, run, origin)

    items = client.get(f"{API}/results?stage=build_package").json()["items"]
    stages = client.get(f"{API}/runs/f26/2").json()["stages"]

    assert [one["reused_from"] for one in items] == ["f26/1/build_package/1", None]
    assert [one["reused_from"] for one in stages] == ["f26/1/build_package/1"]


def test_a_run_says_its_lane_and_is_found_by_it(client: TestClient, current: Settings) -> None:
    """So are its results; one that was let out of the lane is live. The description has both lanes."""
    play(current, new_run(), Status.SUCCESS)
    with store.session() as session:
        storm, urgent = (runs.create(session, change(rev=digit * 40), lane=Lane.STORM) for digit in "ab")
        lanes.release(session, urgent.run_id)
    play(current, storm, Status.SUCCESS)

    found = {lane: walk(client, f"runs?lane={lane}") for lane in ("live", "storm")}
    described = client.get(f"{API}/openapi.json").json()["components"]["schemas"]

    assert [(one["id"], one["lane"]) for one in found["storm"]] == [("f26/2", "storm")]
    assert [(one["id"], one["lane"]) for one in found["live"]] == [("f26/3", "live"), ("f26/1", "live")]
    assert client.get(f"{API}/runs/f26/2").json()["lane"] == "storm"
    assert [one["run"]["lane"] for one in walk(client, "results?lane=storm")] == ["storm"]
    assert (described["Run"]["properties"]["lane"]["$ref"], described["Lane"]["enum"]) == (
        "#/components/schemas/Lane",
        ["live", "storm"],
    )


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["2/build_package", "1/compose_ostree", "1/functional_tests", "1/build_package"]),
        (f"nvr={NVR}", ["1/compose_ostree", "1/functional_tests", "1/build_package"]),
        ("original_spec_nvr=greeter-1.0-1.fc26&stage=compose_ostree", ["1/compose_ostree"]),
        (f"compose_rev={COMPOSE_REV}", ["1/compose_ostree"]),
        ("outcome=UNSTABLE", ["1/functional_tests"]),
        ("outcome=RUNNING", ["2/build_package"]),
        ("run=f26/1&stage=build_package", ["1/build_package"]),
        ("repo=hostinfo&namespace=rpms&branch=f26", ["2/build_package"]),
        (f"rev={REV}&kind=push&ref=fedora/f26/x86_64/atomic-host&repo=hostinfo", ["2/build_package"]),
        ("kind=backfill", []),
        ("branch=rawhide", []),
        ("since=2020-01-01T00:00:00Z&stage=build_package", ["1/build_package"]),
        ("until=2020-01-01T00:00:00%2B01:00", []),
        ("until=2020-01-01T00:00:00-23:59", []),
        ("until=0001-01-01T00:00:00Z", []),
        ("since=9999-12-31T23:59:59.999999Z", []),
    ],
)
def test_results_are_found_by_every_filter(client: TestClient, told: Run, query: str, ids: list[str]) -> None:
    """As the commands find them; the newest first."""
    assert [one["id"] for one in walk(client, f"results?{query}")] == [f"f26/{one}/1" for one in ids]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [("speaks", "skipped"), ("/plan/languages", "failed"), ("greets", "passed")]),
        ("outcome=failed", [("/plan/languages", "failed")]),
        ("name=/plan/languages&repo=greeter&stage=functional_tests", [("/plan/languages", "failed")]),
        ("result_outcome=UNSTABLE&name=greets", [("greets", "passed")]),
        ("result_outcome=SUCCESS", []),
        ("name=languages", []),
    ],
)
def test_tests_are_found_and_say_of_which_result_they_are(
    client: TestClient, told: Run, query: str, found: list[tuple[str, str]]
) -> None:
    """Across results."""
    tests = walk(client, f"tests?{query}")

    assert [(one["name"], one["outcome"]) for one in tests] == found
    assert {one["result"] for one in tests} <= {"f26/1/functional_tests/1"}


def test_a_run_has_its_stages_and_a_result_its_run(client: TestClient, told: Run) -> None:
    """Each under the id that lists have."""
    run = client.get(f"{API}/runs/f26/1").json()
    result = client.get(f"{API}/results/f26/1/functional_tests/1").json()
    tests = walk(client, "results/f26/1/functional_tests/1/tests?outcome=passed")

    assert [one["stage"] for one in run["stages"]] == ["build_package", "functional_tests", "compose_ostree"]
    assert (result["run"]["id"], result["counts"]) == ("f26/1", {"failed": 1, "passed": 1, "skipped": 1})
    assert (result["artifacts"][0]["sha256"], result["artifacts"][0]["size"]) == ("0" * 64, 2048)
    assert [one["name"] for one in tests] == ["greets"]
    assert [one["id"] for one in walk(client, "runs?outcome=RUNNING&repo=greeter")] == ["f26/1"]
    assert client.get(f"{API}/images/{IMAGE}").json() == walk(client, "images?branch=f26")[0]


@pytest.mark.parametrize("path", LISTS)
def test_pages_show_everything_once(client: TestClient, told: Run, current: Settings, path: str) -> None:
    """Whatever their size; with the next page in the body and in the Link header, filters kept."""
    play(current, new_run("hostinfo"), Status.SUCCESS, Status.FAILURE)
    whole = client.get(f"{API}/{path}").json()["items"]
    first = client.get(f"{API}/{path}?limit=1")

    assert [named(one) for one in walk(client, f"{path}?limit=1")] == [named(one) for one in whole]
    assert len({named(one) for one in whole}) == len(whole)
    if len(whole) > 1:
        assert first.json()["next"].startswith(f"{API}/{path}?limit=1&cursor=")
        assert first.headers["link"] == f'<{first.json()["next"]}>; rel="next"'


@pytest.mark.parametrize("path", [*LISTS, "runs/f26/1", "results/f26/1/functional_tests/1", f"images/{IMAGE}"])
def test_what_has_not_changed_is_not_sent_again(client: TestClient, told: Run, path: str) -> None:
    """Also when time goes by for what still runs; whoever has something else gets all of it."""
    first = client.get(f"{API}/{path}")
    again = client.get(f"{API}/{path}", headers={"if-none-match": f'"x", {first.headers["etag"]}'})
    other = client.get(f"{API}/{path}", headers={"if-none-match": '"x"'})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert other.status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"


def test_a_result_that_ends_has_another_etag(client: TestClient, told: Run, current: Settings) -> None:
    """And so have the pages it is on."""
    paths = ["results/f26/2/build_package/1", "results?repo=hostinfo", "runs/f26/2"]
    before = [client.get(f"{API}/{path}").headers["etag"] for path in paths]
    with store.session() as session:
        run = runs.get(session, "f26/2")
        Journal(session, current).skip_stage(run, BUILD_PACKAGE, 1, "not due")

    assert not set(before) & {client.get(f"{API}/{path}").headers["etag"] for path in paths}


@pytest.mark.parametrize("path", ["results?run=f26/1", "runs/f26/1", "runs/f26/99", "openapi.json"])
def test_head_is_get_without_a_body(client: TestClient, told: Run, path: str) -> None:
    """With the same status and headers."""
    got, head = client.get(f"{API}/{path}"), client.head(f"{API}/{path}")

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers == got.headers


@pytest.fixture
def proxied(app: object) -> Iterator[TestClient]:
    """A client of an Airflow that is served below a path."""
    with TestClient(app, root_path="/airflow") as made:  # type: ignore[arg-type]
        yield made


def test_the_next_page_is_below_where_airflow_is_served(proxied: TestClient, told: Run) -> None:
    """Not below the root of the host."""
    answer = proxied.get(f"/airflow{API}/results?limit=1&repo={quote('greeter')}")

    assert answer.json()["next"].startswith(f"/airflow{PREFIX}/api/v1/results?limit=1&repo=greeter&cursor=")


def test_times_have_a_zone(client: TestClient, told: Run) -> None:
    """Every time that is told is UTC and says so, and can be asked for as it is."""
    ended = client.get(f"{API}/results/f26/1/build_package/1").json()["ended_at"]
    later = datetime.fromisoformat(ended) + timedelta(microseconds=1)

    assert datetime.fromisoformat(ended).tzinfo is not None
    assert [one["id"] for one in walk(client, f"results?since={ended}&stage=build_package")] == [
        "f26/1/build_package/1"
    ]
    assert walk(client, f"results?since={later.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}&stage=build_package") == []
