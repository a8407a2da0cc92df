"""One change through the whole pipeline, warm, beside its playbooks run by a script; and what it leaves."""

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import select, text

from ci_pipeline import store
from ci_pipeline.stack.postgres import AIRFLOW_DATABASE, PIPELINE_DATABASE
from ci_pipeline.store.tables import Run
from tests.benchmarks.bare_tools import BareTools
from tests.benchmarks.live import BRANCHES, Live, Pushed
from tests.benchmarks.measuring import Book, Figure, Row, alternately
from tests.benchmarks.playbooks import Playbooks
from tests.benchmarks.watching import watching
from tests.distgit import package

_REPO: Final = "greeter"
_DATABASES: Final = (AIRFLOW_DATABASE, PIPELINE_DATABASE)


def warm_up(book: Book, stack: Live) -> Pushed:
    """Let each branch have a first change, which makes the base OS, too; return the first of all."""
    first = stack.push(_REPO, "0.1", BRANCHES[0])
    book.figures.append(Figure("the first change of all, which makes the base OS", stack.seconds_of(first), "s"))
    for branch in BRANCHES[1:]:
        stack.seconds_of(stack.push(_REPO, "0.1", branch))
    return first


def measure(book: Book, stack: Live, first: Pushed, folder: Path, *, rounds: int) -> None:
    """Take changes through the pipeline, and through the playbooks alone, alternately."""
    script = Playbooks.like(_folder_of(stack, first), folder / "playbooks")
    origin = f"{stack.distgit.url}/rpms/{_REPO}.git"
    tools = BareTools(stack.settings.state / "cache" / "base", folder / "tools", origin, _REPO)
    before = _stored(stack)
    with watching(stack.settings) as taken:
        versions = itertools.count()
        by_hand = [
            partial(_through, stack, versions, script.carry_out),
            partial(_through, stack, versions, tools.carry_out),
        ]
        ours, playbooks, calls = alternately(rounds, partial(_through_pipeline, stack, versions), *by_hand)
    name = "one change, from its push to its complete"
    book.rows.append(Row(name, "its playbooks, run one after another by a script", "s", ours, playbooks))
    book.rows.append(Row(name, "the calls of the tools alone, without sandboxes", "s", ours, calls))
    for what, stored in _stored(stack).items():
        book.figures.append(Figure(f"a run leaves: {what}", (stored - before[what]) / rounds, "kB"))
    taken.cpu = {}  # half of the time the script was at work
    taken.write(book, "1 run")


def _through_pipeline(stack: Live, versions: Iterator[int]) -> float:
    return stack.seconds_of(stack.push(_REPO, f"1.{next(versions)}"))


def _through(stack: Live, versions: Iterator[int], carry_out: Callable[[str, str], None]) -> float:
    number = next(versions)
    rev = stack.distgit.commit(_REPO, package(_REPO, f"1.{number}"))
    began = time.monotonic()
    carry_out(f"by-hand-{number}", rev)
    return time.monotonic() - began


def _folder_of(stack: Live, pushed: Pushed) -> Path:
    with store.session() as session:
        run = session.scalars(select(Run).where(Run.rev == pushed.rev, Run.branch == pushed.branch)).one()
        return stack.settings.state / "runs" / run.dag_id / run.run_id


def _stored(stack: Live) -> dict[str, float]:
    """Return the kilobytes of all that grows with runs."""
    chosen = stack.settings
    folders = {
        "workspaces": chosen.state / "runs",
        "artifacts": chosen.artifacts.folder,
        "logs of Airflow": chosen.state / "airflow" / "logs",
    }
    with store.session() as session:
        rows = session.execute(text("SELECT datname, pg_database_size(datname) / 1024.0 FROM pg_database"))
        databases = {f"database {name}": float(size) for name, size in rows if name in _DATABASES}
    return {**databases, **{name: _du(folder) for name, folder in folders.items()}}


def _du(folder: Path) -> float:
    done = subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=False)
    return float(done.stdout.split()[0])
