"""Tests of a package that attack what reads their results: bombs, links, names that are none. They become errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.playbooks.sti import shell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.builder import Builder

pytestmark = pytest.mark.timeout(1200)

# Of each file its name, the Python that gives its text, and what is said of it in the end; "": it is no test.
FILES: Final = {
    "laughs.xml": (
        'f\'<!DOCTYPE l [<!ENTITY a "ha">{LAUGHS}]><testsuite><testcase name="&i;"/></testsuite>\'',
        "laughs.xml is not JUnit: it has a document type, which result files may not have",
    ),
    "external.xml": (
        '\'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{state}/secret">]><testsuite><testcase name="&a;"/></testsuite>\'',
        "external.xml is not JUnit: it has a document type, which result files may not have",
    ),
    "nested.xml": ("'<testsuite>' * 100_000", "nested.xml is not JUnit: it is nested too deeply"),
    "wide.xml": (
        "'<testsuite><testcase name=\"' + 'n' * (40 << 20) + '\"/></testsuite>'",
        "wide.xml is not JUnit: it has a tag of more than 1 MiB",
    ),
    "comment.xml": (
        "'<testsuite><!--' + ' n' * (20 << 20) + '--></testsuite>'",
        "comment.xml is not JUnit: it has a tag of more than 1 MiB",
    ),
    "million.xml": (
        "'<testsuite>' + '<testcase/>' * 1_000_000 + '</testsuite>'",
        "million.xml is not JUnit: it has more than 20000 cases",
    ),
    "results.yml": (
        "'a: &a [x, x]\\n' + ''.join(f'{b}: &{b} [{f\"*{a}, \" * 9}]\\n' for a, b in PAIRS)",
        "results.yml is not a list of results (results: [{test, result, logs}])",
    ),
    "no text \udcff.log": ("'a log'", ""),
    "two\nlines.log": ("'a log'", ""),
    "\x1b[31m.log": ("'a log'", ""),
}
NAMES: Final = (
    '<testsuite><testcase name="\u202e&lt;b&gt;&#10;\u2028x"><failure message="\u202ehidden"/></testcase></testsuite>'
)
CASE: Final = '<testcase name="\N{GRINNING FACE}"><failure message="' + "\N{GRINNING FACE}" * 2000 + '"/></testcase>'
LEAVE: Final = """\
import os, socket
PAIRS = list(zip("abcdefgh", "bcdefghi"))
LAUGHS = "".join(f'<!ENTITY {b} "{("&" + a + ";") * 10}">' for a, b in PAIRS)
os.chdir(os.environ["TEST_ARTIFACTS"])
def leave(name, text):
    with open(os.fsencode(name), "w") as file:
        file.write(text)
"""
ODD: Final = """\
os.symlink("{state}/secret", "link.xml")
os.symlink("{state}", "folder")
os.mkfifo("pipe.xml")
socket.socket(socket.AF_UNIX).bind("socket.xml")
os.link("wide.xml", "twin.log")
"""


def leaving(builder: Builder, *lines: str) -> dict[str, str]:
    """Return tests that run this Python, and do not fail."""
    program = LEAVE + "\n".join(builder.filled(line) for line in lines)
    return {"tests/tests.yml": shell("python3 leave.py"), "tests/leave.py": program}


def test_hostile_results_are_errors(builder: Builder, package: Path) -> None:
    """Each file is an error of its own; the others count all the same."""
    lines = [f"leave({name!r}, {text})" for name, (text, _) in FILES.items()]
    ended = builder.run_tests(package, leaving(builder, *lines, f"leave('names.xml', {NAMES!r})", ODD))
    wanted = {name: ("error", said) for name, (_, said) in FILES.items() if said}

    assert ended.outcomes == wanted | {"<b> x": ("failed", "hidden")}
    assert ended.told[:2] == ("UNSTABLE", "")
    assert all(artifact.name.isprintable() for artifact in ended.report.artifacts)
    assert builder.harm() == []
    assert builder.run_tests(package, {"tests/tests.yml": shell("true")}).told == ("SUCCESS", "", "")


def test_a_flood_of_results_is_cut_off(builder: Builder, package: Path) -> None:
    """What is read of it fits into the report, which says that there was more."""
    lines = [f"leave('{number}.xml', '<testsuite>' + {CASE!r} * 15_000 + '</testsuite>')" for number in range(2)]
    ended = builder.run_tests(package, leaving(builder, *lines))

    assert ended.told[:2] == ("UNSTABLE", "")
    assert ended.report.tests[-1].name == "results"
    assert "there is no room for more" in ended.report.tests[-1].message
    assert builder.run_tests(package, {"tests/tests.yml": shell("true")}).told == ("SUCCESS", "", "")


def test_folders_without_end_fail_the_tests(builder: Builder, package: Path) -> None:
    """Nobody could say what results are in them."""
    nest = "for _ in range(1500):\n    os.mkdir('d'); os.chdir('d')"

    assert builder.run_tests(package, leaving(builder, nest)).told == (
        "FAILURE",
        "package",
        "the package left folders that are nested too deeply",
    )
