"""The intake: firing what is queued, whatever Airflow says to a part of it."""

import logging
import threading
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, update

from ci_pipeline import intake, store
from ci_pipeline.airflow_api import AirflowApi
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store import lanes, outbox, runs
from ci_pipeline.store.tables import Inbound, Run
from tests.makers import new_run, pushed, received
from tests.storm import PACKAGES, push_of, rebuild, stormy

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What an api-server answers to starting a run, by DAG; the real one is in tests/e2e."""
    answers: dict[str, int] = {}

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        return httpx.Response(answers.get(request.url.path.split("/")[4], 200))

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(intake, "AirflowApi", lambda settings: AirflowApi(settings, transport=transport))
    return answers


def waiting() -> list[str]:
    """Return the runs that are not fired."""
    with store.session() as session:
        return [run.run_id for run in runs.not_fired(session)]


def test_a_refused_run_does_not_hold_up_the_others(current: Settings, airflow: dict[str, int]) -> None:
    """It is fired again the next time."""
    refused, fired = new_run(), new_run(branch="rawhide")
    airflow["ci-pipeline-f26"] = 404
    Intake(current, trigger_run_id="x").catch_up()

    assert waiting() == [refused.run_id]
    assert fired.run_id not in waiting()

    airflow.clear()
    Intake(current, trigger_run_id="x").catch_up()

    assert waiting() == []


def test_airflow_that_is_away_loses_nothing(current: Settings) -> None:
    """Nothing listens where the settings point to: the change waits, its announcement is out."""
    settings = current.model_copy(update={"airflow": current.airflow.model_copy(update={"url": "http://127.0.0.1:9"})})
    taker = Intake(settings, trigger_run_id="x")
    taker.record([pushed()])
    taker.catch_up()
    with store.session() as session:
        pending = outbox.pending(session)

    assert len(waiting()) == 1
    assert pending == (0, 0)


def test_a_bus_that_is_away_keeps_the_announcements(current: Settings, airflow: dict[str, int]) -> None:
    """The run starts all the same."""
    bus = current.bus.model_copy(update={"url": type(current.bus.url)("amqp://127.0.0.1:9/"), "publish_timeout": 2})
    taker = Intake(current.model_copy(update={"bus": bus}), trigger_run_id="x")
    taker.record([pushed()])
    taker.catch_up()
    with store.session() as session:
        pending = outbox.pending(session)

    assert waiting() == []
    assert pending == (1, 0)


def test_a_certificate_that_is_not_there_keeps_the_announcements(
    current: Settings, airflow: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """As it is while it is being renewed: the run starts, and what is wrong is said."""
    url = type(current.bus.url)("amqps://127.0.0.1:9/")
    bus = current.bus.model_copy(update={"url": url, "ca": Path("/gone.pem")})
    taker = Intake(current.model_copy(update={"bus": bus}), trigger_run_id="x")
    taker.record([pushed()])
    taker.catch_up()
    with store.session() as session:
        pending = outbox.pending(session)

    assert waiting() == []
    assert pending == (1, 0)
    assert "messages stay in the outbox: bus.ca /gone.pem cannot be read" in caplog.text


def test_what_is_of_runs_can_be_announced_before_all_else(current: Settings) -> None:
    """However much was said before it: in a storm somebody waits for it, and nobody for the rest."""
    taker = Intake(current, trigger_run_id="x")
    taker.record([pushed(f"p{number}") for number in range(300)])
    taker.announce_runs(taker.record([pushed()]))
    with store.session() as session:
        said = [row.event for row in outbox.messages(session) if row.published_at]

    assert said == ["package.queued"]


def test_the_rest_is_announced_until_there_is_something_better_to_do(current: Settings) -> None:
    """It is asked after each batch; what is left stays pending, and goes out the next time."""
    taker = Intake(current, trigger_run_id="x")
    taker.record([pushed(f"p{number}") for number in range(300)])
    left = []
    for stop in (True, False):
        taker.announce_rest(lambda stop=stop: stop)
        with store.session() as session:
            left.append(outbox.pending(session))

    assert left == [(100, 0), (0, 0)]


def test_of_a_storm_so_many_are_fired_and_what_others_push_at_once(current: Settings, airflow: dict[str, int]) -> None:
    """However often it is looked: there is room only when one has ended."""
    settings = stormy(current, changes=0, at_once=2, never=["alice"])
    rebuild(settings, 5)
    taker = Intake(settings, trigger_run_id="x")
    for _ in range(3):
        taker.catch_up()

    assert fired() == PACKAGES[:2]

    taker.record([push_of("greeter", by="alice")])
    taker.catch_up()

    assert fired() == [*PACKAGES[:2], "greeter"]


def test_a_branch_that_is_refused_holds_up_no_storm_of_others(current: Settings, airflow: dict[str, int]) -> None:
    """Its DAG is broken: the others have the room."""
    settings = stormy(current, changes=0, at_once=3)
    rebuild(settings, 4)
    rebuild(settings, 4, branch="main")
    airflow["ci-pipeline-f26"] = 404
    Intake(settings, trigger_run_id="x").catch_up()
    with store.session() as session:
        branches = list(session.scalars(select(Run.branch).where(Run.fired_at.is_not(None))))

    assert branches == ["rawhide"] * 3


def test_two_that_fire_at_the_same_time_keep_to_the_bound(current: Settings, airflow: dict[str, int]) -> None:
    """The listener and the reconciler."""
    settings = stormy(current, changes=0, at_once=3)
    rebuild(settings, 9)
    start = threading.Barrier(4)

    def look() -> None:
        start.wait()
        Intake(settings, trigger_run_id="x").catch_up()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert fired() == PACKAGES[:3]


def test_while_another_lets_runs_go_nobody_else_does(current: Settings, airflow: dict[str, int]) -> None:
    """Both would see the same room; what is live does not wait for it."""
    settings = stormy(current, changes=0, never=["alice"])
    rebuild(settings, 2)
    taker = Intake(settings, trigger_run_id="x")
    taker.record([push_of("greeter", by="alice")])
    with store.session() as another:
        lanes.lock(another)
        taker.catch_up()

    assert fired() == ["greeter"]


def test_the_end_of_a_storm_is_said(current: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """As its beginning is: whoever reads the log is warned of both, once."""
    settings = stormy(current, changes=1)
    rebuild(settings, 4)
    with store.session() as session:
        session.execute(update(Inbound).values(received_at=Inbound.received_at - timedelta(hours=1)))
    for _ in range(2):
        Intake(settings, trigger_run_id="x").catch_up()

    assert caplog.text.count("a storm of releng begins: its changes wait for their turn") == 1
    assert caplog.text.count("the storm of releng is over; what waits of it goes on") == 1


def test_the_log_has_what_is_run_and_the_number_of_the_rest(
    current: Settings, airflow: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """In a storm nearly everything is ignored: a line for each would hide the others; the ledger has it."""
    caplog.set_level(logging.INFO)
    taker = Intake(current, trigger_run_id="x")
    taker.record([pushed("polari"), received(b"{"), pushed(), pushed("gnome-maps")])
    taker.catch_up()
    ours = [one.getMessage() for one in caplog.records if one.name in {"ci_pipeline.intake", "ci_pipeline.publishing"}]

    assert ours[0].startswith("message 2: org.fedoraproject.prod.git.receive: dead the message is not JSON")
    assert ours[1:] == [
        "message 3: rpms/greeter 35fdde9 f26: queued ",
        "2 messages ignored, the last of them is 4",
        "published rpms/greeter 35fdde9 on f26: package.queued SUCCESS",
        "published 2 messages that are of no run",
        "fired rpms/greeter 35fdde9 f26 as ci-pipeline-f26 rpms.greeter-35fdde9-f26-1",
    ]


def fired() -> list[str]:
    """Return the packages that Airflow was told of, in order."""
    with store.session() as session:
        return list(session.scalars(select(Run.repo).where(Run.fired_at.is_not(None)).order_by(Run.fired_at, Run.id)))


def test_all_that_wait_are_fired_however_many_they_are(current: Settings, airflow: dict[str, int]) -> None:
    """They are read a hundred at a time; nobody looks again soon once a storm is over."""
    for number in range(105):
        new_run(rev=f"{number:040}")
    Intake(current, trigger_run_id="x").catch_up()

    assert waiting() == []


def test_what_airflow_took_before_it_went_away_is_not_fired_again(
    current: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written down all the same; the others wait."""
    fired, left = new_run(), new_run("hostinfo")

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        if b"hostinfo" in request.content:
            raise httpx.ConnectError("gone")
        return httpx.Response(200)

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(intake, "AirflowApi", lambda settings: AirflowApi(settings, transport=transport))
    Intake(current, trigger_run_id="x").catch_up()

    assert waiting() == [left.run_id]
    assert fired.run_id not in waiting()
