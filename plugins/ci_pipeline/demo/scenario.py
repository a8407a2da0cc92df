"""The demo's story: a good push that becomes a tested host, and a bad one that does not.

Nothing here knows how things are shown; that is `report.py`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from ci_pipeline import store
from ci_pipeline.cli.follow import POLL_SECONDS, follow
from ci_pipeline.datahub.model import RunResults
from ci_pipeline.demo import state
from ci_pipeline.demo.distgit import DistGit
from ci_pipeline.demo.packager import BRANCH, PACKAGE, Pushed, push_broken, push_good
from ci_pipeline.demo.state import BranchState
from ci_pipeline.errors import StackError
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import COMPLETE
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Inbound, Outbox

_INTAKE_SECONDS: Final = 90
_PUBLISH_SECONDS: Final = 30


@dataclass(frozen=True)
class Told:
    """A message of a run. `published` is whether the bus has confirmed it."""

    topic: str
    status: str
    published: bool


@dataclass(frozen=True)
class Act:
    """A push and all that came of it.

    Attributes:
        seconds: wall time from the push to the end of its run.
        told: what was said on the bus, in order.
        before: the branch before the push.
        after: the branch after its run.
    """

    pushed: Pushed
    run: RunResults
    seconds: float
    told: tuple[Told, ...]
    before: BranchState
    after: BranchState

    @property
    def complete(self) -> str:
        """The status of the run's `complete` on the bus; "" if it is not there."""
        ends = [one.status for one in self.told if one.topic.endswith(f".ci.pipeline.{COMPLETE}") and one.published]
        return ends[0] if len(ends) == 1 else ""


@dataclass(frozen=True)
class Scene:
    """Where the demo plays."""

    settings: Settings
    distgit: DistGit
    sources: Path
    timeout: float
    on_push: Callable[[Pushed], None]
    on_view: Callable[[RunResults], None]


Play = Callable[[Scene], Act]


def good(scene: Scene) -> Act:
    """Push a change that is fine and follow its run to the end.

    Raises:
        StackError: the pipeline did not take the change up; the text says what to look at.
        StoreError: the run did not end in time.
    """
    return _play(scene, push_good)


def bad(scene: Scene) -> Act:
    """Push a change whose own unit tests fail, and follow its run; raises as `good` does."""
    return _play(scene, push_broken)


def problems(good_act: Act, bad_act: Act | None) -> Iterator[str]:
    """Yield what did not go as the demo promises; nothing means that it did."""
    if good_act.complete != Status.SUCCESS:
        yield f"the good push's complete says {good_act.complete or 'nothing'}, not SUCCESS"
    if good_act.after == good_act.before or not good_act.after.rev:
        yield "the good push moved neither the branch's ref nor its packages"
    if bad_act is None:
        return
    if bad_act.complete != Status.FAILURE:
        yield f"the bad push's complete says {bad_act.complete or 'nothing'}, not FAILURE"
    if bad_act.after.rev != bad_act.before.rev:
        yield "the bad push moved the branch's OSTree ref"
    if bad_act.after.packages != bad_act.before.packages:
        yield "the bad push changed the branch's package set"


def _play(scene: Scene, push: Callable[[DistGit, Path], Pushed]) -> Act:
    before = state.look(scene.settings, BRANCH)
    pushed = push(scene.distgit, scene.sources)
    scene.on_push(pushed)
    run_id = _taken_up(pushed)
    view = None
    for view in follow(scene.settings, run_id, seconds=scene.timeout):
        scene.on_view(view)
    if view is None or view.ended_at is None:
        msg = f"run {run_id} has a status and no end; see `ci-pipeline results --run {run_id}`"
        raise StackError(msg)
    return Act(
        pushed=pushed,
        run=view,
        seconds=(view.ended_at - pushed.at).total_seconds(),
        told=_told(run_id),
        before=before,
        after=state.look(scene.settings, BRANCH),
    )


def _taken_up(pushed: Pushed) -> str:
    """Wait until the intake has decided about a push, and return its run's id."""
    deadline = time.monotonic() + _INTAKE_SECONDS
    while time.monotonic() < deadline:
        with store.session() as session:
            row = session.scalar(select(Inbound).filter_by(repo=PACKAGE, branch=BRANCH, rev=pushed.rev).limit(1))
            run_id = next((run.run_id for run in runs.recent(session) if row and run.id == row.run), None)
        if row is not None and run_id is None:
            msg = f"the pipeline did not queue the push: {row.state}, {row.reason}"
            raise StackError(msg)
        if run_id is not None:
            return run_id
        time.sleep(POLL_SECONDS)
    said = " ".join(line.removeprefix("remote:").strip() for line in pushed.said.splitlines() if "remote:" in line)
    msg = (
        f"the pipeline did not take the push up within {_INTAKE_SECONDS} s; the hook said: {said or 'nothing'}; "
        "see `ci-pipeline status`, and the runs of ci-pipeline-trigger in the Airflow UI"
    )
    raise StackError(msg)


def _told(run_id: str) -> tuple[Told, ...]:
    """Return the messages of an ended run, once all of them are on the bus; those that are not in time say so."""
    deadline = time.monotonic() + _PUBLISH_SECONDS
    while True:
        with store.session() as session:
            rows = outbox.messages(session, run=runs.get(session, run_id).id)
        if all(_is_settled(row) for row in rows) or time.monotonic() > deadline:
            return tuple(Told(row.topic, _says(row.body), row.published_at is not None) for row in rows)
        time.sleep(POLL_SECONDS)


def _says(body: Mapping[str, Any]) -> str:
    """Return the status a message says, or the result of the test it is about."""
    return str(body.get("status") or body.get("test", {}).get("result", ""))


def _is_settled(row: Outbox) -> bool:
    return row.published_at is not None or row.parked_at is not None
