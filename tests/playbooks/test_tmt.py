"""What tmt leaves of its plans is read, and nothing of it is believed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.ci_results import read_results_yml
from ansible.module_utils.ci_stage import PackageError
from ansible.module_utils.ci_tmt import find_plans, read_tmt_results

if TYPE_CHECKING:
    from typing import Any

# As tmt 1.78 has left it, of a plan with a test for every outcome.
RECORDED = Path(__file__).parents[1] / "data" / "tmt_results.txt"
# Nine lines, a thousand million words.
BOMB = "\n".join(["- &a [x, x]", *(f"- &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]" for n in range(9))])


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """The workdir of a plan without results."""
    folder = tmp_path / "run" / "plans" / "all"
    (folder / "execute").mkdir(parents=True)
    return folder


def told(plan: Path, text: str) -> list[dict[str, Any]]:
    """Return the tests of a plan whose results are this text."""
    (plan / "execute" / "results.yaml").write_text(text, encoding="utf-8")
    return read_tmt_results(plan)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a list of tmt's results"),
        ("results: []", "is not a list of tmt's results"),
        ("[pass]", "is not a list of tmt's results"),
        ("&a [*a]", "is not a list of tmt's results"),
        ("[[[[", "is not YAML"),
        ("[" * 1_000_000, "is not YAML: it is nested too deeply"),
        ("{a: " * 50_000, "is not YAML: it is nested too deeply"),
        ("? " * 50_000, "is not YAML"),
        ("- !!python/object/apply:os.system [id]", "is not YAML"),
        ("- {name: /a, result: pass}\n" * 20_001, "is not a list of tmt's results"),
        ("#" * (8 << 20) + "#", "is not a regular file of at most 8192 KiB"),
    ],
)
def test_what_is_no_result_is_refused(plan: Path, text: str, reason: str) -> None:
    """With a reason; there is no half of a file."""
    with pytest.raises(PackageError, match=reason):
        told(plan, text)


def test_a_link_is_not_followed(plan: Path) -> None:
    """It could lead anywhere."""
    (plan / "execute" / "results.yaml").symlink_to(RECORDED)

    with pytest.raises(OSError, match="symbolic links"):
        read_tmt_results(plan)


def test_what_tmt_leaves_is_read(plan: Path) -> None:
    """Every outcome, as tmt itself counts it; the last words of a failure are its message, else tmt's notes are."""
    log = plan / "execute" / "data/guest/default-0/tests/all/bad-1/output.txt"
    log.parent.mkdir(parents=True)
    log.write_text("looking\nno Finnish\n", encoding="utf-8")
    shutil.copy(RECORDED, plan / "execute" / "results.yaml")
    tests = {test["name"].removeprefix("/tests/all/"): test for test in read_tmt_results(plan)}

    assert {name: test["outcome"] for name, test in tests.items()} == {
        "bad": "failed",
        "broken": "error",
        "good": "passed",
        "informed": "passed",
        "known": "passed",
        "parts": "failed",
        "slow": "error",
        "warned": "failed",
        "skipped/skipped": "skipped",
    }
    assert tests["bad"]["message"] == "no Finnish"
    assert tests["warned"]["message"] == "test result overridden: warn; original test result: pass"
    assert tests["broken"]["message"] == "tmt's result is error"
    assert tests["known"]["message"] == ""


@pytest.mark.parametrize(
    ("fields", "outcome", "message"),
    [
        ("result: pending", "error", "tmt's result is pending"),
        ("result: splendid", "error", "tmt's result is splendid"),
        ("result: [pass]", "error", "tmt's result is no word"),
        ("other: pass", "error", "tmt's result is no word"),
        ('result: fail, note: "an older tmt\\e[31m has\\n one"', "failed", "an older tmt [31m has  one"),
        ("result: fail, log: /etc/passwd", "failed", "tmt's result is fail"),
        ("result: fail, log: [../../../outside.txt]", "failed", "tmt's result is fail"),
        ("result: fail, log: [linked/outside.txt]", "failed", "tmt's result is fail"),
        ('result: fail, log: ["a\\0b", {a: b}, loop/x]', "failed", "tmt's result is fail"),
        ("result: fail, log: [nothing.txt, own.txt]", "failed", "own words"),
    ],
)
def test_words_that_lie_come_to_nothing(plan: Path, fields: str, outcome: str, message: str) -> None:
    """A word nobody knows is an error; a log is read only where the plan's own files are."""
    execute = plan / "execute"
    (plan.parents[1] / "outside.txt").write_text("a secret\n", encoding="utf-8")
    (execute / "linked").symlink_to(plan.parents[1])
    (execute / "loop").symlink_to("loop")
    (execute / "own.txt").write_text("own words\n", encoding="utf-8")
    (test,) = told(plan, f"- {{name: /a, {fields}}}\n")

    assert (test["name"], test["outcome"], test["message"]) == ("/a", outcome, message)


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("00:01:05", 65), ("12:00:05", 43205), ("'100:00:00'", 360000), ("null", 0), ("-5", 0), ("[1]", 0), ("soon", 0)],
)
def test_durations_are_seconds(plan: Path, duration: str, seconds: float) -> None:
    """Also those that YAML takes for numbers of base 60."""
    (test,) = told(plan, f"- {{name: /a, result: pass, duration: {duration}}}\n")

    assert test["seconds"] == seconds


def test_a_file_that_grows_when_it_is_printed_is_not_printed(plan: Path, tmp_path: Path) -> None:
    """Aliases make a text of gigabytes of a few lines; tmt's and the Standard Test Interface's file alike."""
    (plan / "execute" / "results.yaml").write_text("", encoding="utf-8")
    rows = f"- name: /a\n  result: fail\n  note:\n{BOMB.replace('- ', '  - ')}\n"
    other = tmp_path / "results.yml"
    other.write_text(f"bomb:\n{BOMB}\nresults:\n- {{test: *j, result: *j}}\n", encoding="utf-8")

    assert [test["message"] for test in told(plan, rows)] == ["tmt's result is fail"]
    assert [(test["name"], test["outcome"]) for test in read_results_yml(other)] == [("unnamed", "error")]


def test_plans_are_found_wherever_their_workdirs_are(plan: Path, tmp_path: Path) -> None:
    """Whatever else lies there; a result file that a test left for tmt itself is none of a plan."""
    for folder in ("discover", "prepare", "execute", "execute/data/guest/execute"):
        (plan / folder).mkdir(parents=True, exist_ok=True)
        (plan / folder / "results.yaml").write_text("[]", encoding="utf-8")
    (tmp_path / "linked").symlink_to(plan)

    assert find_plans(tmp_path) == [plan]


def test_more_plans_than_anyone_has_are_refused(tmp_path: Path) -> None:
    """Some of them would read as all of them."""
    for number in range(201):
        (tmp_path / str(number) / "execute").mkdir(parents=True)
        (tmp_path / str(number) / "execute" / "results.yaml").touch()

    with pytest.raises(PackageError, match="more than 200 plans"):
        find_plans(tmp_path)
