"""Jenkins as it is asked: by the provider's hook and its client, against a stand-in that speaks Jenkins' HTTP."""

import io
import logging
from collections.abc import Callable

import pytest

from ci_pipeline.errors import ExecutorError, JenkinsAway
from operators.jenkins_server import HookedJenkins, connect
from tests.jenkins_stand_in import API_TOKEN, PASSWORD, Item, JenkinsStandIn, jenkins, name_connection, serving

__all__ = ["jenkins"]
JOB = "ci-pipeline-build_package"


@pytest.fixture
def server(jenkins: JenkinsStandIn) -> HookedJenkins:
    """The Jenkins of the Airflow connection."""
    return connect("jenkins_default")


def test_a_connection_that_is_not_there_is_named() -> None:
    """With the setting that names it."""
    with pytest.raises(ExecutorError, match=r"there is no Airflow connection nowhere \(jenkins.connection\)"):
        connect("nowhere")


def test_a_connection_without_a_port_is_refused(jenkins: JenkinsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider would ask for port None."""
    name_connection(monkeypatch, jenkins, API_TOKEN, port=None)

    with pytest.raises(ExecutorError, match="jenkins_default needs a host, without http://, and a port"):
        connect("jenkins_default")


LOOKS: list[Callable[[HookedJenkins], object]] = [
    lambda server: server.ask(JOB, token="t", request="{}"),
    lambda server: server.queue_item(1),
    lambda server: server.find(JOB, "t"),
    lambda server: server.build(JOB, 1),
    lambda server: server.fetch(JOB, 1, "result.json", io.BytesIO(), most=10),
    lambda server: server.last_line(JOB, 1),
    lambda server: server.cancel(1),
    lambda server: server.stop(JOB, 1),
]


@pytest.mark.parametrize("look", LOOKS)
def test_a_jenkins_that_is_starting_is_away(
    jenkins: JenkinsStandIn, server: HookedJenkins, look: Callable[[HookedJenkins], object]
) -> None:
    """It answers 503 with a page; python-jenkins would say that the job does not exist."""
    jenkins.is_starting = True

    with pytest.raises(JenkinsAway, match="is not ready: it answers 503"):
        look(server)


@pytest.mark.parametrize("look", LOOKS)
def test_a_jenkins_that_hangs_up_is_away(
    jenkins: JenkinsStandIn, server: HookedJenkins, look: Callable[[HookedJenkins], object]
) -> None:
    """Its process was killed in the midst of an answer."""
    jenkins.hangs_up = True

    with pytest.raises(JenkinsAway, match="does not answer: ConnectionError"):
        look(server)


def test_a_jenkins_that_is_not_there_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens."""
    stand_in = JenkinsStandIn()
    stand_in.url = "http://127.0.0.1:9"
    name_connection(monkeypatch, stand_in, API_TOKEN)

    with pytest.raises(JenkinsAway, match=r"Jenkins at 127.0.0.1:9 does not answer"):
        connect("jenkins_default").find(JOB, "t")


@pytest.mark.parametrize("look", LOOKS)
def test_a_wrong_account_is_refused_and_its_password_not_told(
    jenkins: JenkinsStandIn,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    look: Callable[[HookedJenkins], object],
) -> None:
    """No use in waiting: the connection is to be mended."""
    name_connection(monkeypatch, jenkins, "wrong-hunter2")
    with caplog.at_level(logging.DEBUG), pytest.raises(ExecutorError) as refused:
        look(connect("jenkins_default"))

    assert "refuses our account (401): see the Airflow connection jenkins_default" in str(refused.value)
    assert not isinstance(refused.value, JenkinsAway)
    assert "hunter2" not in caplog.text + str(refused.value)


def test_an_account_with_a_password_sends_the_crumb_of_its_session(
    jenkins: JenkinsStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jenkins asks for none of an API token."""
    name_connection(monkeypatch, jenkins, PASSWORD)
    server = connect("jenkins_default")

    assert server.ask(JOB, token="t", request="{}") == 1
    assert "GET /crumbIssuer/api/json" in jenkins.asked


def test_crumbs_that_a_restart_made_void_are_waited_for(
    jenkins: JenkinsStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next look begins with a new session."""
    name_connection(monkeypatch, jenkins, PASSWORD)
    server = connect("jenkins_default")
    server.ask(JOB, token="t", request="{}")
    jenkins.crumbs.clear()

    with pytest.raises(JenkinsAway, match="does not know its own crumb"):
        server.stop(JOB, 1)

    assert server.another().ask(JOB, token="u", request="{}") == 2


def test_a_request_of_any_size_is_a_parameter(jenkins: JenkinsStandIn, server: HookedJenkins) -> None:
    """In the body: an address has no room for it, and ends up in logs."""
    request = '{"é": "' + 200_000 * "x" + '&TOKEN=other"}'
    number = server.ask(JOB, token="t", request=request)

    assert jenkins.items[number].parameters == {"REQUEST": request, "TOKEN": "t"}
    assert jenkins.posts == [f"/job/{JOB}/buildWithParameters"]


@pytest.mark.parametrize("how", ["missing", "without parameters", "disabled"])
def test_a_job_that_cannot_be_built_is_said(jenkins: JenkinsStandIn, server: HookedJenkins, how: str) -> None:
    """Each in its way."""
    job = {"missing": "no/such", "without parameters": "plain", "disabled": JOB}[how]
    jenkins.add("plain")
    jenkins.answers[f"/job/{JOB}/buildWithParameters"] = 409
    sentence = {"missing": "may see", "without parameters": "it answers 500", "disabled": "it answers 409"}[how]

    with pytest.raises(ExecutorError, match=sentence):
        server.ask(job, token="t", request="{}")


def test_jobs_in_folders_are_found(jenkins: JenkinsStandIn, server: HookedJenkins) -> None:
    """With blanks in their names, too."""
    jenkins.add("team a/ci/build", "REQUEST", "TOKEN")
    server.ask("team a/ci/build", token="t", request="{}")
    number = jenkins.start().number
    found = server.build("team a/ci/build", number)

    assert found is not None
    assert found.number == number


def test_a_queue_item_is_read(jenkins: JenkinsStandIn, server: HookedJenkins) -> None:
    """Waiting, built, cancelled, and forgotten."""
    first, second = (server.ask(JOB, token=token, request="{}") for token in "ab")
    waits = server.queue_item(first)
    jenkins.start(jenkins.items[first])
    server.cancel(second)
    left, cancelled = server.queue_item(first), server.queue_item(second)
    jenkins.expire()

    assert waits
    assert (waits.why, waits.build) == ("In the quiet period. Expires in 4.9 sec", None)
    assert left
    assert (left.build, left.cancelled) == (1, False)
    assert cancelled
    assert (cancelled.build, cancelled.cancelled) == (None, True)
    assert server.queue_item(first) is None


def test_a_build_is_found_by_its_token_in_queue_and_job(jenkins: JenkinsStandIn, server: HookedJenkins) -> None:
    """Whatever Jenkins has forgotten of its queue."""
    for token in "abc":
        server.ask(JOB, token=token, request="{}")
    waits = server.find(JOB, "b")
    for item in list(jenkins.items.values()):
        jenkins.start(item)
    jenkins.expire()
    built = server.find(JOB, "b")

    assert waits
    assert (waits.id, waits.build) == (2, None)
    assert built
    assert built.build == 2
    assert server.find(JOB, "z") is None


def test_a_job_that_is_gone_is_said_when_a_build_is_looked_for(server: HookedJenkins) -> None:
    """It is not the same as a build that is not there."""
    with pytest.raises(ExecutorError, match="there is no job gone in Jenkins that our account may see"):
        server.find("gone", "t")


def test_a_build_is_read(jenkins: JenkinsStandIn, server: HookedJenkins) -> None:
    """As far as it is asked for; control characters of people's names are taken out."""
    server.ask(JOB, token="t", request="{}")
    build = jenkins.start()
    runs = server.build(JOB, 1)
    build.files["logs/a b.log"] = b"x"
    build.abort("Aborted by \x1b[31mJane\n Doe")
    ended = server.build(JOB, 1)

    assert runs
    assert not runs.has_ended
    assert ended
    assert ended.has_ended
    assert ended.url == f"http://jenkins.example.org/job/{JOB}/1/"
    assert [cause.text for cause in ended.interrupted_by] == ["Aborted by Jane Doe"]
    assert ended.paths == {"logs/a b.log"}
    assert server.build(JOB, 2) is None


def test_what_is_no_jenkins_is_refused(jenkins: JenkinsStandIn, server: HookedJenkins) -> None:
    """A page of something else, with 200."""
    jenkins.answers[f"/job/{JOB}/1/api/json"] = 200

    with pytest.raises(ExecutorError, match=r"what answers for Jenkins at .* is none"):
        server.build(JOB, 1)


@pytest.fixture
def built(jenkins: JenkinsStandIn, server: HookedJenkins) -> Item:
    """A build that has archived a file."""
    server.ask(JOB, token="t", request="{}")
    build = jenkins.start()
    build.end("FAILURE", files={"logs/a b.log": b"0123456789"}, says="ERROR: script returned exit code 1")
    return jenkins.items[1]


def test_an_artifact_is_fetched(server: HookedJenkins, built: Item) -> None:
    """Names are quoted."""
    into = io.BytesIO()
    server.fetch(JOB, 1, "logs/a b.log", into, most=10)

    assert into.getvalue() == b"0123456789"


def test_an_artifact_that_is_larger_than_said_is_not_read_to_its_end(server: HookedJenkins, built: Item) -> None:
    """Whatever is behind it."""
    with pytest.raises(ExecutorError, match="Jenkins sends more than 9 bytes for the artifact"):
        server.fetch(JOB, 1, "logs/a b.log", io.BytesIO(), most=9)


def test_an_artifact_that_is_gone_is_said(server: HookedJenkins, built: Item) -> None:
    """Jenkins' own retention may be shorter than a restart of ours."""
    with pytest.raises(ExecutorError, match=r"Jenkins has no artifact 'x' of .* #1 any more"):
        server.fetch(JOB, 1, "x", io.BytesIO(), most=9)


def test_nobody_follows_jenkins_to_another_server(jenkins: JenkinsStandIn, server: HookedJenkins, built: Item) -> None:
    """Nor does the account go there; on the same server it is followed."""
    path = f"/job/{JOB}/1/artifact"
    with serving(JenkinsStandIn()) as other:
        jenkins.redirects |= {f"{path}/x": f"{other.url}/x", f"{path}/y": f"{path}/logs/a b.log"}
        with pytest.raises(ExecutorError, match=r"sends us to another server, 127.0.0.1:\d+: that is not followed"):
            server.fetch(JOB, 1, "x", io.BytesIO(), most=99)
    into = io.BytesIO()
    server.fetch(JOB, 1, "y", into, most=99)

    assert other.asked == []
    assert into.getvalue() == b"0123456789"


def test_the_last_line_of_a_console_is_the_builds_own(
    jenkins: JenkinsStandIn, server: HookedJenkins, built: Item
) -> None:
    """Not what Jenkins adds; of a console of any size, the end alone is read."""
    jenkins.builds[JOB, 2] = jenkins.builds[JOB, 1].__class__(
        JOB, 2, {}, console="x" * 300_000 + "\n\nlast \x1b[1mwords\n"
    )

    assert server.last_line(JOB, 1) == "ERROR: script returned exit code 1"
    assert server.last_line(JOB, 2) == "last words"


def test_a_build_is_stopped_whatever_page_jenkins_shows_then(jenkins: JenkinsStandIn, server: HookedJenkins) -> None:
    """It redirects to its root URL, which may be another name than ours for it. One that is gone is left alone."""
    server.ask(JOB, token="t", request="{}")
    build = jenkins.start()
    server.stop(JOB, 1)
    server.stop(JOB, 2)
    server.cancel(99)

    assert build.stopped == 1
