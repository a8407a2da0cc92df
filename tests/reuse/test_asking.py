"""What a stage is told so that its output can be kept and reused."""

import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline import requests, settings, store
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.reuse import asked_of, asking, may_reuse, means_of
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, STAGES
from ci_pipeline.store import kept_outputs, runs, tries
from ci_pipeline.store.tables import Run, StageResult
from tests.makers import REV, new_run, report

PLAYBOOKS = settings.project_folder() / "playbooks"
KEY = "5" * 64
OTHER_REV = "a" * 40
# What the build's playbook reads of a request though it is not in the key, and why that is right.
ARGUED_FOR: Final = {
    "rev": "in the key on the builder: what is written of it, the number of commits, and in full unless reuse.rebased",
    "branch": "only checked: rev has to be on it",
    "dist_git_branch": "only checked: rev has to be on it",
    "dist_git_url": "where the files come from: they are in the key themselves",
    "lookaside_url": "where the sources come from: their checksums are in the key",
    "workspace": "where it works: packages see another path",
    "artifacts": "where there has to be room",
    "cache": "where there has to be room",
    "package_repo": "where the packages go",
    "package_link": "what leads there",
    "promote": "whether it is moved there",
    "reuse": "what this is about",
    "mock": "of a toolchain without keys",
    "koji": "of a toolchain without keys",
    "builder_name": "which machine: its software is in the key",
}


@pytest.fixture
def playbooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the playbooks that a test may change."""
    return Path(shutil.copytree(PLAYBOOKS, tmp_path_factory.mktemp("copy") / "playbooks"))


def request_of(run: Run, current: Settings) -> dict[str, Any]:
    """Return the request of the build of a run."""
    with store.session() as session:
        return requests.make(session, current, run, BUILD_PACKAGE, workspace=Path("/w"))


def asked(run: Run, current: Settings, stage: str = "build_package") -> dict[str, Any]:
    """Return what a stage is told besides."""
    with store.session() as session:
        request = {**request_of(run, current), "stage": stage}
        means = means_of(current, stage, PLAYBOOKS)
        told: dict[str, Any] = asked_of(session, current, run, request, means=means).get("reuse", {})
        return told


def kept(
    repo: str = "greeter", *, key: str = KEY, status: Status = Status.SUCCESS, try_number: int = 1, **fields: str
) -> Run:
    """Store a run whose build left something under a key."""
    run = new_run(repo, **fields)
    end(run, status, key=key, try_number=try_number)
    return run


def end(run: Run, status: Status, fault: Fault = Fault.NONE, *, key: str = "", try_number: int = 1) -> None:
    """Let a try of a run's build have ended."""
    said = report(BUILD_PACKAGE, status, fault=fault).model_copy(update={"content_key": key})
    with store.session() as session:
        tries.begin(session, run.id, BUILD_PACKAGE, try_number)
        tries.end(session, run.id, BUILD_PACKAGE, try_number, said)


@pytest.mark.usefixtures("database")
def test_two_runs_of_the_same_ask_for_the_same(current: Settings) -> None:
    """Another run, revision and branch with the same settings; a rebuild on another dist tag is something else."""
    same = current.branches["f26"]
    both = current.model_copy(update={"branches": {**current.branches, "f26-next": same}})
    first, second = request_of(new_run(), both), request_of(new_run(rev=OTHER_REV, branch="f26-next"), both)
    other = request_of(new_run(branch="rawhide"), both)

    assert asking.digest_of(first, "means") == asking.digest_of(second, "means")
    assert asking.digest_of(first, "means") != asking.digest_of(other, "means")


@pytest.mark.usefixtures("database")
def test_each_thing_asked_for_counts_and_nothing_else(current: Settings) -> None:
    """What is in no list counts: a key that requests get some day, and variables of a task."""
    request = request_of(new_run(), current)
    digest = asking.digest_of(request, "means")
    changed = {key for key in request if asking.digest_of({**request, key: "another"}, "means") != digest}

    assert changed == set(request) - asking.NOT_IN_THE_KEY
    assert {"arch", "dist", "toolchain", "limits", "pipeline_version", "package_namespace", "repo"} <= changed
    assert asking.digest_of({**request, "new_some_day": 1}, "means") != digest
    assert asking.digest_of(dict(reversed(request.items())), "means") == digest


@pytest.mark.usefixtures("database")
def test_so_does_how_it_is_done(current: Settings, playbooks: Path) -> None:
    """By the very same playbooks, wherever they lie; a file that is changed is another key at once."""
    request = request_of(new_run(), current)

    def key_with(folder: Path) -> str:
        return asking.digest_of(request, means_of(current, BUILD_PACKAGE.name, folder))

    elsewhere, module = key_with(playbooks), playbooks / "module_utils" / "ci_rpm.py"
    text, times = module.read_text(encoding="utf-8"), module.stat()
    # Of the same size, and as old.
    module.write_text(text.replace("return", "RETURN", 1), encoding="utf-8")
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert key_with(PLAYBOOKS) == elsewhere != key_with(playbooks)


VALUES = st.recursive(st.one_of(st.text(max_size=5), st.integers(), st.booleans()), st.lists, max_leaves=3)
ASKED = st.dictionaries(st.sampled_from(["arch", "dist", "limits", "toolchain", "stage"]), VALUES)


@given(ASKED, ASKED, st.dictionaries(st.sampled_from(sorted(asking.NOT_IN_THE_KEY)), VALUES))
def test_requests_are_the_same_when_all_that_counts_is(
    one: dict[str, Any], other: dict[str, Any], where: dict[str, Any]
) -> None:
    """Also one inside another: true is not 1."""
    same = repr(sorted(one.items())) == repr(sorted(other.items()))

    assert (asking.digest_of({**one, **where}, "means") == asking.digest_of(other, "means")) == same


def test_what_the_playbook_reads_beside_the_key_is_argued_for() -> None:
    """Whoever has a role read more of the request reads here that it is in the key, or says why not."""
    roles = ("preflight", "builder", "dist_git", "build_package")
    files = [PLAYBOOKS / "build_package.yml", *(PLAYBOOKS / "roles" / role / "tasks" / "main.yml" for role in roles)]
    found = re.findall(r"{{(.*?)}}", "\n".join(file.read_text(encoding="utf-8") for file in files))
    words = {word for one in found for word in re.findall(r"(?<!\.)\b[a-z_]+", re.sub(r"'[^']*'", "", one))}

    assert words & asking.NOT_IN_THE_KEY == set(ARGUED_FOR)


@pytest.mark.parametrize(
    "name", ["build_package.yml", "library/build_package.py", "module_utils/ci_sandbox.py", "roles/x/inventory/macros"]
)
def test_a_change_of_any_playbook_role_or_module_counts(playbooks: Path, name: str) -> None:
    """Whether a stage uses it or not."""
    before, path = asking.playbooks_digest(playbooks), playbooks / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n")

    assert asking.playbooks_digest(playbooks) != before


def test_a_playbook_that_is_called_something_else_counts(playbooks: Path) -> None:
    """Macros are read by the name of their toolchain."""
    before = asking.playbooks_digest(playbooks)
    (playbooks / "smoke_test.yml").rename(playbooks / "smoke.yml")

    assert asking.playbooks_digest(playbooks) != before


def test_where_stages_run_and_what_python_compiled_is_nothing(playbooks: Path) -> None:
    """An inventory names machines; what is on them is asked there."""
    before = asking.playbooks_digest(playbooks)
    (playbooks / "inventory" / "hosts.yml").write_text("builders: {}\n")
    (playbooks / "library" / "__pycache__").mkdir(exist_ok=True)
    (playbooks / "library" / "__pycache__" / "x.pyc").touch()

    assert asking.playbooks_digest(playbooks) == before


@pytest.mark.usefixtures("database")
def test_a_build_is_told_what_is_kept_of_its_package(current: Settings) -> None:
    """Of other runs, on whichever branch; not of other packages, nor of builds that failed or have no key."""
    kept(key="1" * 64)
    kept(key="2" * 64, rev=OTHER_REV, branch="rawhide")
    kept(key="1" * 64, rev="b" * 40)
    kept("hostinfo", key="3" * 64)
    failed = kept(key="4" * 64, status=Status.FAILURE, rev="c" * 40)
    kept(key="", rev="d" * 40)
    own = kept(key="6" * 64, rev="e" * 40)

    assert asked(own, current)["known"] == []  # a second try of it: whoever cleared it wants it made
    with store.session() as session:
        assert "6" * 64 not in kept_outputs.keys(session, own, "build_package")
        assert runs.latest_results(session, failed.id)["build_package"].content_key == ""
    assert asked(new_run(rev="f" * 40), current)["known"] == ["6" * 64, "1" * 64, "2" * 64]


@pytest.mark.usefixtures("database")
def test_what_retention_has_removed_is_not_offered(current: Settings) -> None:
    """Its files may be there for a moment yet."""
    run = kept()
    with store.session() as session:
        row = runs.locked(session, run.id)
        row.status, row.pruned_at = "SUCCESS", row.created_at

    assert asked(new_run(rev=OTHER_REV), current)["known"] == []


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CI_PIPELINE_REUSE__STAGES", "[]"),
        ("CI_PIPELINE_STAGES__BUILD_PACKAGE__EXECUTOR", "jenkins"),
        ("CI_PIPELINE_STAGES__BUILD_PACKAGE__TOOLCHAIN", "fedora"),
    ],
)
def test_a_stage_whose_inputs_are_not_known_has_no_key(
    current: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Nor one that is not to be reused: an agent has playbooks of its own, mock takes what its mirrors have by then."""
    kept()
    monkeypatch.setenv(name, value)
    settings.current.cache_clear()

    assert asked(new_run(rev=OTHER_REV), settings.current()) == {}


@pytest.mark.usefixtures("database")
def test_tests_and_composes_have_no_key(current: Settings) -> None:
    """A test shows how things behave now; a compose is the child of what the branch is now."""
    run = new_run()

    assert [one.name for one in STAGES if asked(run, current, one.name)] == ["build_package"]


@pytest.mark.usefixtures("database")
def test_a_run_that_is_told_not_to_reuses_nothing_and_leaves_something(current: Settings) -> None:
    """Its build gets a key: others may reuse it."""
    kept()
    with store.session() as session:
        run = runs.create(session, runs.change_of(new_run(rev=OTHER_REV)), options={"reuse": "never"})

    told = asked(run, current)

    assert told["known"] == []
    assert re.fullmatch("[0-9a-f]{64}", told["request"])


INFRASTRUCTURE = (Status.FAILURE, Fault.INFRASTRUCTURE)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("ends", "may"),
    [
        ([], True),
        ([INFRASTRUCTURE], True),
        ([INFRASTRUCTURE] * 2, True),
        ([INFRASTRUCTURE] * 3, False),
        ([(Status.SUCCESS, Fault.NONE)], False),
        ([(Status.FAILURE, Fault.PACKAGE)], False),
        ([(Status.ABORTED, Fault.NONE)], False),
        ([INFRASTRUCTURE, (Status.SUCCESS, Fault.NONE)], False),
    ],
)
def test_what_a_person_clears_is_made(current: Settings, ends: list[tuple[Status, Fault]], *, may: bool) -> None:
    """Only what is tried again by itself may reuse something: after a fault of ours, while tries are left."""
    run = new_run()
    for number, (status, fault) in enumerate(ends, start=1):
        end(run, status, fault, try_number=number)
    with store.session() as session:
        tries.begin(session, run.id, BUILD_PACKAGE, len(ends) + 1)

        assert may_reuse(session, current, run, "build_package") == may


@pytest.mark.usefixtures("database")
def test_of_a_key_the_build_of_the_same_revision_is_taken_else_the_newest(current: Settings) -> None:
    """A rebased commit's build has the NVR of that commit: a run of a revision gets its own back, if there is one."""
    older, newer = kept(rev=REV), kept(rev=OTHER_REV)
    with store.session() as session:
        found = [
            kept_outputs.find(session, new_run(rev=rev, branch="rawhide"), "build_package", KEY)
            for rev in (REV, OTHER_REV, "b" * 40)
        ]

    assert [one.run_id for one in found if isinstance(one, StageResult)] == [older.id, newer.id, newer.id]
