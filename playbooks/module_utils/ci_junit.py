"""JUnit files read as they come: any size in little memory, no document type, no entity, nothing kept that is not used.

Takes a bare <testsuite> (Ginkgo 1) and <testsuites> (Ginkgo 2 and most others). What tests print stands beside their
outcome and may be hundreds of megabytes; it is passed over.
"""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from xml.parsers import expat

from ansible.module_utils.ci_stage import PackageError, clean

if TYPE_CHECKING:
    from pathlib import Path

Test = dict[str, Any]

TESTS_LIMIT: Final = 20_000
_SIZE_LIMIT: Final = 2 << 30
_CHUNK: Final = 1 << 16
_DEPTH_LIMIT: Final = 100
# A tag or a comment is held in memory, and read anew with every chunk until it ends.
_TAG_LIMIT: Final = 1 << 20
_MESSAGE_LIMIT: Final = 2000
_ROOTS: Final = ("testsuite", "testsuites")
# From bad to good: of a case with several, the worst counts.
_OUTCOMES: Final = {"error": "error", "failure": "failed", "skipped": "skipped"}
BAD: Final = ("failed", "error")


@dataclass
class Junit:
    """What a file says.

    Attributes:
        tests: `name`, `outcome` (passed, failed, error, skipped), `seconds`, `message` of each case.
        skipped: how many cases were skipped, whether they are among `tests` or not.
        claim: what its suites claim beyond their cases; "" when the two agree. A suite whose `failures` and `errors`
            exceed its failing cases failed outside of them: Ginkgo's BeforeSuite does that.
    """

    tests: list[Test] = field(default_factory=list)
    skipped: int = 0
    claim: str = ""


def read_junit(path: Path, *, with_class: bool = True, with_skipped: bool = True) -> Junit:
    """Read a JUnit file.

    Args:
        path: the file. No symlink is followed.
        with_class: put a case's class before its name. Ginkgo has the suite's name there, the same for all.
        with_skipped: list skipped cases, too; they are counted in any case.

    Raises:
        PackageError: it is not JUnit, larger than 2 GiB, or has more than 20,000 cases to be listed.
        OSError: it cannot be read.
    """
    reader = _Reader(with_class=with_class, with_skipped=with_skipped)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _SIZE_LIMIT:
            raise PackageError(f"{path.name} is not a regular file of at most {_SIZE_LIMIT >> 30} GiB")
        try:
            while chunk := file.read(_CHUNK):
                reader.feed(chunk)
            return reader.close()
        except (expat.ExpatError, ValueError) as error:
            raise PackageError(f"{path.name} is not JUnit: {clean(error, 200)}") from error


class _Reader:
    def __init__(self, *, with_class: bool, with_skipped: bool) -> None:
        self._junit = Junit()
        self._with_class, self._with_skipped = with_class, with_skipped
        self._fed = 0
        self._open: list[str] = []
        self._case: dict[str, str] = {}
        # Of the case that is open, by tag: the attribute `message`, and the text.
        self._messages: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._claims = _Claims()
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = _refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def feed(self, chunk: bytes) -> None:
        self._parser.Parse(chunk, False)  # noqa: FBT003 - expat takes it so
        self._fed += len(chunk)
        if self._fed - self._parser.CurrentByteIndex > _TAG_LIMIT:
            raise ValueError(f"it has a tag of more than {_TAG_LIMIT >> 20} MiB")

    def close(self) -> Junit:
        self._parser.Parse(b"", True)  # noqa: FBT003 - the same
        failing = sum(test["outcome"] in BAD for test in self._junit.tests)
        self._junit.claim = self._claims.beyond(failing)
        return self._junit

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._open and tag not in _ROOTS:
            raise ValueError(f"its root is <{clean(tag, 80)}>")
        if len(self._open) >= _DEPTH_LIMIT:
            raise ValueError("it is nested too deeply")
        if tag in _ROOTS:
            self._claims.add(len(self._open), tag, attributes)
        elif tag == "testcase":
            self._case, self._messages, self._texts = attributes, {}, {}
        elif tag in _OUTCOMES and self._open[-1] == "testcase":
            self._messages.setdefault(tag, attributes.get("message", ""))
        self._open.append(tag)

    def _text(self, text: str) -> None:
        tag = self._open[-1]
        if tag in self._messages:
            self._texts[tag] = (self._texts.get(tag, "") + text)[:_MESSAGE_LIMIT]

    def _end(self, tag: str) -> None:
        self._open.pop()
        if tag != "testcase":
            return
        found = next((name for name in _OUTCOMES if name in self._messages), "")
        outcome = _OUTCOMES.get(found, "passed")
        self._junit.skipped += outcome == "skipped"
        if outcome != "skipped" or self._with_skipped:
            self._keep(outcome, self._messages.get(found) or self._texts.get(found, ""))

    def _keep(self, outcome: str, message: str) -> None:
        if len(self._junit.tests) >= TESTS_LIMIT:
            raise ValueError(f"it has more than {TESTS_LIMIT} cases")
        words = (self._case.get("classname") if self._with_class else "", self._case.get("name"))
        self._junit.tests.append(
            {
                "name": clean(".".join(filter(None, words)) or "unnamed", 300),
                "outcome": outcome,
                "seconds": number(self._case.get("time")),
                "message": clean(message),
            }
        )


class _Claims:
    """Failures that suites claim: the attributes of one cover those of the suites inside it."""

    def __init__(self) -> None:
        self._failures = 0.0
        self._covered_from: int | None = None

    def add(self, depth: int, tag: str, attributes: dict[str, str]) -> None:
        if self._covered_from is not None and depth > self._covered_from:
            return
        self._covered_from = None
        if tag == "testsuite" or {"failures", "errors"} & attributes.keys():
            self._covered_from = depth
            self._failures += number(attributes.get("failures")) + number(attributes.get("errors"))

    def beyond(self, failing: int) -> str:
        if self._failures <= failing:
            return ""
        claimed = f"{self._failures:.0f} failures but only {failing} failing cases"
        return f"the suite reports {claimed}: it failed outside of its tests"


def _refuse(*_: object) -> None:
    raise ValueError("it has a document type, which result files may not have")


def number(text: str | None) -> float:
    """Return a number that is finite and not negative; 0 for anything else."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and value >= 0 else 0.0
