"""How often a test is flaky, of the stored results of the newest tries of its stage."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import CTE, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status, TestOutcome, has_failed
from ci_pipeline.stages import FUNCTIONAL_TESTS, INTEGRATION_TESTS
from ci_pipeline.store.tables import Run, StageResult, TestResult

NEWEST: Final = 50
# The tries are looked for among so many runs: a stage that hardly ever runs must not have all of them read.
_AMONG_RUNS: Final = 1000
# In the integration tests, the pipeline's own checks of a host: they are the same for every package.
_OF_THE_HOST: Final = "host: "
_COUNTS: Final = (Status.SUCCESS, Status.UNSTABLE)
_BAD: Final = (TestOutcome.FAILED, TestOutcome.ERROR, TestOutcome.QUARANTINED)


@dataclass(frozen=True, slots=True)
class FlakeRate:
    """How a test did lately.

    Attributes:
        runs: its results in the newest tries of its stage, at most 50, skipped ones left out.
        flakes: those of them in which it was flaky: it failed, and on the same change it also passed, on a rerun or in
            another try.
    """

    runs: int
    flakes: int

    @property
    def rate(self) -> float:
        """The share of flakes, from 0 to 1."""
        return self.flakes / self.runs if self.runs else 0.0

    def __str__(self) -> str:
        """`flaky: 3 of its last 50 runs`, and "" of a test that never was."""
        noun = "run" if self.runs == 1 else "runs"
        return f"flaky: {self.flakes} of its last {self.runs} {noun}" if self.flakes else ""


# By stage and name of the test.
Rates = Mapping[tuple[str, str], FlakeRate]


def rates(  # noqa: PLR0913 - a test is known by all of these
    session: Session, *, stage: str, branch: str, namespace: str, repo: str, names: Collection[str]
) -> dict[str, FlakeRate]:
    """Return the flake rates of tests on a branch, by name; a name without results is left out.

    A functional test, and a test of a host that the package brought, is the package's: its results in runs of the
    package count. The checks of a host and the conformance tests are the same for all: the branch's count. What a
    backfill has found does not: it tests old revisions, on hosts that were never the branch's. Nor does a try that was
    ended or failed: what its tests say may be the fault of something else. Two queries at most, however many names.
    """
    of_branch = {name for name in names if _is_the_branchs(stage, name)}
    package = and_(Run.namespace == namespace, Run.repo == repo)
    asked = [
        (of_branch, select(Run).where(Run.branch == branch).order_by(Run.number.desc())),
        (set(names) - of_branch, select(Run).where(Run.branch == branch, package).order_by(Run.id.desc())),
    ]
    found = [row for wanted, of in asked if wanted for row in session.execute(_counted(_tries(of, stage), wanted))]
    return {name: FlakeRate(runs, flakes) for name, runs, flakes in found}


def of_run(session: Session, run: Run, tests: Iterable[tuple[str, str, str]]) -> Rates:
    """Return the flake rates of those tests of a run that failed at least once.

    `tests` are their stages, names and outcomes.
    """
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for stage, name, outcome in tests:
        if has_failed(TestOutcome(outcome)):
            wanted[stage].add(name)
    whose = {"branch": run.branch, "namespace": run.namespace, "repo": run.repo}
    found = {stage: rates(session, stage=stage, names=names, **whose) for stage, names in wanted.items()}
    return {(stage, name): rate for stage, of_stage in found.items() for name, rate in of_stage.items()}


def _is_the_branchs(stage: str, name: str) -> bool:
    if stage == INTEGRATION_TESTS.name:
        return name.startswith(_OF_THE_HOST)
    return stage != FUNCTIONAL_TESTS.name


def _tries(runs: Select[Run], stage: str) -> CTE:
    """Return the newest tries of a stage that came to a verdict, of the given runs."""
    columns = (Run.id, Run.namespace, Run.repo, Run.rev)
    among = runs.where(Run.kind != Kind.BACKFILL).limit(_AMONG_RUNS).with_only_columns(*columns).subquery()
    query = select(StageResult.id, among.c.namespace, among.c.repo, among.c.rev).join(
        among, StageResult.run_id == among.c.id
    )
    ended = query.where(StageResult.stage == stage, StageResult.status.in_(_COUNTS))
    return ended.order_by(StageResult.run_id.desc(), StageResult.id.desc()).limit(NEWEST).cte("try")


def _counted(tries: CTE, names: Collection[str]) -> Select[str, int, int]:
    """Return name, number of results and number of flakes of these tests in the tries."""
    tried = (tries.c.id, tries.c.namespace, tries.c.repo, tries.c.rev)
    # Of several tests of one name in one try, the worst counts.
    seen = (
        select(
            TestResult.name,
            *tried[1:],
            func.bool_or(TestResult.outcome.in_(_BAD)).label("failed"),
            func.bool_or(TestResult.outcome == TestOutcome.PASSED_ON_RERUN).label("on_rerun"),
        )
        .join(tries, TestResult.stage_result_id == tries.c.id)
        .where(TestResult.name.in_(names), TestResult.outcome != TestOutcome.SKIPPED)
        .group_by(TestResult.name, *tried)
        .cte("seen")
    )
    change = (seen.c.name, seen.c.namespace, seen.c.repo, seen.c.rev)
    passed_too = func.bool_or(~seen.c.failed).over(partition_by=change)
    flake = or_(seen.c.on_rerun, and_(seen.c.failed, passed_too))
    marked = select(seen.c.name, flake.label("flake")).subquery()
    flakes = func.count().filter(marked.c.flake)
    return select(marked.c.name, func.count(), flakes).group_by(marked.c.name)
