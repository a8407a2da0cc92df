"""What runs leave: workspaces, logs and builds."""

import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ci_pipeline import store
from ci_pipeline.journal import Journal
from ci_pipeline.retention import workspaces
from ci_pipeline.retention.sweep import Sweep
from ci_pipeline.stages import BUILD_PACKAGE
from ci_pipeline.store import runs
from tests.makers import new_run
from tests.retention.conftest import SIZE, Place, age, ended, going_on, old_run, row_of, write

pytestmark = pytest.mark.usefixtures("database")
REVS = [f"{number:x}" * 40 for number in range(1, 10)]


def link(place: Place, target: str, name: str = "greeter_repo") -> None:
    """Point a package's address at a build."""
    place.builds.mkdir(parents=True, exist_ok=True)
    (place.builds.parent / name).symlink_to(f"builds/{target}")


def test_nothing_there_is_nothing_to_do(place: Place) -> None:
    """A pipeline that never ran has no folders."""
    old_run()

    assert place.gone() == []


def test_an_old_run_leaves_only_its_row(place: Place) -> None:
    """Its row says so; a younger run keeps everything. A second pass finds nothing."""
    old = place.with_files(old_run(days=15))
    young = place.with_files(old_run(rev=REVS[0], days=13))
    newest = [place.with_files(old_run(rev=rev, days=15)) for rev in REVS[1:3]]
    removed = place.keeping(builds=2).prune().removed

    assert sorted((one.kind, Path(one.what).name) for one in removed if old.run_id in one.what) == [
        ("build", old.run_id),
        ("log", f"run_id={old.run_id}"),
        ("workspace", old.run_id),
    ]
    assert all(one.bytes > SIZE for one in removed)
    assert not [path for path in place.left() if old.run_id in path]
    assert len([path for path in place.left() if young.run_id in path]) == 8
    assert all((place.builds / run.run_id).is_dir() for run in newest)
    assert (row_of(old).pruned_at is None, row_of(young).pruned_at is None) == (False, True)
    assert place.keeping(builds=2).gone() == []


def test_a_dry_run_tells_the_same_and_removes_nothing(place: Place) -> None:
    """Not even a row changes."""
    runs_of_greeter = [place.with_files(old_run(rev=rev)) for rev in REVS[:5]]
    age(write(place.runs / "forgotten" / "x").parent, days=30)
    before = place.left()
    told = place.prune(dry_run=True)

    assert place.left() == before
    assert row_of(runs_of_greeter[0]).pruned_at is None
    assert len(told.removed) == 13
    assert place.prune().removed == told.removed


@pytest.mark.parametrize("fired", [True, False])
def test_a_run_that_has_not_ended_is_untouched(place: Place, fired: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """However old its folders are."""
    run = place.with_files(new_run())
    if fired:
        going_on(run)
    for folder in (place.runs / run.run_id, place.logs / f"run_id={run.run_id}", place.builds / run.run_id):
        age(folder, days=90)
    write(place.builds / f".{run.run_id}.new" / "x")
    age(place.builds / f".{run.run_id}.new", days=90)
    before = place.left()

    assert place.gone() == []
    assert place.left() == before
    assert row_of(run).pruned_at is None


@pytest.mark.parametrize("days", [30, 1])
def test_the_folder_of_a_run_nobody_knows_goes_by_its_own_age(place: Place, days: float) -> None:
    """The database was made anew, or the run never named a change."""
    run = "manual__2026-01-01T00:00:00+00:00"
    folders = [place.runs / run, place.logs / f"run_id={run}", place.builds / run]
    for folder in folders:
        age(write(folder / "x").parent, days=days)
    place.gone()

    assert [folder.exists() for folder in folders] == [days < 14] * 3


def test_the_newest_builds_of_every_package_stay(place: Place) -> None:
    """Each package counts for itself, and so does what its address points to, however old that is."""
    greeter = [place.with_files(old_run(rev=rev)) for rev in REVS[:5]]
    hostinfo = place.with_files(old_run("hostinfo"))
    link(place, greeter[0].run_id)
    place.keeping(builds=2).gone()

    assert {path.name for path in place.builds.iterdir()} == {
        greeter[0].run_id,
        *(run.run_id for run in greeter[3:]),
        hostinfo.run_id,
    }


@examples(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    days=st.floats(0.001, 36500),
    builds=st.integers(1, 9),
    linked=st.integers(0, 4),
    ages=st.lists(st.one_of(st.none(), st.floats(0, 400)), min_size=5, max_size=5),
)
def test_whatever_the_settings_the_newest_and_the_referenced_stay(
    place: Place, days: float, builds: int, linked: int, ages: list[float | None]
) -> None:
    """And all that a run has that goes on (None)."""
    (place.builds.parent / "greeter_repo").unlink(missing_ok=True)
    made = [place.with_files(new_run(rev=rev)) for rev in REVS[:5]]
    for run, ago in zip(made, ages, strict=True):
        if ago is not None:
            ended(run, days=ago)
    link(place, made[linked].run_id)
    place.keeping(run_days=days, builds=builds).gone()

    assert (place.builds / made[-1].run_id).is_dir()
    assert (place.builds.parent / "greeter_repo").is_dir()
    for run in (run for run, ago in zip(made, ages, strict=True) if ago is None):
        assert (place.builds / run.run_id).is_dir()
        assert (place.runs / run.run_id).is_dir()


def test_leftovers_of_publications_that_were_cut_short_go_after_a_day(place: Place) -> None:
    """Also those of a run that ended yesterday. Locks and names that are not ours stay."""
    run = old_run(days=2)
    repo = place.builds.parent
    old = [
        place.builds / f".{run.run_id}.new",
        place.builds / f".{run.run_id}.old",
        repo / ".last-good.0123456789abcde",
    ]
    young = place.builds / ".young.new"
    for folder in (*old, young):
        write(folder / "x.rpm")
    for folder in old:
        age(folder, days=1.1)
    (repo / ".greeter_repo.x.new").symlink_to("builds/x")
    age(repo / ".greeter_repo.x.new", days=2)
    for name in (".last-good.lock", "notes.new", "..new"):
        age(write(repo / name), days=90)

    assert place.gone() == sorted(f"leftover {path.name}" for path in [*old, repo / ".greeter_repo.x.new"])
    assert young.is_dir()
    assert (repo / ".last-good.lock").is_file()


def test_a_symlink_is_removed_and_not_followed(place: Place, outside: Path) -> None:
    """In a workspace, in the place of one, and in the place of a build."""
    run, other = place.with_files(old_run()), old_run(rev=REVS[0])
    (place.runs / run.run_id / "build_package-1" / "out").symlink_to(outside)
    (place.runs / other.run_id).symlink_to(outside)
    (place.builds / other.run_id).symlink_to(outside)
    place.gone()

    assert not (place.runs / run.run_id).exists()
    assert (outside / "precious").stat().st_size == SIZE


@pytest.mark.parametrize("folder", ["runs", "logs", "builds", "branch"])
def test_a_symlink_on_the_way_is_not_followed(place: Place, outside: Path, folder: str) -> None:
    """Nothing behind it is removed."""
    run = place.with_files(old_run())
    place.with_files(old_run("hostinfo"))
    for name in (run.run_id, f"run_id={run.run_id}", f"repo/builds/{run.run_id}"):
        age(write(outside / name / "precious").parent, days=90)
    at: Path = getattr(place, folder)
    at.rename(at.with_name("elsewhere"))
    at.symlink_to(outside)
    done = place.prune()

    assert (outside / run.run_id / "precious").is_file()
    assert (outside / f"run_id={run.run_id}" / "precious").is_file()
    assert (outside / f"repo/builds/{run.run_id}" / "precious").is_file()
    assert any("is a symlink or no folder" in warning for warning in done.warnings) == (folder in {"builds", "logs"})


@pytest.mark.parametrize("name", ["..", "."])
def test_a_run_whose_id_leads_out_of_its_folder_removes_nothing(place: Place, name: str) -> None:
    """Airflow takes such an id from whoever triggers a run by hand."""
    run = old_run()
    with store.session() as session:
        runs.locked(session, run.id).run_id = name
    write(place.runs / "kept" / "x")
    link(place, name)
    before = place.left()

    assert place.gone() == []
    assert place.left() == before


def test_a_folder_of_any_depth_goes(place: Place) -> None:
    """A package can make one that no recursion gets to the end of."""
    run = place.with_files(old_run())
    deep = "import os\nfor _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\n"
    subprocess.run(["python3", "-c", deep], cwd=place.runs / run.run_id, check=True)
    place.gone()

    assert not (place.runs / run.run_id).exists()


def test_what_cannot_be_removed_is_a_warning_and_the_rest_goes(place: Place) -> None:
    """The next pass tries again."""
    stuck, other = place.with_files(old_run()), place.with_files(old_run(rev=REVS[0]))
    file = place.runs / stuck.run_id / "build_package-1" / "build.log"
    frozen = subprocess.run(["chattr", "+i", str(file)], check=False, capture_output=True).returncode == 0
    if not frozen:
        pytest.skip("files cannot be made immutable here")
    try:
        done = place.prune()
    finally:
        subprocess.run(["chattr", "-i", str(file)], check=True)

    assert [stuck.run_id in warning for warning in done.warnings] == [True]
    assert not (place.runs / other.run_id).exists()
    assert not (place.logs / f"run_id={stuck.run_id}").exists()
    assert place.gone() == [f"workspace {stuck.run_id}"]


def test_a_machine_without_a_tool_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, and nothing is lost."""
    run = place.with_files(old_run())
    monkeypatch.setenv("PATH", "/nonexistent")
    done = place.prune()

    assert "du is not installed here; run `make setup`" in done.warnings
    assert (place.runs / run.run_id).is_dir()


def test_logs_that_are_not_ours_are_left_alone(place: Place) -> None:
    """Of another DAG, and all of them when no folder is set."""
    run = place.with_files(old_run())
    stranger = age(write(place.logs.with_name("dag_id=other") / "run_id=1" / "x").parent, days=90)
    unset = place.settings.model_copy(update={"airflow": place.settings.airflow.model_copy(update={"logs": ""})})
    Place(unset, place.root).gone()

    assert (place.logs / f"run_id={run.run_id}").is_dir()

    place.gone()

    assert not (place.logs / f"run_id={run.run_id}").exists()
    assert stranger.is_dir()


def test_old_days_of_the_dag_processor_go(place: Place) -> None:
    """Its link to the newest stays, and whatever has no date for a name."""
    logs = place.logs.with_name("dag_processor")
    for name in ("2026-01-01", "2999-01-01", "2026-01-01.bak"):
        write(logs / name / "x.log")
    (logs / "latest").symlink_to("2026-01-01")

    assert place.gone() == ["log 2026-01-01"]
    assert len(list(logs.iterdir())) == 3


def test_a_run_that_begins_anew_keeps_what_it_makes(place: Place) -> None:
    """Cleared from its build, it counts as never pruned."""
    run = place.with_files(old_run())
    place.gone()
    with store.session() as session:
        Journal(session, place.settings).begin_stage(runs.locked(session, run.id), BUILD_PACKAGE, 2)
    place.with_files(run)

    assert row_of(run).pruned_at is None
    assert place.gone() == []


def test_files_of_a_run_are_not_removed_while_it_begins_anew(place: Place) -> None:
    """Whoever comes first has the run's row, and the other waits for it: also when it looked old at first."""
    run = place.with_files(old_run())
    sweep = Sweep(place.settings, now=datetime.now(UTC), dry_run=False)

    assert sweep.young == set()

    passing = threading.Thread(target=workspaces.sweep, args=[sweep])
    with store.session() as session:
        row = runs.locked(session, run.id)
        passing.start()
        Journal(session, place.settings).begin_stage(row, BUILD_PACKAGE, 2)
        while passing.is_alive() and not _waits():
            pass
    passing.join()

    assert (place.runs / run.run_id).is_dir()
    assert sweep.result().removed == ()


def _waits() -> bool:
    """Tell whether a connection waits for a lock."""
    with store.session() as session:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return bool(session.connection().exec_driver_sql(waiting).scalar())
