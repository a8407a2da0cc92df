"""What the datahub shows: plain data, whose fields are the keys of the API's JSON and of `--json`.

Ids are made of what they name and stay: a run is `f26/464`, a result of it `f26/464/build_package/1`.
"""

from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from ci_pipeline import addresses
from ci_pipeline.bus.schemas import testcase_of
from ci_pipeline.change import Change
from ci_pipeline.datahub.flakes import FlakeRate
from ci_pipeline.lane import Lane
from ci_pipeline.manifests.manifest import manifest_of
from ci_pipeline.outcome import TestOutcome
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BY_NAME
from ci_pipeline.store import runs
from ci_pipeline.store import tables as stored


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class Test(_Shown):
    """One test case."""

    __test__ = False

    name: str
    outcome: TestOutcome
    seconds: float = Field(description="wall time")
    message: str
    flaky: FlakeRate | None = Field(description="how it did lately, if it failed at least once")

    @classmethod
    def of(cls, row: stored.TestResult, flaky: FlakeRate | None = None) -> Self:
        """Read a row."""
        outcome = TestOutcome(row.outcome)
        return cls(name=row.name, outcome=outcome, seconds=row.seconds, message=row.message, flaky=flaky)


class FoundTest(Test):
    """A test case and the result it is of."""

    result: str = Field(description="id of its result: `f26/464/functional_tests/1`")

    @classmethod
    def found(cls, row: stored.TestResult, result: str) -> Self:
        """Read a row."""
        return cls(**Test.of(row).model_dump(), result=result)


class Artifact(_Shown):
    """A file a stage made."""

    name: str
    kind: str = Field(description="srpm, rpm, image, log, junit or report")
    path: str = Field(description="where it is on the pipeline's machine")
    url: str = Field(description='where it is served, logs and reports behind Airflow\'s login; "" when it is nowhere')
    sha256: str = Field(description="in hex")
    size: int = Field(description="bytes")

    @classmethod
    def of(cls, row: stored.Artifact, run: stored.Run, settings: Settings) -> Self:
        """Read a row, of a run."""
        url = addresses.file_of(settings, run, row)
        return cls(name=row.name, kind=row.kind, path=row.path, url=url, sha256=row.sha256, size=row.size)


class Result(_Shown):
    """What came of one try of a stage."""

    id: str = Field(description="`f26/464/build_package/1`: run, stage and try")
    testcase: str = Field(description="what ResultsDB calls it: the topic its end is announced on")
    stage: str
    try_number: int = Field(description="Airflow's, from 1; 0 when an earlier stage made this one pointless")
    status: str | None = Field(description="SUCCESS, UNSTABLE, FAILURE, ABORTED or SKIPPED; null while it runs")
    reason: str = Field(description="why it did not simply succeed")
    fault: str = Field(description="whose fault a FAILURE is: `package` or `infrastructure`")
    nvr: str = Field(description='NVR it was about; "" while unknown')
    original_spec_nvr: str = Field(description="NVR of the unmodified spec")
    compose_rev: str = Field(description='OSTree commit it was about, 64 hex digits; "" before there is one')
    started_at: datetime
    ended_at: datetime | None
    seconds: float = Field(description="wall time so far")
    tool_seconds: float = Field(description="the part of it spent in the tools themselves")
    reused_from: str | None = Field(
        description="id of the result whose output it took, made of the same inputs; or null"
    )
    outputs: dict[str, Any] = Field(description="docs/stage-contract.md lists them")
    counts: dict[str, int] = Field(description="number of its tests, by outcome")
    artifacts: tuple[Artifact, ...]

    @property
    def reused_from_run(self) -> str:
        """The id of the run whose output it took; "" if it made its own."""
        return (self.reused_from or "").rsplit("/", maxsplit=2)[0]

    @classmethod
    def fields_of(cls, row: stored.StageResult, run: stored.Run, settings: Settings) -> dict[str, Any]:
        """Read a row and its artifacts; its tests are counted elsewhere."""
        end = row.ended_at or datetime.now(UTC)
        return {
            "id": f"{id_of(run)}/{row.stage}/{row.try_number}",
            "testcase": testcase_of(BY_NAME[row.stage].event, settings.bus.topic_prefix),
            "stage": row.stage,
            "try_number": row.try_number,
            "status": row.status,
            "reason": row.reason,
            "fault": row.fault,
            "nvr": row.nvr,
            "original_spec_nvr": row.original_spec_nvr,
            "compose_rev": row.compose_rev,
            "started_at": row.started_at,
            "ended_at": row.ended_at,
            "seconds": round((end - row.started_at).total_seconds(), 3),
            "tool_seconds": row.tool_seconds,
            "reused_from": result_id_of(row.reused_from) if row.reused_from else None,
            "outputs": row.outputs,
            "artifacts": tuple(Artifact.of(one, run, settings) for one in row.artifacts),
        }


class TestedResult(Result):
    """A result with all of its tests."""

    __test__ = False

    tests: tuple[Test, ...]

    @property
    def passed(self) -> int:
        """How many tests passed."""
        return self.counts.get(TestOutcome.PASSED, 0)


class Run(_Shown):
    """A run: a change on a branch."""

    id: str = Field(description="`f26/464`: branch and number")
    run: str = Field(description="Airflow's run id")
    dag: str
    build_id: int = Field(description="the run's number, counting up per branch")
    kind: str = Field(description="`push`, `manual` or `backfill`, which leaves its branch as it is")
    lane: Lane = Field(
        description="`storm`: one of very many of the same account, which come to their turn a few at a time"
    )
    change: Change
    ref: str = Field(description="OSTree ref its compose is on, or is to be on: a side run's is `candidate/f26/464`")
    status: str | None = Field(description="null until it has ended")
    reason: str
    created_at: datetime
    fired_at: datetime | None = Field(description="when Airflow was told of it")
    ended_at: datetime | None
    pruned_at: datetime | None = Field(description="when its files were removed, but for what is among the newest")
    url: str = Field(description="its page in the Airflow UI")

    @classmethod
    def fields_of(cls, row: stored.Run, settings: Settings) -> dict[str, Any]:
        """Read a row."""
        return {
            "id": id_of(row),
            "run": row.run_id,
            "dag": row.dag_id,
            "build_id": row.number,
            "kind": row.kind,
            "lane": Lane(row.lane),
            "change": runs.change_of(row),
            "ref": runs.ref_of(row, settings),
            "status": row.status,
            "reason": row.reason,
            "created_at": row.created_at,
            "fired_at": row.fired_at,
            "ended_at": row.ended_at,
            "pruned_at": row.pruned_at,
            "url": addresses.run_in_airflow(settings, row.dag_id, row.run_id),
        }


class RunStages(Run):
    """A run and the newest try of each of its stages, in pipeline order, those that have begun."""

    stages: tuple[Result, ...]


class RunResults(RunStages):
    """The same with all tests."""

    stages: tuple[TestedResult, ...]

    @property
    def progress(self) -> str:
        """Its status, or in one word why it has none yet."""
        return self.status or ("running" if self.stages or self.fired_at else "queued")


class RunResult(Result):
    """A result and the run it is of."""

    run: Run
    current: bool = Field(description="no newer try of it, or of a stage before it, took its place")


class Image(_Shown):
    """A generated image."""

    name: str
    branch: str
    version: str
    compose_rev: str
    size: int = Field(description="bytes")
    sha256: str
    generated_at: datetime
    smoke_passed_at: datetime | None = Field(description="null while it is not known to boot")
    validated_at: datetime | None = Field(description="when it had passed all its tests; null while it has not")
    removed_at: datetime | None = Field(description="when its file was removed; null while it is kept")
    url: str
    manifest_url: str = Field(description='address of its manifest; "" when there is none')

    @classmethod
    def of(cls, row: stored.Image, settings: Settings) -> Self:
        """Read a row."""
        url = addresses.image_of(settings, row.branch, row.name)
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


def id_of(run: stored.Run) -> str:
    """Return the id of a run: `f26/464`."""
    return f"{run.branch}/{run.number}"


def result_id_of(row: stored.StageResult) -> str:
    """Return the id of a result: `f26/464/build_package/1`."""
    return f"{id_of(row.run)}/{row.stage}/{row.try_number}"
