"""The Jenkins of an Airflow connection: the provider's hook, and the client it makes, as the executor needs them.

The hook's client (python-jenkins) brings the session, the account and the crumbs. What is asked is put together here:
its own methods say "does not exist" of a Jenkins that is starting, put parameters into the address, where a request is
too long for, and read what comes back whatever its size.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import jenkins
import requests
from airflow.providers.jenkins.hooks.jenkins import JenkinsHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from pydantic import BaseModel, ValidationError

from ci_pipeline.errors import ExecutorError, JenkinsAway
from ci_pipeline.executors.jenkins_server import REQUEST, TOKEN, Build, Builds, Queue, QueueItem, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

T = TypeVar("T", bound=BaseModel)

# For each wait on the network; an answer as a whole is bounded by its size.
_TIMEOUT_SECONDS: Final = 20
_CHUNK: Final = 64 * 1024
_MOST_JSON: Final = 32 << 20
_TAIL: Final = 16 * 1024
_UNAVAILABLE: Final = 500
_ACCOUNT: Final = frozenset({401, 403})
_QUEUE_ITEM: Final = re.compile(r"/queue/item/(\d+)/?$")
# What Jenkins itself writes last of every build.
_NOT_SAID: Final = ("Finished: ", "[Pipeline]")

_ASKED: Final = "actions[parameters[name,value]]"
_ITEM: Final = f"id,why,cancelled,executable[number],{_ASKED}"
_BUILD: Final = (
    "number,url,building,result,duration,description,artifacts[relativePath],"
    "actions[parameters[name,value],causes[shortDescription]]"
)


def connect(connection: str) -> HookedJenkins:
    """Return the Jenkins of an Airflow connection. Nothing is sent yet.

    Raises:
        ExecutorError: there is no such connection, or it has no address.
    """
    try:
        known = Connection.get(connection)
    except (AirflowException, AirflowRuntimeError) as error:
        msg = f"there is no Airflow connection {connection} (jenkins.connection)"
        raise ExecutorError(msg) from error
    if not known.host or not known.port:
        msg = f"the Airflow connection {connection} needs a host, without http://, and a port (jenkins.connection)"
        raise ExecutorError(msg)
    hook = JenkinsHook(connection)
    return HookedJenkins(hook.get_jenkins_server().server, known.login, known.password, connection=connection)


class HookedJenkins:
    """A Jenkins: `ci_pipeline.executors.jenkins_server.JenkinsServer`."""

    def __init__(self, url: str, login: str | None, password: str | None, *, connection: str) -> None:
        """Use the Jenkins at an address; `connection` is for what is said of it."""
        self._account = login, password
        self._connection = connection
        self._client = jenkins.Jenkins(url, login, password, timeout=_TIMEOUT_SECONDS)

    def another(self) -> HookedJenkins:
        """See `JenkinsServer.another`."""
        return HookedJenkins(self._client.server, *self._account, connection=self._connection)

    def ask(self, job: str, *, token: str, request: str) -> int:
        """See `JenkinsServer.ask`."""
        path, parameters = f"{_path_of(job)}/buildWithParameters", {TOKEN: token, REQUEST: request}
        with self._opened("POST", path, data=parameters) as answer:
            found = _QUEUE_ITEM.search(urlsplit(answer.headers.get("Location", "")).path)
        if found is None:
            msg = f"Jenkins did not put the build of {job} into its queue; is the job there, and may it be built?"
            raise ExecutorError(msg)
        return int(found[1])

    def queue_item(self, number: int) -> QueueItem | None:
        """See `JenkinsServer.queue_item`."""
        return self._read(QueueItem, f"queue/item/{number}", tree=_ITEM)

    def find(self, job: str, token: str) -> QueueItem | None:
        """See `JenkinsServer.find`. What leaves the queue meanwhile is among the builds then."""
        queue = self._read(Queue, "queue", tree=f"items[{_ITEM}]")
        waiting = next((item for item in (queue.items if queue else []) if item.token == token), None)
        if waiting is not None:
            return waiting
        newest = self._read(Builds, _path_of(job), tree=f"builds[number,{_ASKED}]{{0,100}}")
        if newest is None:
            msg = f"there is no job {job} in Jenkins that our account may see (jenkins.job)"
            raise ExecutorError(msg)
        build = next((build for build in newest.builds if build.token == token), None)
        return QueueItem.model_validate({"id": 0, "executable": {"number": build.number}}) if build else None

    def build(self, job: str, number: int) -> Build | None:
        """See `JenkinsServer.build`. A build without an address of its own has the one it was found at."""
        path = f"{_path_of(job)}/{number}"
        found = self._read(Build, path, tree=_BUILD)
        if found is None or urlsplit(found.url).scheme in {"http", "https"}:
            return found
        return found.model_copy(update={"url": f"{self._client.server}{path}/"})

    def fetch(self, job: str, number: int, path: str, into: BinaryIO, *, most: int) -> None:
        """See `JenkinsServer.fetch`."""
        try:
            with self._opened("GET", f"{_path_of(job)}/{number}/artifact/{quote(path)}") as answer:
                into.writelines(_bounded(answer, most, f"the artifact {path[:300]!r}"))
        except _Gone as error:
            msg = f"Jenkins has no artifact {path[:300]!r} of {job} #{number} any more"
            raise ExecutorError(msg) from error

    def last_line(self, job: str, number: int) -> str:
        """See `JenkinsServer.last_line`. A console may be of any size: its end alone is read."""
        path = f"{_path_of(job)}/{number}/logText/progressiveText"
        with self._opened("GET", path, params={"start": 0}) as whole:
            told = whole.headers.get("X-Text-Size", "")
        size = int(told) if told.isdecimal() else 0
        with self._opened("GET", path, params={"start": max(0, size - _TAIL)}) as answer:
            end = next(answer.iter_content(4 * _TAIL), b"")
        lines = map(line_of, end.decode("utf-8", errors="replace").splitlines())
        return next((line for line in reversed(list(lines)) if line and not line.startswith(_NOT_SAID)), "")

    def cancel(self, number: int) -> None:
        """See `JenkinsServer.cancel`."""
        self._post("queue/cancelItem", id=number)

    def stop(self, job: str, number: int) -> None:
        """See `JenkinsServer.stop`."""
        self._post(f"{_path_of(job)}/{number}/stop")

    def _post(self, path: str, **params: Any) -> None:
        """Do something of which Jenkins answers with a page that we do not want, or with 404 though it did it."""
        try:
            with self._opened("POST", path, params=params):
                pass
        except (_Gone, _Elsewhere):
            pass

    def _read(self, kind: type[T], path: str, *, tree: str) -> T | None:
        """Return what Jenkins says of a thing; None if there is no such thing."""
        try:
            with self._opened("GET", f"{path}/api/json", params={"tree": tree}) as answer:
                said = b"".join(_bounded(answer, _MOST_JSON, path))
            return kind.model_validate_json(said)
        except _Gone:
            return None
        except ValidationError as error:
            msg = f"what answers for Jenkins at {self._client.server}{path} is none: {error.error_count()} errors"
            raise ExecutorError(msg) from error

    @contextmanager
    def _opened(self, method: str, path: str, **words: Any) -> Iterator[requests.Response]:
        """Send a request, with a crumb if it changes something, and yield the answer, which has not been read yet."""
        asked = requests.Request(method, self._client.server + path, hooks={"response": self._stay_here}, **words)
        try:
            with self._client.jenkins_request(asked, add_crumb=method == "POST", stream=True) as answer:
                yield answer
        except jenkins.NotFoundException as error:
            msg = f"Jenkins has no {path} that our account may see (jenkins.job)"
            raise _Gone(msg) from error
        except (jenkins.JenkinsException, requests.RequestException, ValueError) as error:
            raise self._meaning_of(error) from error

    def _stay_here(self, answer: requests.Response, **_: Any) -> None:
        """Refuse to follow Jenkins to another server: neither account nor files are anyone else's."""
        target = answer.headers.get("Location", "") if answer.is_redirect else ""
        there, here = urlsplit(target), urlsplit(self._client.server)
        if there.netloc and (there.scheme or here.scheme, there.netloc) != (here.scheme, here.netloc):
            msg = f"Jenkins at {here.netloc} sends us to another server, {line_of(there.netloc)}: that is not followed"
            raise _Elsewhere(msg)

    def _meaning_of(self, error: Exception) -> ExecutorError:
        """Return what a failed request means. What Jenkins answered is a page, and not repeated."""
        answer = _answer_to(error)
        where = urlsplit(self._client.server).netloc
        if isinstance(error, requests.exceptions.SSLError):
            return ExecutorError(f"Jenkins at {where} cannot be trusted: {line_of(str(error))}")
        if answer is None:
            return JenkinsAway(f"Jenkins at {where} does not answer: {type(error).__name__}")
        code = answer.status_code
        if code >= _UNAVAILABLE:
            return JenkinsAway(f"Jenkins at {where} is not ready: it answers {code}")
        if code in _ACCOUNT and "crumb" in answer.text[:_CHUNK]:
            return JenkinsAway(f"Jenkins at {where} has restarted: it does not know its own crumb any more")
        if code in _ACCOUNT:
            msg = f"Jenkins at {where} refuses our account ({code}): see the Airflow connection {self._connection}"
            return ExecutorError(f"{msg}, and what the account may do (docs/jenkins.md)")
        return ExecutorError(f"Jenkins at {where} refuses a request: it answers {code} {line_of(answer.reason or '')}")


class _Gone(ExecutorError):  # noqa: N818 - it reads as what happened
    """There is no such thing in Jenkins. `_read` and `_post` take it as an answer."""


class _Elsewhere(ExecutorError):  # noqa: N818 - the same
    """Jenkins answered with the address of another server."""


def _path_of(job: str) -> str:
    return "/".join(f"job/{quote(part, safe='')}" for part in job.split("/"))


def _answer_to(error: Exception) -> requests.Response | None:
    """Return Jenkins' answer behind an error; python-jenkins raises its own while it handles the one that has it."""
    for one in (error, error.__context__):
        answer = getattr(one, "response", None)
        if isinstance(answer, requests.Response):
            return answer
    return None


def _bounded(answer: requests.Response, most: int, what: str) -> Iterator[bytes]:
    """Yield an answer, `most` bytes of it. Raises ExecutorError if there are more."""
    read = 0
    for chunk in answer.iter_content(_CHUNK):
        read += len(chunk)
        if read > most:
            msg = f"Jenkins sends more than {most} bytes for {what}"
            raise ExecutorError(msg)
        yield chunk
