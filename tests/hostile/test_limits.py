"""Packages that take whatever they can get: processes, memory, files, time, room in logs. Each is told its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.hostile.attacks import Attack, unlike
from tests.hostile.specs import spec
from tests.playbooks.stage_runs import LIMITS
from tests.playbooks.sti import play, shell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.builder import Builder

pytestmark = pytest.mark.timeout(1200)

TIGHT: Final = LIMITS | {"seconds": 60, "memory_mb": 256, "disk_mb": 64, "processes": 64}
# Half of it is for git, which is slow on a busy machine.
SHORT: Final = TIGHT | {"seconds": 20}
TOO_MUCH: Final = "rpmbuild and what it started "
TOO_LONG: Final = r"the stage was ended: it used up its limit of 20 s \(limits\.seconds\): "
FORK: Final = "import os, time\nwhile True:\n    os.fork() or time.sleep(60)"
FILES: Final = 'for number in range(10**6): open(str(number), "w").close()'


def building(command: str, says: str, **ending: str) -> Attack:
    """Return the attack of a build that runs this, fails if that ends, and says so."""
    return Attack(says, {"hello.spec": spec(build=f"{command}\nexit 1")}, request={"limits": TIGHT}, **ending)


BUILDS: Final = {
    "processes": building(f"python3 -c '{FORK}'", TOO_MUCH + r"wanted more than 64 processes at a time .*"),
    "memory": building("python3 -c 'b\"x\" * (1 << 30)'", TOO_MUCH + r"used more than 256 MB of memory in all .*"),
    "one file": building("head -c 100G /dev/zero > big", TOO_MUCH + r"wrote .*more than 64 MB.*\(limits\.disk_mb\)"),
    "a hole": building("truncate --size=100G big", TOO_MUCH + r"wrote a file of more than 64 MB \(limits\.disk_mb\)"),
    "files": building(f"python3 -c '{FILES}'", TOO_MUCH + r"wrote more than 64 MB of files in all \(limits\.disk_mb\)"),
    "its log": building("yes", TOO_MUCH + r"wrote .*more than 64 MB.*\(limits\.disk_mb\)"),
    "folders": building(
        "python3 -c \"import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\"",
        TOO_MUCH + "nested folders deeper than a path may be long",
    ),
    "time": Attack(
        TOO_LONG + "hello.spec could not be read within 20 seconds",
        {"hello.spec": spec(preamble="%(while :; do sleep 1; done)")},
        request={"limits": SHORT},
        status="ABORTED",
        fault="",
    ),
}
BOMB: Final = "".join(
    f"  {b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
OVER: Final = "ansible-playbook and what it started used more than 256 MB of memory in all (limits.memory_mb)"
# Memory runs out first, however slow the machine is.
LONG: Final = TIGHT | {"seconds": 300}
# Of each its text, its limits, and how it ends.
PLAYBOOKS: Final = {
    "large": (
        play("vars:\n" + "".join(f"  name{number}: value\n" for number in range(1_500_000)) + "tasks: []"),
        LONG,
        ("FAILURE", "package", OVER),
    ),
    "a billion words": (
        play(f"vars:\n  a: &a [x]\n{BOMB}tasks:\n- debug: {{var: i}}"),
        LONG,
        ("FAILURE", "package", OVER),
    ),
}


def test_a_build_is_told_what_it_used_too_much_of(builder: Builder) -> None:
    """All of its processes together count."""
    assert unlike(builder, BUILDS) == {}
    assert builder.harm() == []
    assert builder.build_harmless().told == ("SUCCESS", "", "")


def test_the_tests_of_a_package_are_told_what_they_used_too_much_of(builder: Builder, package: Path) -> None:
    """Also where Ansible alone is busy with them."""
    ended = {
        name: builder.run_tests(package, {"tests/tests.yml": text}, limits=limits).told
        for name, (text, limits, _) in PLAYBOOKS.items()
    }

    assert ended == {name: told for name, (_, _, told) in PLAYBOOKS.items()}
    assert builder.run_tests(package, {"tests/tests.yml": shell("true")}).told == ("SUCCESS", "", "")
