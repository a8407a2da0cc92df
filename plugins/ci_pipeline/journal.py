"""The journal of a run: what happened is written down, and what is to be said of it, in one transaction.

Every function may be called again for the same happening (a callback repeats what the operator did, a crash is
followed by a reconciliation): the second call changes nothing.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from ci_pipeline import conformance, promotion, rules
from ci_pipeline.announcer import Announcer
from ci_pipeline.decisions import TRIGGER_NAME
from ci_pipeline.executors.report import Report, aborted
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status, worst
from ci_pipeline.settings import Settings
from ci_pipeline.stages import (
    BUILD_PACKAGE,
    BY_NAME,
    CONFORMANCE_TESTS,
    GENERATE_IMAGE,
    PROVISION_HOSTS,
    SMOKE_TEST,
    STAGES,
    Stage,
    after,
    next_step,
)
from ci_pipeline.store import images, leases, runs, tries
from ci_pipeline.store.ledger import Decided
from ci_pipeline.store.tables import Run, StageResult

RECONCILER_NAME = "ci-pipeline-reconciler"
RETENTION_NAME = "ci-pipeline-retention"
DATAHUB_NAME = "ci-pipeline-datahub"
# The DAGs that are not of a branch; the last is there when sinks are configured.
HOUSEKEEPING = (TRIGGER_NAME, RECONCILER_NAME, RETENTION_NAME, DATAHUB_NAME)


def housekeeping(settings: Settings) -> tuple[str, ...]:
    """Return the ids of the DAGs there are that are not of a branch."""
    return tuple(name for name in HOUSEKEEPING if settings.sinks or name != DATAHUB_NAME)


class Journal:
    """Writes the journal of runs into one open transaction."""

    def __init__(self, session: Session, settings: Settings) -> None:
        """Use an open transaction; nothing is true or said before it is committed."""
        self._session = session
        self._settings = settings
        self._announcer = Announcer(session, settings)

    def announce_decisions(self, rows: Iterable[Decided], *, trigger_run_id: str) -> None:
        """Say what was decided about changes that arrived."""
        self._announcer.decisions(rows, trigger_run_id=trigger_run_id)

    def begin_stage(self, run: Run, stage: Stage, try_number: int) -> StageResult:
        """Write down that a try of a stage has begun, and say `running` unless it is being said already.

        A run carries out one stage at a time. Another one that is still open was ended in Airflow a moment ago, and its
        task has not reported yet: it is closed first, lest this stage be announced before that one's end.
        """
        self._lock(run)
        if not tries.exists(self._session, run.id, stage, try_number):
            self._close_tries(run, but=stage)
        result = tries.begin(self._session, run.id, stage, try_number)
        if result.status is not None:
            return result
        run.status, run.ended_at = None, None
        if stage is BUILD_PACKAGE:
            run.pruned_at = None  # what it made is being made again
        if stage is PROVISION_HOSTS and not result.outputs:
            # Which image it is stays as it is, whatever else is generated meanwhile.
            result.outputs = images.under_test(self._session, run)
        self._announcer.running(run, stage, result)
        return result

    def go_on(self, run: Run, stage: Stage, try_number: int, report: Report) -> None:
        """Write down what is known of a try that has not ended. Nothing is said of it."""
        self._lock(run)
        tries.note(self._session, run.id, stage, try_number, report.outputs)

    def finish_stage(self, run: Run, stage: Stage, try_number: int, report: Report, *, final: bool) -> None:
        """Write down how a try of a stage ended, and say `complete`.

        Args:
            run: the run.
            stage: its stage.
            try_number: Airflow's number of this try.
            report: how it ended.
            final: false when another try follows by itself: then the stage is still running for the world.

        Raises:
            StoreError: the try has ended already or a newer one has begun; nothing is written.
        """
        self._lock(run)
        ended = tries.end(self._session, run.id, stage, try_number, report)
        if report.status is Status.SUCCESS:
            self._keep_image_state(run, stage)
        if rules.gives_lease_back(stage, report.status, final=final, promotes=Kind(run.kind).promotes):
            leases.release(self._session, run=run.id, name=leases.compose_of(run.branch))
        if final:
            self._go_on(run, stage, ended)

    def skip_stage(self, run: Run, stage: Stage, try_number: int, reason: str) -> None:
        """Write down that a stage and those after it have nothing to do. The message contract says nothing of it."""
        self._lock(run)
        tries.begin(self._session, run.id, stage, try_number)
        report = Report(status=Status.SKIPPED, reason=reason)
        skipped = tries.end(self._session, run.id, stage, try_number, report)
        self._announcer.skipped(run, stage, skipped)
        following = after(stage)
        while following:
            idle = tries.mark_skipped(self._session, following, skipped)
            self._announcer.skipped(run, following, idle)
            following = after(following)

    def end_lost_try(self, run: Run, stage: Stage, report: Report) -> bool:
        """Close the newest try of a stage, if it did not report itself. Its stage is over for the world.

        Returns:
            Whether there was something to close.
        """
        self._lock(run)
        found = runs.latest_results(self._session, run.id).get(stage.name)
        if found is None or found.status is not None:
            return False
        self.finish_stage(run, stage, found.try_number, report, final=True)
        return True

    def end_before_start(self, run: Run, reason: str) -> None:
        """End a run none of whose stages has begun: superseded, or cancelled. Its `complete` says ABORTED."""
        self._lock(run)
        if run.status is None and not runs.latest_results(self._session, run.id):
            self._end(run, Status.ABORTED, reason)

    def finish_run(self, run: Run, *, reason: str = "") -> Status:
        """Close whatever is still open, and say the run's one `complete`.

        Args:
            run: the run.
            reason: why tries that are still open ended, or were ended, and why stages are missing; "": not known.

        Returns:
            The run's status: the worst of its stages; ABORTED when it ended before its stages did.
        """
        self._lock(run)
        leases.release(self._session, run=run.id)
        if run.status is not None:
            return Status(run.status)
        self._close_tries(run, reason)
        promotion.settle(self._session, self._settings, run)
        missing = self._first_missing(run)
        status = worst([runs.status_so_far(self._session, run.id), Status.ABORTED if missing else Status.SUCCESS])
        self._end(run, status, self._reason(run, status, missing, reason))
        return status

    def _end(self, run: Run, status: Status, reason: str) -> None:
        run.status, run.reason, run.ended_at = status, reason, datetime.now(UTC)
        self._announcer.run_ended(run, status)

    def _lock(self, run: Run) -> None:
        """Let one writer at a time write about a run."""
        self._session.refresh(run, with_for_update=True)

    def _go_on(self, run: Run, stage: Stage, ended: StageResult) -> None:
        """Say that a stage has ended, and that the next one is queued if it announces that and will be reached."""
        gating = runs.is_gating(run, self._settings)
        goes_on = not rules.stops_the_run(stage, Status(ended.status or Status.ABORTED), gating=gating)
        if goes_on and next_step(stage):
            return
        self._announcer.ended(run, stage, ended)
        following = after(stage)
        if following and goes_on and not self._is_off(run, following):
            self._announcer.queued(run, following)

    def _is_off(self, run: Run, stage: Stage) -> bool:
        return stage is PROVISION_HOSTS and bool(conformance.skip_reason(self._session, self._settings, run))

    def _keep_image_state(self, run: Run, stage: Stage) -> None:
        known = runs.outputs(self._session, run.id)
        if stage is GENERATE_IMAGE:
            images.record(self._session, run=run.id, branch=run.branch, outputs=known)
        elif stage is SMOKE_TEST:
            images.smoke_passed(self._session, run=run.id, name=known["image_name"])
        elif stage is CONFORMANCE_TESTS and conformance.is_about_the_image(self._settings):
            images.validated(self._session, branch=run.branch, name=known["image_name"])

    def _close_tries(self, run: Run, reason: str = "", *, but: Stage | None = None) -> None:
        """Abort the tries that are still open, and say what the world still waits for, of all stages `but` one.

        A step that ended well leaves open what the next one goes on with.
        """
        for result in runs.newest_tries(self._session, run.id):
            stage = BY_NAME[result.stage]
            if stage is but or (but and stage.event == but.event and result.status is not None):
                continue
            if result.status is None:
                ended = aborted(reason or "the task was ended before it could report")
                tries.end(self._session, run.id, stage, result.try_number, ended)
            self._announcer.ended(run, stage, result)

    def _first_missing(self, run: Run) -> Stage | None:
        """Return the first stage that should have run and did not."""
        results = runs.latest_results(self._session, run.id)
        gating = runs.is_gating(run, self._settings)
        for stage in STAGES:
            if stage.name not in results:
                return stage
            status = Status(results[stage.name].status or Status.ABORTED)
            if rules.stops_the_run(stage, status, gating=gating):
                return None
        return None

    def _reason(self, run: Run, status: Status, missing: Stage | None, reason: str) -> str:
        for result in runs.latest_results(self._session, run.id).values():
            if result.status == status and status is not Status.SUCCESS:
                why = f": {reason}" if reason and status is Status.ABORTED and reason not in result.reason else ""
                return f"{result.stage}: {result.reason}{why}"
        ended = f"the run ended before {missing.name} could run" if missing else ""
        return f"{ended}: {reason}" if ended and reason else ended
