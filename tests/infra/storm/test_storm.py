"""A mass rebuild waits for its turn; what others push meanwhile does not."""

from pathlib import Path

from sqlalchemy import select

from ci_pipeline import store
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Run
from tests.distgit import DistGit
from tests.e2e.conftest import Bus, push

# Its spec cannot be read: its runs end as soon as they have begun to build.
BROKEN = "Name: %{"


def run_of(rev: str) -> Run:
    """Return the run of a revision."""
    with store.session() as session:
        return session.scalars(select(Run).where(Run.rev == rev)).one()


def test_a_change_passes_a_mass_rebuild(bus: Bus, recorded: Path, distgit: DistGit, pipeline: Settings) -> None:
    """Of the rebuild one runs at a time; what a packager pushes last is not the last that begins."""
    names = ("greeter", "hostinfo")
    rebuilt = [distgit.commit(name, {f"{name}.spec": BROKEN, "README": "a mass rebuild"}) for name in names]
    pushed = distgit.commit("greeter", {"greeter.spec": BROKEN, "README": "a change"}, branch="main")
    for name, rev in zip(names, rebuilt, strict=True):
        push(bus, recorded, name, rev, by="releng")
    push(bus, recorded, "greeter", pushed, branch="main", by="alice")
    for rev in (pushed, *rebuilt):
        bus.wait_for("complete", rev)
    live, first, second = map(run_of, (pushed, *rebuilt))

    assert [run.lane for run in (live, first, second)] == ["live", "storm", "storm"]
    assert [run.run_id.endswith("-storm") for run in (live, first, second)] == [False, True, True]
    assert live.fired_at < second.fired_at
    assert first.ended_at <= second.fired_at
