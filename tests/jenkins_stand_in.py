"""A stand-in for Jenkins: a server that speaks as much of its HTTP as an executor of stages sees.

No Jenkins can be installed where these tests run: Debian, PyPI and npm have none. So this is written after Jenkins' own
sources and documentation, for what matters here: crumbs that belong to a session and that an API token does not need, a
queue whose items leave, are cancelled and expire, parameters a job does not define, `tree`, builds of Pipeline and
freestyle jobs, archived files, consoles read from an offset, redirects to the root URL, and a Jenkins that is starting.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN, PASSWORD, API_TOKEN = "ci-pipeline", "pass-hunter2", "11a0token-hunter2"
ROOT_URL = "http://jenkins.example.org/"
PIPELINE = "org.jenkinsci.plugins.workflow.job.WorkflowRun"
FREESTYLE = "hudson.model.FreeStyleBuild"
STARTING = "<html><body><h1>Please wait while Jenkins is getting ready to work</h1></body></html>"
REFUSED = "<html><head><title>Error 403 No valid crumb was included in the request</title></head></html>"


@dataclass
class StandInBuild:
    """A build; the test says what becomes of it."""

    job: str
    number: int
    parameters: dict[str, str]
    kind: str = FREESTYLE
    result: str | None = None
    duration: int = 0
    description: str | None = None
    console: str = "Started by user ci-pipeline\n"
    files: dict[str, bytes] = field(default_factory=dict)
    interrupted: list[dict[str, str]] = field(default_factory=list)
    stopped: int = 0
    went_down: bool = False

    def end(self, result: str, *, files: dict[str, bytes] | None = None, says: str = "", seconds: float = 1) -> None:
        """Let it end."""
        self.files.update(files or {})
        self.console += f"{says}\n[Pipeline] End of Pipeline\nFinished: {result}\n"
        self.result, self.duration = result, int(seconds * 1000)

    def abort(
        self, who: str = "Aborted by Jane Doe", kind: str = "jenkins.model.CauseOfInterruption$UserInterruption"
    ) -> None:
        """Let someone abort it."""
        self.interrupted = [{"_class": kind, "shortDescription": who}]
        self.end("ABORTED")

    def told(self) -> dict[str, Any]:
        """What api/json says."""
        actions = [
            _parameters(self.parameters),
            {
                "_class": "hudson.model.CauseAction",
                "causes": [
                    {"_class": "hudson.model.Cause$UserIdCause", "shortDescription": f"Started by user {LOGIN}"}
                ],
            },
            {},
        ]
        if self.interrupted:
            actions.append({"_class": "jenkins.model.InterruptedBuildAction", "causes": self.interrupted})
        return {
            "_class": self.kind,
            "actions": actions,
            "artifacts": [
                {"displayPath": path, "fileName": path.split("/")[-1], "relativePath": path} for path in self.files
            ],
            "building": self.result is None and not self.went_down,
            "description": self.description,
            "duration": self.duration,
            "number": self.number,
            "result": self.result,
            "url": f"{ROOT_URL}job/{self.job.replace('/', '/job/')}/{self.number}/",
        }


@dataclass
class Item:
    """What waits in the queue, or has left it."""

    id: int
    job: str
    parameters: dict[str, str]
    why: str | None = "In the quiet period. Expires in 4.9 sec"
    build: StandInBuild | None = None
    cancelled: bool = False

    def told(self) -> dict[str, Any]:
        """What api/json says."""
        known = {
            "_class": "hudson.model.Queue$WaitingItem",
            "actions": [_parameters(self.parameters)],
            "id": self.id,
            "why": self.why,
            "blocked": False,
            "task": {"name": self.job},
        }
        if self.build or self.cancelled:
            executable = {"_class": self.build.kind, "number": self.build.number} if self.build else None
            known |= {"_class": "hudson.model.Queue$LeftItem", "why": None, "cancelled": self.cancelled}
            known |= {"executable": executable}
        return known


class JenkinsStandIn:
    """The server's state, and what the test does to it."""

    def __init__(self) -> None:
        self.url = ""
        self.jobs: dict[str, list[str]] = {}
        self.builds: dict[tuple[str, int], StandInBuild] = {}
        self.items: dict[int, Item] = {}
        self.is_starting = False
        self.hangs_up = False
        self.crumbs: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.answers: dict[str, int] = {}
        self.asked: list[str] = []
        self.build_kind = FREESTYLE
        self._ids = itertools.count(1)

    def add(self, job: str, *parameters: str) -> None:
        """Make a job with these parameters."""
        self.jobs[job] = list(parameters)

    def put(self, job: str, given: dict[str, str]) -> Item:
        """Put a build into the queue, as buildWithParameters does: what is the same already waits only once."""
        known = {name: given.get(name, "") for name in self.jobs[job]}
        for item in self.items.values():
            if item.build is None and not item.cancelled and (item.job, item.parameters) == (job, known):
                return item
        item = Item(next(self._ids), job, known)
        self.items[item.id] = item
        return item

    def start(self, item: Item | None = None) -> StandInBuild:
        """Let what waits (the newest) begin to build."""
        item = item or list(self.items.values())[-1]
        number = 1 + max((one for job, one in self.builds if job == item.job), default=0)
        item.build = StandInBuild(item.job, number, item.parameters, kind=self.build_kind)
        self.builds[item.job, number] = item.build
        return item.build

    def expire(self) -> None:
        """Forget what has left the queue, as Jenkins does after five minutes."""
        self.items = {one.id: one for one in self.items.values() if one.build is None and not one.cancelled}

    @property
    def waiting(self) -> list[Item]:
        """What waits."""
        return [one for one in self.items.values() if one.build is None and not one.cancelled]

    @property
    def posts(self) -> list[str]:
        """The paths of what was asked for by POST."""
        return [line.partition(" ")[2] for line in self.asked if line.startswith("POST ")]


@contextmanager
def serving(stand_in: JenkinsStandIn) -> Iterator[JenkinsStandIn]:
    """Serve it on loopback."""
    handler = type("Handler", (_Handler,), {"jenkins": stand_in})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who has read enough hangs up
        stand_in.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield stand_in
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def jenkins(monkeypatch: pytest.MonkeyPatch) -> Iterator[JenkinsStandIn]:
    """A stand-in for Jenkins with the job of `build_package`, and the Airflow connection that leads to it."""
    stand_in = JenkinsStandIn()
    stand_in.add("ci-pipeline-build_package", "REQUEST", "TOKEN")
    with serving(stand_in):
        name_connection(monkeypatch, stand_in, API_TOKEN)
        yield stand_in


def name_connection(monkeypatch: pytest.MonkeyPatch, stand_in: JenkinsStandIn, password: str, **fields: Any) -> None:
    """Make `jenkins_default` lead to a stand-in."""
    address = urlsplit(stand_in.url)
    known = {"conn_type": "jenkins", "host": address.hostname, "port": address.port, "login": LOGIN}
    monkeypatch.setenv("AIRFLOW_CONN_JENKINS_DEFAULT", json.dumps({**known, "password": password, **fields}))


def _parameters(given: dict[str, str]) -> dict[str, Any]:
    return {
        "_class": "hudson.model.ParametersAction",
        "parameters": [
            {"_class": "hudson.model.StringParameterValue", "name": name, "value": value}
            for name, value in given.items()
        ],
    }


def filtered(tree: str, value: Any) -> Any:
    """Return what `tree` leaves of an answer: `number,actions[parameters[name]]`; a range after it is heeded."""
    names = _names(tree)
    if isinstance(value, list):
        return [filtered(tree, one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {"_class": value["_class"]} if "_class" in value else {}
    for name, (inner, most) in names.items():
        if name in value:
            part = value[name][:most] if most else value[name]
            kept[name] = filtered(inner, part) if inner else part
    return kept


def _names(tree: str) -> dict[str, tuple[str, int]]:
    found, rest = {}, tree
    while rest:
        name = re.match(r"\w+", rest)
        assert name, tree
        rest, inner, most = rest[name.end() :], "", 0
        if rest.startswith("["):
            end = next(i for i in range(len(rest)) if rest[: i + 1].count("[") == rest[: i + 1].count("]"))
            inner, rest = rest[1:end], rest[end + 1 :]
        if bounds := re.match(r"\{0,(\d+)\}", rest):
            most, rest = int(bounds[1]), rest[bounds.end() :]
        found[name[0]] = (inner, most)
        rest = rest.removeprefix(",")
    return found


class _Handler(BaseHTTPRequestHandler):
    """Answers as Jenkins does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two packets: the second would wait for 40 ms
    jenkins: JenkinsStandIn

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        address, length = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        path, words = unquote(address.path), parse_qs(address.query) | parse_qs(body)
        self.words = {name: values[0] for name, values in words.items()}
        self.jenkins.asked.append(f"{self.command} {path}")
        if self.jenkins.hangs_up:
            self.close_connection = True
        elif self.jenkins.is_starting:
            self._send(503, STARTING)
        elif path in self.jenkins.redirects:
            self._send(302, Location=self.jenkins.redirects[path])
        elif not self._knows():
            self._send(
                401, "<html>Invalid password/token for user</html>", **{"WWW-Authenticate": 'Basic realm="Jenkins"'}
            )
        elif self.command == "POST" and not self._has_crumb():
            self._send(403, REFUSED)
        elif path in self.jenkins.answers:
            self._send(self.jenkins.answers[path], "<html>an answer</html>")
        else:
            self._route(path)

    def _account(self) -> list[str]:
        scheme, _, words = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(words).decode().split(":", 1) if scheme == "Basic" else ["", ""]

    def _knows(self) -> bool:
        login, password = self._account()
        return login == LOGIN and password in {PASSWORD, API_TOKEN}

    def _has_crumb(self) -> bool:
        crumb = self.jenkins.crumbs.get(self._session())
        return self._account()[1] == API_TOKEN or (bool(crumb) and self.headers.get("Jenkins-Crumb") == crumb)

    def _session(self) -> str:
        cookie = re.search(r"JSESSIONID=(\w+)", self.headers.get("Cookie", ""))
        return cookie[1] if cookie else ""

    def _route(self, path: str) -> None:
        if path == "/crumbIssuer/api/json":
            self._issue()
        elif path == "/queue/api/json":
            self._json({"items": [one.told() for one in self.jenkins.waiting]})
        elif match := re.fullmatch(r"/queue/item/(\d+)/api/json", path):
            item = self.jenkins.items.get(int(match[1]))
            self._json(item.told() if item else None)
        elif path == "/queue/cancelItem" and self.command == "POST":
            item = self.jenkins.items.get(int(self.words["id"]))
            if item and item.build is None:
                item.cancelled = True
            self._send(204 if item else 404)
        elif match := re.match(r"((?:/job/[^/]+)+)/", path):
            self._route_job(match[1].removeprefix("/job/").replace("/job/", "/"), path[match.end() :])
        else:
            self._send(404, "<html>Not Found</html>")

    def _route_job(self, job: str, rest: str) -> None:
        builds = [one for (name, _), one in self.jenkins.builds.items() if name == job]
        if job not in self.jenkins.jobs:
            self._send(404, "<html>Not Found</html>")
        elif rest == "buildWithParameters":
            self._build(job)
        elif rest == "api/json":
            self._json({"_class": "hudson.model.FreeStyleProject", "builds": [one.told() for one in builds[::-1]]})
        elif match := re.match(r"(\d+)/", rest):
            found = self.jenkins.builds.get((job, int(match[1])))
            if found:
                self._route_build(found, rest[match.end() :])
            else:
                self._send(404, "<html>Not Found</html>")
        else:
            self._send(404, "<html>Not Found</html>")

    def _route_build(self, build: StandInBuild, rest: str) -> None:
        if rest == "api/json":
            self._json(build.told())
        elif rest == "stop" and self.command == "POST":
            build.stopped += 1
            self._send(302, Location=str(build.told()["url"]))
        elif rest == "logText/progressiveText":
            text, start = build.console.encode(), int(self.words["start"])
            self._send(200, text[start if start <= len(text) else 0 :], **{"X-Text-Size": str(len(text))})
        elif rest.startswith("artifact/") and rest.removeprefix("artifact/") in build.files:
            self._send(200, build.files[rest.removeprefix("artifact/")])
        else:
            self._send(404, "<html>Not Found</html>")

    def _build(self, job: str) -> None:
        if self.command != "POST" or not self.jenkins.jobs[job]:
            self._send(405 if self.command != "POST" else 500, "<html>This build is not parameterized!</html>")
            return
        item = self.jenkins.put(job, self.words)
        self._send(201, Location=f"{self.jenkins.url}/queue/item/{item.id}/")

    def _issue(self) -> None:
        session = self._session() or secrets.token_hex(8)
        crumb = self.jenkins.crumbs.setdefault(session, secrets.token_hex(16))
        said = {
            "_class": "hudson.security.csrf.DefaultCrumbIssuer",
            "crumb": crumb,
            "crumbRequestField": "Jenkins-Crumb",
        }
        self._send(200, json.dumps(said), **{"Set-Cookie": f"JSESSIONID={session}; Path=/; HttpOnly"})

    def _json(self, said: dict[str, Any] | None) -> None:
        if said is None:
            self._send(404, "<html>Not Found</html>")
        else:
            tree = self.words.get("tree", "")
            self._send(200, json.dumps(filtered(tree, said) if tree else said))

    def _send(self, status: int, body: str | bytes = b"", **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"X-Jenkins": "2.528", **headers}.items():
            self.send_header(name, quote(value, safe='/:;=%?&.,() "') if name == "Location" else value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
