"""The journal of a run: what happened is written down, and what is to be said of it, in one transaction.

Every function may be called again for the same happening (a callback repeats what the operator did, a crash is
followed by a reconciliation): the second call changes nothing.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from ci_pipeline import addresses, conformance, promotion, rules
from ci_pipeline.bus import events, schemas
from ci_pipeline.bus.events import RunFacts
from ci_pipeline.change import Change
from ci_pipeline.executors.report import Report, aborted
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status, worst
from ci_pipeline.settings import Settings
from ci_pipeline.stages import (
    BUILD_PACKAGE,
    BY_NAME,
    COMPLETE,
    CONFORMANCE_TESTS,
    GENERATE_IMAGE,
    PROVISION_HOSTS,
    SMOKE_TEST,
    STAGES,
    Stage,
    after,
    next_step,
)
from ci_pipeline.store import images, leases, outbox, runs
from ci_pipeline.store.tables import Inbound, Run, StageResult

TRIGGER_NAME = "ci-pipeline-trigger"
RECONCILER_NAME = "ci-pipeline-reconciler"
RETENTION_NAME = "ci-pipeline-retention"
# The DAGs that are not of a branch.
HOUSEKEEPING = (TRIGGER_NAME, RECONCILER_NAME, RETENTION_NAME)
# Airflow counts tries from 1; a stage that an earlier one made pointless never had a try.
_NEVER_TRIED = 0


class Journal:
    """Writes the journal of runs into one open transaction."""

    def __init__(self, session: Session, settings: Settings) -> None:
        """Use an open transaction; nothing is true or said before it is committed."""
        self._session = session
        self._settings = settings

    def announce_decision(self, row: Inbound, *, trigger_run_id: str) -> None:
        """Say what was decided about a change that arrived: `package.ignore` or `package.queued`.

        A duplicate or a dead letter is not announced: the first is announced already, the second names no change.
        """
        event = {"ignored": "package.ignore", "queued": "package.queued"}.get(row.state)
        if event is None or row.repo is None:
            return
        change = Change.parse(namespace=row.namespace, repo=row.repo, rev=row.rev, branch=row.branch)
        facts = RunFacts(
            ci_name=TRIGGER_NAME,
            change=change,
            ref=self._settings.ref_of(change.branch),
            build_id=row.id,
            build_url=addresses.run_in_airflow(self._settings, TRIGGER_NAME, trigger_run_id),
            topic_prefix=self._settings.bus.topic_prefix,
            status=Status.SUCCESS,
        )
        self._say(facts, event, key=f"inbound {row.id}: {event}", run=row.run, inbound=row.id)

    def begin_stage(self, run: Run, stage: Stage, try_number: int) -> StageResult:
        """Write down that a try of a stage has begun, and say `running` unless it is being said already.

        A run carries out one stage at a time. Another one that is still open was ended in Airflow a moment ago, and its
        task has not reported yet: it is closed first, lest this stage be announced before that one's end.
        """
        self._lock(run)
        if not runs.has_try(self._session, run.id, stage, try_number):
            self._close_tries(run, but=stage)
        result = runs.begin_try(self._session, run.id, stage, try_number)
        if result.status is not None:
            return result
        run.status, run.ended_at = None, None
        if stage is BUILD_PACKAGE:
            run.pruned_at = None  # what it made is being made again
        if stage is PROVISION_HOSTS and not result.outputs:
            # Which image it is stays as it is, whatever else is generated meanwhile.
            result.outputs = images.under_test(self._session, run)
        if not self._is_open(run, stage):
            self._announce_queued(run, stage)
            self._say_of(run, stage.running, Status.SUCCESS)
        return result

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
        runs.end_try(self._session, run.id, stage, try_number, report)
        if report.status is Status.SUCCESS:
            self._keep_image_state(run, stage)
        if rules.gives_lease_back(stage, report.status, final=final, promotes=Kind(run.kind).promotes):
            leases.release(self._session, run=run.id, name=leases.compose_of(run.branch))
        if final:
            self._go_on(run, stage, report.status)

    def skip_stage(self, run: Run, stage: Stage, try_number: int, reason: str) -> None:
        """Write down that a stage and those after it have nothing to do. Nothing is said on the bus."""
        self._lock(run)
        runs.begin_try(self._session, run.id, stage, try_number)
        runs.end_try(self._session, run.id, stage, try_number, Report(status=Status.SKIPPED, reason=reason))
        following = after(stage)
        while following:
            self._mark_skipped(run, following, f"nothing to work on: {stage.name} was skipped")
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
        self._say_of(run, COMPLETE, status)

    def _lock(self, run: Run) -> None:
        """Let one writer at a time write about a run."""
        self._session.refresh(run, with_for_update=True)

    def _is_open(self, run: Run, stage: Stage) -> bool:
        """Tell whether the world thinks the stage is running."""
        said = outbox.said
        return said(self._session, run.id, stage.running) > said(self._session, run.id, stage.complete)

    def _close(self, run: Run, stage: Stage) -> None:
        if self._is_open(run, stage):
            self._say_of(run, stage.complete, runs.status_so_far(self._session, run.id))

    def _announce_queued(self, run: Run, stage: Stage) -> None:
        said = outbox.said
        if stage.announces_queued and said(self._session, run.id, stage.queued) <= said(
            self._session,
            run.id,
            stage.running,
        ):
            self._say_of(run, stage.queued, Status.SUCCESS)

    def _go_on(self, run: Run, stage: Stage, status: Status) -> None:
        """Say that a stage has ended, and that the next one is queued if it announces that and will be reached."""
        goes_on = not rules.stops_the_run(stage, status, gating=runs.is_gating(run, self._settings))
        if goes_on and next_step(stage):
            return
        self._close(run, stage)
        following = after(stage)
        if following and goes_on and not self._is_off(run, following):
            self._announce_queued(run, following)

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

    def _mark_skipped(self, run: Run, stage: Stage, reason: str) -> None:
        rows = delete(StageResult).where(StageResult.run_id == run.id, StageResult.stage == stage.name)
        self._session.execute(rows.where(StageResult.try_number == _NEVER_TRIED))
        now = datetime.now(UTC)
        skipped = {"status": Status.SKIPPED, "reason": reason, "started_at": now, "ended_at": now}
        self._session.add(StageResult(run_id=run.id, stage=stage.name, try_number=_NEVER_TRIED, **skipped))
        self._session.flush()

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
                runs.end_try(self._session, run.id, stage, result.try_number, ended)
            self._close(run, stage)

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

    def _say_of(self, run: Run, event: str, status: Status) -> None:
        ordinal = outbox.said(self._session, run.id, event) + 1
        self._say(self._facts(run, status), event, key=f"run {run.id}: {event} {ordinal}", run=run.id)

    def _say(self, facts: RunFacts, event: str, *, key: str, run: int | None, inbound: int | None = None) -> None:
        body = events.body(event, facts)
        schemas.check(event, facts.topic_prefix, body)
        outbox.add(self._session, key=key, event=event, topic=body["topic"], body=body, run=run, inbound=inbound)

    def _facts(self, run: Run, status: Status) -> RunFacts:
        known = runs.outputs(self._session, run.id)
        folder = addresses.artifacts_of(self._settings, run.branch)
        image_name = _text(known, "image_name")
        return RunFacts(
            ci_name=run.dag_id,
            change=runs.change_of(run),
            ref=self._ref_of(run),
            build_id=run.number,
            build_url=addresses.run_in_airflow(self._settings, run.dag_id, run.run_id),
            topic_prefix=self._settings.bus.topic_prefix,
            status=status,
            test_guidance=run.test_guidance,
            original_spec_nvr=_text(known, "original_spec_nvr"),
            nvr=_text(known, "nvr"),
            package_url=f"{folder}/repo/{self._packages_of(run)}/",
            compose_url=f"{folder}/ostree",
            compose_rev=_text(known, "compose_rev"),
            image_name=image_name,
            image_url=f"{folder}/images/{image_name}" if image_name else "",
        )

    def _ref_of(self, run: Run) -> str:
        """Return the ref that a run's compose is on, or is to be on: a side run has none but its candidate's."""
        promotes = Kind(run.kind).promotes
        return self._settings.ref_of(run.branch) if promotes else f"candidate/{run.branch}/{run.number}"

    def _packages_of(self, run: Run) -> str:
        """Return where in the branch's repositories a run's packages are: the newest build is never a side run's."""
        return f"{run.repo}_repo" if Kind(run.kind).promotes else f"builds/{run.run_id}"


def _text(known: dict[str, Any], key: str) -> str:
    return str(known.get(key, ""))
