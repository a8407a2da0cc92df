"""What the pages show."""

from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from ci_pipeline import settings, store
from ci_pipeline.errors import MessageRejected
from ci_pipeline.executors.report import Report
from ci_pipeline.intake import Intake
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, FUNCTIONAL_TESTS, STAGES
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Image, Outbox, Run
from tests.buses import publish_by
from tests.makers import OUTPUTS, REV, change, new_run, play, pushed, received, reuse_build

pytestmark = pytest.mark.usefixtures("database")

EVIL = "<script>alert(1)</script>\u202e\x1b[31m\"'>"


def main(client: TestClient, path: str, status: int = 200) -> str:
    """Return what a page shows as its main content, as a browser would read it."""
    answer = client.get(f"/ci-pipeline/{path}")

    assert answer.status_code == status

    # Where a line may break is nothing that is read.
    return answer.text.split("<main")[1].split("</main>")[0].replace("<wbr>", "")


def finish(settings: Settings, run: Run) -> None:
    """Let a run end."""
    with store.session() as session:
        Journal(session, settings).finish_run(runs.locked(session, run.id))


def build(settings: Settings, run: Run, report: Report, *, try_number: int = 1) -> None:
    """Let the build of a run end with a report."""
    with store.session() as session:
        journal, row = Journal(session, settings), runs.locked(session, run.id)
        journal.begin_stage(row, BUILD_PACKAGE, try_number)
        journal.finish_stage(row, BUILD_PACKAGE, try_number, report, final=True)


@pytest.mark.parametrize("path", ["", "images", "bus"])
def test_an_empty_database_is_a_page(client: TestClient, path: str) -> None:
    """It says that there is nothing."""
    assert "No " in main(client, path)


def test_the_matrix_has_the_newest_change_of_each_package(client: TestClient, current: Settings) -> None:
    """An older one that has ended is not shown."""
    older, newer, other = new_run(), new_run(rev="a" * 40), new_run("hostinfo", branch="rawhide")
    for run in (older, newer, other):
        play(current, run, *[Status.SUCCESS] * len(STAGES))
        finish(current, run)

    shown = main(client, "")

    assert f"/change/{newer.branch}/{newer.number}" in shown
    assert f'"/ci-pipeline/change/{older.branch}/{older.number}"' not in shown
    assert shown.index("branch-f26") < shown.index("branch-rawhide") < shown.index("rpms/hostinfo")


def test_a_change_that_goes_on_comes_first(client: TestClient, current: Settings) -> None:
    """Also before a package that comes before it in the alphabet, and although a newer one has ended."""
    ended, running = new_run("aaa"), new_run("zzz")
    newer = new_run("zzz", rev="a" * 40)
    for run in (ended, newer):
        play(current, run, *[Status.SUCCESS] * len(STAGES))
        finish(current, run)

    shown = main(client, "")

    assert shown.index(f"change/f26/{running.number}") < shown.index(f"change/f26/{ended.number}")
    assert shown.index(f"change/f26/{ended.number}") < shown.index(f"change/f26/{newer.number}")


def test_a_build_that_was_reused_leads_to_the_run_that_made_it(client: TestClient, current: Settings) -> None:
    """That run's own page says nothing of the kind."""
    origin, run = new_run(), new_run(rev="a" * 40)
    play(current, origin, Status.SUCCESS)
    reuse_build(current, run, origin)

    told = f'reused from run <a href="/ci-pipeline/change/f26/{origin.number}">f26/{origin.number}</a>'
    assert told in main(client, f"change/f26/{run.number}")
    assert "reused from" not in main(client, f"change/f26/{origin.number}")


@pytest.mark.parametrize(
    ("fault", "told"),
    [(Fault.PACKAGE, "the package&#39;s fault"), (Fault.INFRASTRUCTURE, "the infrastructure&#39;s fault")],
)
def test_whose_fault_a_red_one_is_stands_in_the_matrix(
    client: TestClient, current: Settings, fault: Fault, told: str
) -> None:
    """Beside its status."""
    run = new_run()
    build(current, run, Report(status=Status.FAILURE, reason="because", fault=fault))
    finish(current, run)

    assert unescape(told) in unescape(main(client, ""))


def test_the_matrix_is_filtered_by_branch_package_and_status(client: TestClient, current: Settings) -> None:
    """A part of the name is enough; what it may mean in a pattern means nothing."""
    red, green, other = new_run("greeter"), new_run("greener"), new_run("hostinfo", branch="rawhide")
    build(current, red, Report(status=Status.FAILURE, reason="because", fault=Fault.PACKAGE))
    for run in (green, other):
        play(current, run, *[Status.SUCCESS] * len(STAGES))
    for run in (red, green, other):
        finish(current, run)

    assert "rpms/greener" not in main(client, "?package=eeter")
    assert "rpms/greeter" in main(client, "?package=EETER")
    assert "rpms/" not in main(client, "?package=%25")
    assert "rpms/greener" not in main(client, "?status=FAILURE")
    assert "rpms/greeter" in main(client, "?status=FAILURE")
    assert "rpms/greeter" not in main(client, "?branch=rawhide")
    assert "rpms/" not in main(client, "?status=running")


def test_the_matrix_is_paged(client: TestClient) -> None:
    """Every package is on one page, none on two."""
    names = [f"package{number:03}" for number in range(120)]
    with store.session() as session:
        for name in names:
            runs.create(session, change(name)).status = Status.SUCCESS
    path, found = "", []
    while path is not None:
        shown = main(client, path)
        found += [name for name in names if f"rpms/{name}<" in shown]
        following = shown.split('id="following" href="/ci-pipeline/')
        path = unescape(following[1].split('"')[0]) if len(following) > 1 else None

    assert found == names


@pytest.mark.parametrize("path", ["?status=nonsense", "bus?before=x", "bus?state=nonsense", f"bus?before={2**70}"])
def test_a_parameter_that_makes_no_sense_is_a_400(client: TestClient, path: str) -> None:
    """As a page."""
    assert "Not understood" in main(client, path, 400)


@pytest.mark.parametrize("after", ["f26", ":::", "f26:rpms:zzz", "%00:a:b", "'; drop table run"])
def test_a_page_that_begins_nowhere_is_a_page(client: TestClient, after: str) -> None:
    """Whatever was made of the address."""
    new_run()

    assert client.get("/ci-pipeline/", params={"after": after}).status_code == 200


@pytest.mark.parametrize(
    "key", ["run_id", "f26/1", REV, REV[:7], "greeter-1.0-1.3.35fdde9.fc26", "greeter-1.0-1.fc26", "m-1", "1"]
)
def test_a_change_has_a_page_by_every_name(client: TestClient, current: Settings, key: str) -> None:
    """Run id, branch and number, revision, NVRs, and the id and number of its message."""
    Intake(current, trigger_run_id="x").record([pushed()])
    with store.session() as session:
        run = runs.get(session, "f26/1")
    play(current, run, Status.SUCCESS)

    shown = main(client, f"change/{run.run_id if key == 'run_id' else key}")

    assert "rpms/greeter 35fdde9 f26" in shown
    assert "Not red" in shown


def test_what_was_published_finds_its_change(client: TestClient, current: Settings) -> None:
    """By the id it has in the outbox and in its header."""
    Intake(current, trigger_run_id="x").record([pushed()])
    with store.session() as session:
        (said,) = outbox.messages(session)

    assert "rpms/greeter 35fdde9 f26" in main(client, f"change/{said.id}")


def test_an_ambiguous_key_is_a_list_to_choose_from(client: TestClient) -> None:
    """The same revision on two branches."""
    new_run()
    new_run(branch="rawhide")

    shown = main(client, f"change/{REV}")

    assert "Which one?" in shown
    assert "change/f26/1" in shown
    assert "change/rawhide/1" in shown


def test_the_tab_of_a_run_means_the_run_of_its_dag(client: TestClient, current: Settings) -> None:
    """Airflow's run ids are unique per DAG only."""
    with store.session() as session:
        runs.create(session, change(), run_id="manual__x")
        runs.create(session, change(branch="rawhide"), run_id="manual__x")

    assert "rpms/greeter 35fdde9 rawhide" in main(client, "change/manual__x?dag=ci-pipeline-rawhide")
    assert "Not found" in main(client, "change/manual__x?dag=ci-pipeline-trigger", 404)


@pytest.mark.parametrize(
    "key", ["nothing", "f26/7", "a" * 40, "%00", "é", "a" * 2000, f"f26/{'9' * 18}", f"{'9' * 400}", "//"]
)
def test_an_unknown_key_is_a_404_with_advice(client: TestClient, key: str) -> None:
    """Whatever it is made of."""
    shown = main(client, f"change/{key}", 404)

    assert "Not found" in shown
    assert "NVR" in shown


def test_the_search_field_leads_to_the_permalink(client: TestClient) -> None:
    """And is escaped on the way."""
    assert client.get("/ci-pipeline/change?key=f26/1%3Fx").headers["location"] == "/ci-pipeline/change/f26/1%3Fx"
    assert client.get("/ci-pipeline/change?key=").headers["location"] == "/ci-pipeline/"


def test_a_change_shows_tries_tests_files_and_messages(client: TestClient, current: Settings) -> None:
    """The newest try counts, the older one is kept; what failed comes first; what is served has an address."""
    Intake(current, trigger_run_id="x").record([pushed()])
    with store.session() as session:
        run = runs.get(session, "f26/1")
    build(current, run, Report(status=Status.FAILURE, reason="the network broke off", fault=Fault.INFRASTRUCTURE))
    report = Report.model_validate(
        {
            "status": "SUCCESS",
            "artifacts": [
                {
                    "name": "greeter.rpm",
                    "path": f"{current.artifacts.folder}/a b/greeter.rpm",
                    "kind": "rpm",
                    "sha256": "0" * 64,
                    "size": 2048,
                },
                {"name": "build.log", "path": "/elsewhere/build.log", "kind": "log", "sha256": "0" * 64, "size": 1},
            ],
        }
    )
    build(current, run, report, try_number=2)
    tests = [
        {"name": f"test-{outcome}-{number}", "outcome": outcome, "seconds": 1, "message": "why"}
        for number, outcome in enumerate(["passed"] * 600 + ["failed"])
    ]
    with store.session() as session:
        journal, row = Journal(session, current), runs.locked(session, run.id)
        journal.begin_stage(row, FUNCTIONAL_TESTS, 1)
        unstable = Report.model_validate({"status": "UNSTABLE", "reason": "1 of 601 tests failed", "tests": tests})
        journal.finish_stage(row, FUNCTIONAL_TESTS, 1, unstable, final=True)

    shown = main(client, "change/f26/1")

    assert "1 older try" in shown
    assert "the network broke off" in shown
    assert shown.index("test-failed-600") < shown.index("test-passed-0")
    assert "1 failed, 600 passed, 0 skipped" in shown
    assert "101 more are not listed" in shown
    assert f'href="{current.artifacts.url}/a%20b/greeter.rpm"' in shown
    assert f'href="{current.airflow.url}/ci-pipeline-logs/ci-pipeline-f26/' in shown
    assert "build.log</a>" in shown
    assert "ci.pipeline.package.running" in shown
    assert shown.count("waiting") >= 3
    assert all(f'id="{anchor}"' in shown for anchor in ("messages", "results", "tests", "files"))


def test_a_test_that_passed_on_its_rerun_is_not_among_those_that_passed(client: TestClient, current: Settings) -> None:
    """It is counted apart, and how often it was flaky lately stands beside it."""
    outcomes = ["passed-on-rerun", "failed", "passed"]
    tests = [{"name": f"test-{outcome}", "outcome": outcome} for outcome in outcomes]
    run = new_run()
    with store.session() as session:
        journal, row = Journal(session, current), runs.locked(session, run.id)
        journal.begin_stage(row, FUNCTIONAL_TESTS, 1)
        unstable = Report.model_validate({"status": "UNSTABLE", "reason": "1 of 3 tests failed", "tests": tests})
        journal.finish_stage(row, FUNCTIONAL_TESTS, 1, unstable, final=True)

    shown = main(client, "change/f26/1")

    assert "1 failed, 1 passed, 0 skipped, 1 failed and passed when run again." in shown
    assert "1 tests that did not fail" in shown
    assert "more are not listed" not in shown
    assert shown.index("test-failed") < shown.index("test-passed-on-rerun") < shown.index("tests that did not fail")
    assert shown.count("flaky: 1 of its last 1 run") == 1
    assert '<span class="status passed-on-rerun"><span aria-hidden="true">!</span>' in shown


def test_the_first_sentence_answers_whose_fault_it_is(client: TestClient, current: Settings) -> None:
    """And the second what happens next."""
    run = new_run()
    build(current, run, Report(status=Status.FAILURE, reason="%check failed", fault=Fault.PACKAGE))
    finish(current, run)

    shown = main(client, "change/f26/1")

    assert "Red because of the package: build_package: %check failed." in shown
    assert "push a fix" in shown


def test_a_message_that_led_to_no_run_has_a_page(client: TestClient, current: Settings) -> None:
    """With the decision and its reason."""
    Intake(current, trigger_run_id="x").record([received(b"{"), pushed("nobodys-package")])

    assert "could not be read" in main(client, "change/1")
    assert "is not watched" in main(client, "change/2")


def test_what_strangers_wrote_is_text(client: TestClient, current: Settings) -> None:
    """A reason, a test's name, a message's body, an agent: escaped, printable, and no address of theirs is a link."""
    Intake(current, trigger_run_id="x").record(
        [received({"agent": EVIL, "x": EVIL}, topic=EVIL, message_id=EVIL), pushed()]
    )
    with store.session() as session:
        run = runs.get(session, "f26/1")
    report = Report.model_validate(
        {
            "status": "UNSTABLE",
            "reason": EVIL,
            "outputs": {"commit_subject": EVIL, "nvr": "javascript:alert(1)"},
            "tests": [{"name": EVIL, "outcome": "failed", "seconds": 1, "message": "x" * 4000}],
            "artifacts": [{"name": EVIL, "path": f"/{EVIL}", "kind": "log", "sha256": "0" * 64, "size": 1}],
        }
    )
    build(current, run, report)

    for path in ("", "bus", "change/f26/1", "change/1"):
        shown = main(client, path)
        assert "<script" not in shown
        assert "\u202e" not in shown
        assert "\x1b" not in shown
        assert 'href="javascript' not in shown
        assert len(shown) < 60_000


def test_images_say_which_is_latest_and_when_the_next_is_due(client: TestClient, current: Settings) -> None:
    """Generated, booted, removed: each with its time."""
    play(current, new_run(), *[Status.SUCCESS] * 6)
    play(current, new_run("hostinfo"), *[Status.SUCCESS] * 5)
    with store.session() as session:
        session.execute(update(Image).where(Image.id == 2).values(name="second.qcow2", removed_at=datetime.now(UTC)))

    shown = main(client, "images")

    assert "The next image is due at" in shown
    assert "No image has booted yet" in shown
    assert shown.count("latest") == 1
    assert shown.index("second.qcow2") < shown.index("latest")
    assert f'href="{current.artifacts.url}/fedora-atomic/f26/images/second.qcow2"' not in shown
    assert "19.1 MiB" in shown


def test_an_image_of_long_ago_is_due(client: TestClient, current: Settings) -> None:
    """After the interval."""
    play(current, new_run(), *[Status.SUCCESS] * 6)
    with store.session() as session:
        session.execute(update(Image).values(smoke_passed_at=datetime.now(UTC) - timedelta(hours=30)))

    assert "An image is due" in main(client, "images")


def test_conformance_validates_an_image(client: TestClient, current: Settings) -> None:
    """Its tests passed on a cluster on that image."""
    play(current, new_run(), *[Status.SUCCESS] * 6)
    before = main(client, "images").count("not validated")
    play(current, new_run("hostinfo"), *[Status.SUCCESS] * 10)

    assert (before, main(client, "images").count("not validated")) == (1, 1)


def test_a_validated_image_leads_to_its_manifest(client: TestClient, current: Settings) -> None:
    """Once it is written, and as long as it is there."""
    play(current, new_run(), *[Status.SUCCESS] * 10)
    name = OUTPUTS["generate_image"]["image_name"]
    href = f'href="{current.artifacts.url}/fedora-atomic/f26/images/{name}.manifest.json"'
    shown = [href in main(client, "images")]
    for values in ({"manifest_sha256": "1" * 64}, {"removed_at": datetime.now(UTC)}):
        with store.session() as session:
            session.execute(update(Image).values(values))
        shown.append(href in main(client, "images"))

    assert shown == [False, True, False]


def test_the_ledger_is_filtered_and_paged(client: TestClient, current: Settings) -> None:
    """By decision and package; older pages by number."""
    Intake(current, trigger_run_id="x").record([pushed(f"p{number}") for number in range(70)] + [pushed()])

    first = main(client, "bus")
    older = main(client, unescape(first.split('id="older" href="/ci-pipeline/')[1].split('"')[0]))

    assert "rpms/greeter" in first
    assert "rpms/p0 " not in first
    assert "rpms/p0 " in older
    assert "rpms/p69 " not in older
    assert "rpms/p3 " not in main(client, "bus?state=queued")
    assert "rpms/p3 " in main(client, "bus?package=p3")
    assert "rpms/p33 " not in main(client, "bus?package=p3")


def test_what_waits_and_what_is_parked_is_shown(client: TestClient, current: Settings) -> None:
    """Each with its reason."""
    Intake(current, trigger_run_id="x").record([pushed()])

    assert "1 message waits" in main(client, "bus")

    def refuse(_: Outbox) -> None:
        raise MessageRejected("the account may not write there")

    publish_by(refuse)

    shown = main(client, "bus")
    assert "1 message waits" not in shown
    assert "the account may not write there" in shown
    assert "Replay" in shown


def test_a_page_that_has_not_changed_is_not_sent_again(client: TestClient, current: Settings) -> None:
    """304 while nothing happens; all of it when something has."""
    tag = client.get("/ci-pipeline/images").headers["etag"]
    again = client.get("/ci-pipeline/images", headers={"if-none-match": tag})
    play(current, new_run(), *[Status.SUCCESS] * 6)
    changed = client.get("/ci-pipeline/images", headers={"if-none-match": tag})

    assert (again.status_code, again.content) == (304, b"")
    assert changed.status_code == 200


def test_links_lead_below_where_airflow_is_served(client: TestClient, app: object) -> None:
    """A prefix of Airflow's is a prefix of ours."""
    new_run()
    with TestClient(app, root_path="/airflow", headers={"accept": "text/html"}) as below:
        shown = below.get("/airflow/ci-pipeline/").text

    assert 'href="/airflow/ci-pipeline/change/f26/1"' in shown
    assert 'href="/airflow/dags/ci-pipeline-f26/runs/' in shown


def test_a_database_that_is_away_is_said(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a status that makes the page try again, and the server's own words."""
    with monkeypatch.context() as away:
        away.setenv("CI_PIPELINE_DATABASE__URL", "postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
        settings.current.cache_clear()
        shown = main(client, "", 503)
    settings.current.cache_clear()

    assert "The database is away" in shown


def test_what_is_ignored_waits_to_go_out_as_everything_does(client: TestClient, current: Settings) -> None:
    """On the page of the bus and on its own, before it is a row of the outbox."""
    Intake(current, trigger_run_id="x").record([pushed("polari"), pushed("gnome-maps")])

    bus, trace = main(client, "bus"), main(client, "change/1")

    assert "2 messages wait to be published" in bus
    assert bus.count("ci.pipeline.package.ignore") == 2
    assert "ci.pipeline.package.ignore" in trace
