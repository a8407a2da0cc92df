"""What tmt leaves: results.yaml of the execute step of each plan, a list of {name, result, note, log, duration}.

All of it is hostile until read: safe YAML of bounded size, whose words alone count, and logs that lie below its folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_junit import BAD, TESTS_LIMIT, Test
from ansible.module_utils.ci_results import last_line, read_yaml
from ansible.module_utils.ci_stage import PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE_LIMIT: Final = 8 << 20
_PLANS_LIMIT: Final = 200
_MESSAGE_LIMIT: Final = 2000
# As tmt's own exit code has it: info is no failure, warn is one. What is still pending never ran.
_OUTCOMES: Final = {
    "pass": "passed",
    "info": "passed",
    "fail": "failed",
    "warn": "failed",
    "skip": "skipped",
    "error": "error",
    "pending": "error",
}
_DURATION: Final = re.compile(r"([0-9]{2,6}):([0-5][0-9]):([0-5][0-9])")


def find_plans(root: Path) -> list[Path]:
    """Return the folders below root that are the workdirs of plans: those with an execute/results.yaml, sorted.

    Raises PackageError when there are more than 200.
    """
    found = sorted(_plans(root))
    if len(found) > _PLANS_LIMIT:
        raise PackageError(f"tmt left results of more than {_PLANS_LIMIT} plans")
    return found


def _plans(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        if Path(folder).name == "execute" and "results.yaml" in files:
            # What lies below are the files of the tests, which have results.yaml of their own.
            names.clear()
            yield Path(folder).parent


def read_tmt_results(plan: Path) -> list[Test]:
    """Return the tests of a plan.

    Raises PackageError when its results.yaml is none. A result with a word that tmt does not know is an error, not a
    pass.
    """
    path = plan / "execute" / "results.yaml"
    rows = read_yaml(path, _SIZE_LIMIT)
    if not isinstance(rows, list) or len(rows) > TESTS_LIMIT or not all(isinstance(row, dict) for row in rows):
        raise PackageError(f"{path.name} is not a list of tmt's results")
    return [_test(row, path.parent) for row in rows]


def _test(row: dict[str, Any], folder: Path) -> Test:
    word = _word(row.get("result"))
    outcome = _OUTCOMES.get(word, "error")
    message = _message(row, word, folder) if outcome in BAD else ""
    name = clean(_word(row.get("name")) or "unnamed", 200)
    return {"name": name, "outcome": outcome, "seconds": _seconds(row.get("duration")), "message": message}


def _message(row: dict[str, Any], word: str, folder: Path) -> str:
    """Return tmt's notes, else the last line of the test's first log, else what its result is."""
    notes, logs = (value if isinstance(value, list) else [value] for value in (row.get("note"), row.get("log")))
    told = "; ".join(filter(None, map(_word, notes))) or last_line(_log(folder, _word(name)) for name in logs)
    return clean(told or f"tmt's result is {word or 'no word'}", _MESSAGE_LIMIT)


def _log(folder: Path, name: str) -> Path | None:
    """Return where a log is, None when that is elsewhere: a name that leads out, or a link on the way."""
    if not name or "\0" in name:
        return None
    base, path = (Path(os.path.realpath(one)) for one in (folder, folder / name.encode(errors="replace").decode()))
    return path if path == base / name and path.is_relative_to(base) else None


def _word(value: object) -> str:
    """Return a text of the file; what else it may have there, however deep, is no word."""
    return value if isinstance(value, str) else ""


def _seconds(duration: object) -> float:
    # YAML 1.1 has a number of base 60 in 12:00:05 and a text in 00:00:05.
    if isinstance(duration, int) and 0 <= duration < 10**9:
        return float(duration)
    told = _DURATION.fullmatch(_word(duration))
    return sum(float(part) * unit for part, unit in zip(told.groups(), (3600, 60, 1), strict=True)) if told else 0.0
