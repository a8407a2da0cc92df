"""What the commands show of the database: plain data, read in one transaction; its fields are the keys of `--json`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy.orm import Session

from ci_pipeline import addresses
from ci_pipeline.change import Change
from ci_pipeline.delivery.manifest import manifest_of
from ci_pipeline.outcome import TestOutcome
from ci_pipeline.settings import Settings
from ci_pipeline.store import images, runs
from ci_pipeline.store.tables import Image, Run, StageResult


@dataclass(frozen=True)
class TestView:
    """One test case. `seconds` is its wall time."""

    __test__ = False

    name: str
    outcome: str
    seconds: float
    message: str


@dataclass(frozen=True)
class ArtifactView:
    """A file a stage made. `size` in bytes."""

    name: str
    kind: str
    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class StageView:
    """The newest try of a stage.

    Attributes:
        try_number: Airflow's, from 1; 0 when an earlier stage made this one pointless.
        status: None while it runs.
        fault: whose fault a FAILURE is: `package` or `infrastructure`; else "".
        seconds: wall time so far.
        tool_seconds: the part of it spent in the tools themselves.
        outputs: docs/stage-contract.md lists them.
    """

    stage: str
    try_number: int
    status: str | None
    reason: str
    fault: str
    started_at: datetime
    ended_at: datetime | None
    seconds: float
    tool_seconds: float
    outputs: dict[str, Any]
    tests: tuple[TestView, ...]
    artifacts: tuple[ArtifactView, ...]

    @classmethod
    def of(cls, row: StageResult) -> Self:
        """Read a row, its tests and artifacts."""
        end = row.ended_at or datetime.now(UTC)
        return cls(
            stage=row.stage,
            try_number=row.try_number,
            status=row.status,
            reason=row.reason,
            fault=row.fault,
            started_at=row.started_at,
            ended_at=row.ended_at,
            seconds=round((end - row.started_at).total_seconds(), 3),
            tool_seconds=row.tool_seconds,
            outputs=row.outputs,
            tests=tuple(TestView(test.name, test.outcome, test.seconds, test.message) for test in row.tests),
            artifacts=tuple(ArtifactView(one.name, one.kind, one.path, one.sha256, one.size) for one in row.artifacts),
        )

    @property
    def passed(self) -> int:
        """How many tests passed."""
        return sum(test.outcome == TestOutcome.PASSED for test in self.tests)


@dataclass(frozen=True)
class RunView:
    """A run: a change on a branch.

    Attributes:
        run: Airflow's run id.
        build_id: the run's number, counting up per branch: `<branch>/<build_id>` names the run too.
        kind: `push`, `manual` or `backfill`, which leaves its branch as it is.
        status: None until it has ended.
        pruned_at: when its files were removed, but for what is among the newest; None while they are kept.
        url: its page in the Airflow UI.
        stages: in pipeline order, those that have begun.
    """

    run: str
    dag: str
    build_id: int
    kind: str
    change: Change
    status: str | None
    reason: str
    created_at: datetime
    fired_at: datetime | None
    ended_at: datetime | None
    pruned_at: datetime | None
    url: str
    stages: tuple[StageView, ...] = ()

    @classmethod
    def of(cls, row: Run, settings: Settings, stages: tuple[StageView, ...] = ()) -> Self:
        """Read a row."""
        return cls(
            run=row.run_id,
            dag=row.dag_id,
            build_id=row.number,
            kind=row.kind,
            change=runs.change_of(row),
            status=row.status,
            reason=row.reason,
            created_at=row.created_at,
            fired_at=row.fired_at,
            ended_at=row.ended_at,
            pruned_at=row.pruned_at,
            url=addresses.run_in_airflow(settings, row.dag_id, row.run_id),
            stages=stages,
        )

    @property
    def progress(self) -> str:
        """Its status, or in one word why it has none yet."""
        return self.status or ("running" if self.stages or self.fired_at else "queued")


@dataclass(frozen=True)
class ImageView:
    """A generated image.

    Attributes:
        size: in bytes.
        smoke_passed_at: None while it is not known to boot.
        validated_at: when it had passed all its tests; None while it has not.
        removed_at: when its file was removed; None while it is kept.
        manifest_url: address of its manifest; "" when there is none.
    """

    name: str
    branch: str
    version: str
    compose_rev: str
    size: int
    sha256: str
    generated_at: datetime
    smoke_passed_at: datetime | None
    validated_at: datetime | None
    removed_at: datetime | None
    url: str
    manifest_url: str

    @classmethod
    def of(cls, row: Image, settings: Settings) -> Self:
        """Read a row."""
        url = f"{addresses.artifacts_of(settings, row.branch)}/images/{row.name}"
        return cls(
            name=row.name,
            branch=row.branch,
            version=row.version,
            compose_rev=row.compose_rev,
            size=row.size,
            sha256=row.sha256,
            generated_at=row.generated_at,
            smoke_passed_at=row.smoke_passed_at,
            validated_at=row.validated_at,
            removed_at=row.removed_at,
            url=url,
            manifest_url=manifest_of(url) if row.has_manifest else "",
        )


def run_with_stages(session: Session, settings: Settings, row: Run) -> RunView:
    """Read a run and the newest try of each of its stages."""
    stages = tuple(StageView.of(result) for result in runs.latest_results(session, row.id).values())
    return RunView.of(row, settings, stages)


def chosen_run(session: Session, run_id: str | None) -> Run | None:
    """Return a run by its id or `<branch>/<number>`; without one the newest, if there is any.

    Raises:
        StoreError: there is no such run.
    """
    if run_id is not None:
        return runs.get(session, run_id)
    return next(iter(runs.recent(session, limit=1)), None)


def recent_runs(session: Session, settings: Settings, *, branch: str | None, limit: int) -> list[RunView]:
    """Return the newest runs without their stages, the newest first."""
    return [RunView.of(row, settings) for row in runs.recent(session, branch=branch, limit=limit)]


def image_list(session: Session, settings: Settings, *, branch: str | None, limit: int) -> list[ImageView]:
    """Return images, the newest first."""
    return [ImageView.of(row, settings) for row in images.listed(session, branch=branch, limit=limit)]
