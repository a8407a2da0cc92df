"""Which of a tenant's sessions is a lease's: `session.json` in the lease's folder.

Before a session is asked for, the file has the sessions there are (`before`); then the new one's number (`session`). So
one whose answer never came is found: it is none of before, has our pool and number of hosts, and is no other lease's.
Two leases would mistake each other's for their own, so one at a time asks.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_tools import locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ansible.module_utils.ci_duffy import Duffy
    from ansible.module_utils.ci_lease import Lease

_NAME: Final = "session.json"


class Sessions:
    """The sessions of a lease; there should be one at most."""

    def __init__(self, duffy: Duffy, lease: Lease, pool: str) -> None:
        """Take whom to ask, and for what."""
        self._duffy, self._lease, self._pool = duffy, lease, pool
        self._record = lease.folder / _NAME

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other lease ask meanwhile."""
        with locked(self._lease.folder.parent / ".duffy.lock"):
            yield

    def current(self, count: int) -> dict[str, Any] | None:
        """Return the session that was lent before and goes on; others of the lease are retired."""
        numbers = self.numbers()
        going_on = [one for one in self._duffy.sessions() if one["id"] in numbers] if numbers else []
        kept = next((one for one in going_on if len(one["nodes"]) == count and self._is_recorded(one["id"])), None)
        for one in going_on:
            if one is not kept:
                self._duffy.retire(one["id"])
        return kept

    def request(self, count: int) -> dict[str, Any]:
        """Return a new session. Raises BusyError while there are not enough hosts."""
        self._write({"before": [one["id"] for one in self._duffy.sessions()], "count": count})
        session = self._duffy.request(self._pool, count)
        self._write({"session": session["id"]})
        return session

    def numbers(self) -> list[int]:
        """Return the numbers of what is the lease's, as far as it can be told."""
        known = self._read(self._record)
        if known is None:
            return []
        if "session" in known:
            return [known["session"]]
        others = {(self._read(path) or {}).get("session") for path in self._lease.folder.parent.glob(f"*/{_NAME}")}
        spec = {"pool": self._pool, "quantity": known["count"]}
        new = [one for one in self._duffy.sessions() if one["id"] not in {*known["before"], *others}]
        return [one["id"] for one in new if one["data"].get("nodes_specs") == [spec]]

    def forget(self) -> None:
        """Have no session any more."""
        self._record.unlink(missing_ok=True)

    def _is_recorded(self, number: int) -> bool:
        return (self._read(self._record) or {}).get("session") == number

    def _write(self, content: dict[str, Any]) -> None:
        scratch = self._record.with_suffix(".json.new")
        scratch.write_text(json.dumps(content) + "\n", encoding="ascii")
        scratch.replace(self._record)

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        try:
            known: dict[str, Any] = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return known
