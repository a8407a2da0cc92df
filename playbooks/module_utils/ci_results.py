"""Results that package code or a foreign command left: files collected, results.yml read, a verdict made.

All of it is hostile until read: only regular files count, none larger than a limit, and no symlink is followed.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_junit import BAD, TESTS_LIMIT, Test
from ansible.module_utils.ci_stage import PackageError, Part, clean, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# A rule of the quarantine: `test`, `tracker`, `until`, `expired`.
Rule = dict[str, Any]

QUARANTINED: Final = "quarantined"
PASSED_ON_RERUN: Final = "passed-on-rerun"
_FILES_LIMIT: Final = 200
# All tests of a stage are one file for the pipeline: in characters, of names and messages.
_TEXT_LIMIT: Final = 3_000_000
_YAML_LIMIT: Final = 1 << 20
_DEPTH_LIMIT: Final = 50
_LARGEST: Final = 1 << 63
_OUTCOMES: Final = {
    "pass": "passed",
    "passed": "passed",
    "fail": "failed",
    "failed": "failed",
    "skip": "skipped",
    "skipped": "skipped",
    "not_applicable": "skipped",
}


def regular_files(root: Path) -> list[Path]:
    """Return the regular files below root, sorted, at most 200; symlinks to folders are not entered."""
    return list(itertools.islice(_regular_files(root), _FILES_LIMIT))


def _regular_files(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names.sort()
        for path in (Path(folder, name) for name in sorted(files)):
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def read_bounded(path: Path, limit: int) -> bytes:
    """Return a file's bytes. Raises PackageError when it is larger than the limit or not a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise PackageError(f"{path.name} is not a regular file of at most {limit >> 10} KiB")
        return file.read(limit)


def read_yaml(path: Path, limit: int = _YAML_LIMIT) -> object:
    """Return what a YAML file says. Raises PackageError when it is not YAML, or larger than the limit."""
    import yaml  # noqa: PLC0415 - comes with Ansible, which only a builder that runs tests has

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    raw = read_bounded(path, limit)
    try:
        if _depth(raw, loader) > _DEPTH_LIMIT:
            raise PackageError(f"{path.name} is not YAML: it is nested too deeply")
        return yaml.load(raw, Loader=loader)  # noqa: S506 - both loaders are safe ones
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PackageError(f"{path.name} is not YAML: {clean(error, 200)}") from error


def _depth(raw: bytes, loader: Any) -> int:
    """Return how deeply YAML is nested, up to the limit and one: what is worse takes down the process that loads it."""
    import yaml  # noqa: PLC0415 - see above

    depth = deepest = 0
    for event in yaml.parse(raw, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        deepest = max(deepest, depth)
        if deepest > _DEPTH_LIMIT:
            break
    return deepest


def read_results_yml(path: Path) -> list[Test]:
    """Return the tests of a Standard Test Interface results.yml: `{results: [{test, result, logs}]}`.

    Raises PackageError when the file is not that. A result with a word the interface does not know is an error, not a
    pass.
    """
    content = read_yaml(path)
    rows = content.get("results") if isinstance(content, dict) else None
    if not isinstance(rows, list) or len(rows) > TESTS_LIMIT or not all(isinstance(row, dict) for row in rows):
        raise PackageError(f"{path.name} is not a list of results (results: [{{test, result, logs}}])")
    return [_result_row(row, path.parent) for row in rows]


def _result_row(row: dict[str, Any], folder: Path) -> Test:
    outcome = _OUTCOMES.get(_word(row.get("result")).lower(), "error")
    logs = row.get("logs")
    beside = (folder / Path(one).name for one in (logs if isinstance(logs, list) else []) if isinstance(one, str))
    message = "" if outcome in {"passed", "skipped"} else last_line(beside)
    return {
        "name": clean(_word(row.get("test")) or "unnamed", 200),
        "outcome": outcome,
        "seconds": 0.0,
        "message": message,
    }


def _word(value: object) -> str:
    """Return a scalar as text: a few lines of YAML with aliases, printed, can be gigabytes."""
    is_number = isinstance(value, int | float) and abs(value) < _LARGEST
    return value if isinstance(value, str) else str(value) if is_number else ""


def last_line(logs: Iterable[Path | None]) -> str:
    """Return the last line of the first log that can be read."""
    for path in logs:
        try:
            lines = read_bounded(path, _YAML_LIMIT).decode("utf-8", "replace").split("\n") if path else []
        except (OSError, PackageError, ValueError):
            continue
        if path:
            return next((clean(line) for line in reversed(lines) if line.strip()), "")
    return ""


def verdict(tests: Sequence[Test], what: str, quarantine: Sequence[Rule] = (), remarks: Sequence[str] = ()) -> Part:
    """Return status, reason, tests and the outputs total, failed and skipped; `what` names the kind of tests.

    A failing test that a rule of the quarantine names does not count, unless the rule has `expired`: its outcome is
    `quarantined`, and there is an output of that name. Rules are those of the request. One that passed on a rerun does
    not count as failed either, nor as passed: there is an output `passed_on_rerun`. The reason has the remarks, too.
    """
    judged: list[Test] = []
    told = list(remarks)
    for test in bounded(tests):
        rule = _rule_of(test, quarantine)
        judged.append(test if rule is None else _under(rule, test))
        if rule and rule["expired"]:
            told.append(f"the quarantine of {test['name']} ended on {rule['until']}: {rule['tracker']}")
    return _sum_up(judged, what, told)


def bounded(tests: Sequence[Test]) -> list[Test]:
    """Return the tests, as far as there is room for; the last of them is an error when there are more."""
    kept: list[Test] = []
    room = _TEXT_LIMIT
    for test in tests:
        room -= len(test["name"]) + len(test["message"])
        if room < 0 or len(kept) == TESTS_LIMIT:
            message = f"only the first {len(kept)} of {len(tests)} or more results were read: there is no room for more"
            return [*kept, {"name": "results", "outcome": "error", "seconds": 0.0, "message": message}]
        kept.append(test)
    return kept


def is_quarantined(test: Test, quarantine: Sequence[Rule]) -> bool:
    """Tell whether a test failed and does not count for that."""
    rule = _rule_of(test, quarantine)
    return rule is not None and not rule["expired"]


def _rule_of(test: Test, quarantine: Sequence[Rule]) -> Rule | None:
    if test["outcome"] not in BAD:
        return None
    return next((rule for rule in quarantine if re.fullmatch(rule["test"], test["name"])), None)


def _under(rule: Rule, test: Test) -> Test:
    if rule["expired"]:
        return test
    return test | {"outcome": QUARANTINED, "message": clean(f"{rule['tracker']}: {test['message']}", 2000)}


def _sum_up(tests: list[Test], what: str, told: list[str]) -> Part:
    bad = [test["name"] for test in tests if test["outcome"] in BAD]
    known = [test["name"] for test in tests if test["outcome"] == QUARANTINED]
    flaky = [test["name"] for test in tests if test["outcome"] == PASSED_ON_RERUN]
    skipped = sum(test["outcome"] == "skipped" for test in tests)
    total = len(tests) - skipped
    apart = {"quarantined": len(known), "passed_on_rerun": len(flaky)}
    outputs = {"total": total, "failed": len(bad), "skipped": skipped} | {key: n for key, n in apart.items() if n}
    if known:
        told.append(f"{len(known)} that failed {'is' if len(known) == 1 else 'are'} quarantined: {some(known)}")
    if flaky:
        told.append(f"{len(flaky)} that failed passed when run again: {some(flaky)}")
    part: Part = {"outputs": outputs, "tests": tests}
    if not bad:
        return part | {"status": "SUCCESS", "reason": "; ".join(told)}
    noun = "test" if total == 1 else "tests"
    failed = f"{len(bad)} of {total} {what} {noun} failed: {some(bad)}"
    return part | {"status": "UNSTABLE", "reason": "; ".join([failed, *told])}
