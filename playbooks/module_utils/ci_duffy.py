"""Duffy, who lends hosts of CentOS CI's pools: the requests of its API (version 3) that a lease needs.

A session is a set of hosts of a tenant. It carries no name of ours, and ends by itself when its time is over.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any, Final
from urllib.error import HTTPError

from ansible.module_utils.ci_stage import InfrastructureError, clean
from ansible.module_utils.urls import ConnectionError as NoConnection
from ansible.module_utils.urls import SSLValidationError, open_url

# What every module that asks Duffy is given; the key is in the environment.
ARGUMENTS: Final[dict[str, Any]] = {
    "lease": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
    "url": {"type": "str", "required": True},
    "username": {"type": "str", "required": True},
    "pool": {"type": "str", "required": True},
}
KEY_VARIABLE: Final = "CI_PIPELINE_PROVISION__DUFFY__KEY"
# Duffy logs in to every host before it answers.
_SECONDS: Final = 300
_MOST_BYTES: Final = 4 * 1024 * 1024
_BUSY: Final = ("can't reserve nodes", "quota exceeded", "contextualization")


class BusyError(InfrastructureError):
    """There are not enough hosts free now."""


class GoneError(InfrastructureError):
    """There is no such session any more."""


@dataclass(frozen=True)
class Duffy:
    """A tenant's view of Duffy at `url`."""

    url: str
    username: str

    @classmethod
    def given(cls, params: dict[str, Any]) -> Duffy:
        """Return the one that a module with `ARGUMENTS` is to ask."""
        return cls(params["url"].rstrip("/"), params["username"])

    def sessions(self) -> list[dict[str, Any]]:
        """Return the tenant's sessions that go on."""
        return [one for one in self._ask("GET", "sessions", part="sessions") if one["tenant"]["name"] == self.username]

    def session(self, number: int) -> dict[str, Any]:
        """Return a session, also one that has ended. Raises GoneError."""
        return dict(self._ask("GET", f"sessions/{number}", part="session"))

    def request(self, pool: str, count: int) -> dict[str, Any]:
        """Return a new session with so many hosts of a pool. Raises BusyError while there are not enough."""
        return dict(self._ask("POST", "sessions", {"nodes_specs": [{"pool": pool, "quantity": count}]}, part="session"))

    def extend(self, number: int, until: float) -> None:
        """Have a session end at a Unix time; as much later as the tenant may."""
        at = datetime.fromtimestamp(until, timezone.utc).replace(tzinfo=None)  # noqa: UP017 - builders' Python is older
        self._ask("PUT", f"sessions/{number}", {"expires_at": at.isoformat()}, part="session")

    def retire(self, number: int) -> bool:
        """End a session; return whether it went on."""
        try:
            self._ask("PUT", f"sessions/{number}", {"active": False}, part="session")
        except GoneError:
            return False
        return True

    def _ask(self, method: str, path: str, body: Any = None, *, part: str) -> Any:
        """Return the named part of an answer. Raises InfrastructureError with what Duffy says, and what to look at."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        data = None if body is None else json.dumps(body)
        try:
            answer = open_url(
                f"{self.url}/{path}",
                data,
                headers,
                method,
                timeout=_SECONDS,
                url_username=self.username,
                url_password=os.environ.get(KEY_VARIABLE, ""),
                force_basic_auth=True,
                follow_redirects="none",
            )
            return json.loads(answer.read(_MOST_BYTES))[part]
        except HTTPError as error:
            raise self._refused(error) from None
        except (OSError, NoConnection, SSLValidationError) as error:
            raise InfrastructureError(
                f"Duffy at {self.url} does not answer: {clean(error, 200)}; look at provision.duffy.url"
            ) from None
        except (ValueError, LookupError, TypeError):
            raise InfrastructureError(
                f"what answers at {self.url} is no Duffy of version 3; look at provision.duffy.url"
            ) from None

    def _refused(self, error: HTTPError) -> InfrastructureError:
        said = _detail(error)
        if error.code == HTTPStatus.NOT_FOUND or "is retired" in said:
            return GoneError(f"Duffy knows no such session: {said}")
        if error.code == HTTPStatus.SERVICE_UNAVAILABLE or any(words in said for words in _BUSY):
            return BusyError(f"Duffy at {self.url} has no hosts for us: {said}")
        if error.code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            what = f"look at provision.duffy.username and {KEY_VARIABLE}"
            return InfrastructureError(f"Duffy at {self.url} refuses tenant {self.username}: {said}; {what}")
        return InfrastructureError(f"Duffy at {self.url} answers {error.code}: {said}; look at provision.duffy")


def _detail(error: HTTPError) -> str:
    try:
        return clean(json.loads(error.read(_MOST_BYTES))["detail"], 200)
    except (OSError, ValueError, LookupError, TypeError):
        return clean(error.reason, 200)
