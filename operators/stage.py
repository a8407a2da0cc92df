"""The one way a stage is carried out: request, executor, report, journal."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from ci_pipeline import measures, requests, rules, settings, store
from ci_pipeline.errors import ExecutorError, StageEnded, StoreError
from ci_pipeline.executors.jenkins import JenkinsExecutor
from ci_pipeline.executors.report import Report, aborted, infrastructure_failure, sentence_of, tail_of
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.reuse import Taking, asked_of, means_of
from ci_pipeline.store import runs
from operators import callbacks, metrics
from operators.builder_turn import BuilderTurn
from operators.jenkins_connection import connector
from operators.run_of import adopt, run_of
from sensors.builder_trigger import BuilderTrigger
from sensors.look_again_trigger import LookAgainTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from ci_pipeline.executors.base import Executor, Request
    from ci_pipeline.measures import StageTimes
    from ci_pipeline.settings import Settings
    from ci_pipeline.stages import Stage
    from ci_pipeline.store.tables import Run


def reported(work: Callable[[], Report], workspace: Path) -> Report:
    """Carry out a stage's work in its workspace; whatever goes wrong is a report, too."""
    try:
        return work()
    except StageEnded as error:
        return aborted(str(error))
    except (ExecutorError, StoreError) as error:
        return infrastructure_failure(str(error))
    except OSError as error:
        return infrastructure_failure(sentence_of(error, workspace))


class StageOperator(BaseOperator):
    """Carries out one stage of the pipeline.

    A stage that ends SUCCESS, or SKIPPED by its own playbook, leaves a green task; one that finds nothing to do is a
    skipped task; UNSTABLE and FAILURE leave a red one where they stop the run (`rules.stops_the_run`). Only an
    infrastructure fault is tried again.

    Args:
        extra_vars: variables for the stage's playbook, on top of its request. Templated.
    """

    stage: ClassVar[Stage]
    template_fields: Sequence[str] = ("extra_vars",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"extra_vars": "json"}
    ui_color = "#e8f0fe"

    def __init__(self, *, extra_vars: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Take the stage's name as task id and its retries from the settings."""
        how = settings.current().stage(self.stage.name)
        kwargs.setdefault("task_id", self.stage.name)
        kwargs.setdefault("retries", how.retries)
        kwargs.setdefault("retry_delay", timedelta(seconds=20))
        kwargs.setdefault("retry_exponential_backoff", 2.0)
        kwargs.setdefault("max_retry_delay", timedelta(minutes=10))
        super().__init__(**callbacks.ANNOUNCING, **kwargs)
        self.extra_vars = extra_vars or {}

    @cached_property
    def settings(self) -> Settings:
        """The settings of this process."""
        return settings.current()

    @cached_property
    def builder_turn(self) -> BuilderTurn:
        """On which machine this try is carried out."""
        return BuilderTurn(self.settings, self.stage)

    @cached_property
    def stage_executor(self) -> Executor:
        """Who carries the stage out."""
        if self.settings.stage(self.stage.name).executor == "jenkins":
            return JenkinsExecutor(self.settings.jenkins, connector(self.settings))
        return self.builder_turn.executor()

    def skip_reason(self, session: Session, run: Run, context: Context) -> str:
        """Return why this stage has nothing to do in this run, or "" when it has."""
        # A run that ended before it began was superseded, or cancelled while it waited.
        return run.reason if run.status and not runs.latest_results(session, run.id) else ""

    def variables(self) -> dict[str, Any]:
        """Return the playbook's variables that this task sets itself, on top of the request."""
        return self.extra_vars

    @contextmanager
    def secret_files(self, workspace: Path) -> Iterator[dict[str, str]]:
        """Put what the playbook needs of Airflow's connections into files while it runs; yield the variables to use.

        Raises:
            ExecutorError: a connection is not there, or has not what is needed.
        """
        yield {}

    def begin(self, session: Session, context: Context) -> Run:
        """Write down, once, that this try has begun. `on_execute_callback` has done so already, if it could."""
        # Locked before it is looked at: a newer push may supersede it at this very moment.
        run = runs.locked(session, run_of(session, context).id)
        if not self.skip_reason(session, run, context) and not self._waits_for_builder(session, run, context):
            Journal(session, self.settings).begin_stage(run, self.stage, context["ti"].try_number)
        return run

    def execute(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Carry the stage out. When this returns, or raises, the journal has how it ended."""
        if adopt(context):
            callbacks.announce_start(context)
        self.wait_for_turn(context)
        self.wait_for_builder(context)
        run, reason = store.transact(partial(self._begin_or_skip, context=context))
        if reason:
            raise AirflowSkipException(reason)
        workspace = requests.workspace_of(self.settings, run, self.stage.name, context["ti"].try_number)
        report = self.carry_out(run, workspace)
        if report.again_in:
            store.transact(partial(self._write_known, run=run.id, report=report, context=context))
            self.defer(trigger=LookAgainTrigger(seconds=report.again_in), method_name="execute")
        self._finish(run, report, context)

    def wait_for_turn(self, context: Context) -> None:
        """Defer the task while the stage may not begin."""

    def wait_for_builder(self, context: Context) -> None:
        """Defer the task while no builder is free, if the stage goes to one."""
        run, waits_for = store.transact(partial(self._ask_for_builder, context=context))
        if waits_for:
            self.log.info("%s", waits_for)
            trigger = BuilderTrigger(run=run.id, stage=self.stage.name, try_number=context["ti"].try_number)
            self.defer(trigger=trigger, method_name="execute", timeout=timedelta(hours=12))

    def carry_out(self, run: Run, workspace: Path) -> Report:
        """Run the stage's playbook in a folder of its own; whatever goes wrong is a report, too."""
        return reported(partial(self._run_playbook, run, workspace), workspace)

    def on_kill(self) -> None:
        """End the playbook, or the build, when the task is ended."""
        self.stage_executor.cancel()

    def _run_playbook(self, run: Run, workspace: Path) -> Report:
        means = means_of(self.settings, self.stage.name, settings.project_folder() / "playbooks")
        request = store.transact(partial(self._request, run=run, workspace=workspace, means=means))
        store.let_go()  # a stage may take hours
        # For our account alone: what package code leaves there may be set-user-ID.
        workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.secret_files(workspace) as files:
            report = self.stage_executor.run({**request, **files}, workspace=workspace)
        return Taking(self.settings, run, request, workspace).take(report) if report.reuses else report

    def _request(self, session: Session, run: Run, workspace: Path, means: str) -> Request:
        """Return what is asked for, and what may be reused of it."""
        made = requests.make(session, self.settings, run, self.stage, workspace=workspace)
        request = {**made, **self.variables()}
        return request | asked_of(session, self.settings, run, request, means=means)

    def _ask_for_builder(self, session: Session, context: Context) -> tuple[Run, str]:
        """Return the run, and what the stage waits for, if it does. One with nothing to do needs no builder."""
        run = run_of(session, context)
        idle = self.skip_reason(session, run, context)
        return run, "" if idle else self._waits_for_builder(session, run, context)

    def _waits_for_builder(self, session: Session, run: Run, context: Context) -> str:
        return self.builder_turn.ask(session, run=run.id, try_number=context["ti"].try_number)

    def _begin_or_skip(self, session: Session, context: Context) -> tuple[Run, str]:
        """Return the run, and why there is nothing to do in it."""
        run = self.begin(session, context)
        reason = self.skip_reason(session, run, context)
        if reason:
            Journal(session, self.settings).skip_stage(run, self.stage, context["ti"].try_number, reason)
        return run, reason

    def _log_end(self, report: Report) -> None:
        """Make the last line of the task's log say what came out; above it, of a bad end, what the tools said last."""
        if not rules.is_fine(report.status):
            for artifact in report.artifacts:
                if artifact.kind == "log":
                    self.log.info("the end of %s:\n%s", artifact.path, "\n".join(tail_of(artifact)))
        level = logging.INFO if rules.is_fine(report.status) else logging.ERROR
        self.log.log(level, "%s: %s", report.status, report.reason or "all good")

    def _write_end(
        self, session: Session, report: Report, context: Context, *, final: bool
    ) -> tuple[Run, StageTimes | None]:
        run = run_of(session, context)
        Journal(session, self.settings).finish_stage(run, self.stage, context["ti"].try_number, report, final=final)
        return run, measures.of_stage(session, run, self.stage)

    def _write_known(self, session: Session, run: int, report: Report, context: Context) -> None:
        Journal(session, self.settings).go_on(runs.locked(session, run), self.stage, context["ti"].try_number, report)

    def _finish(self, run: Run, report: Report, context: Context) -> None:
        again = is_tried_again(report, context)
        run, times = store.transact(partial(self._write_end, report=report, context=context, final=not again))
        metrics.send_stage(run, self.stage, report.status, times)
        self._log_end(report)
        if again:
            raise AirflowException(report.reason)
        if rules.stops_the_run(self.stage, report.status, gating=runs.is_gating(run, self.settings)):
            msg = f"{report.status}: {report.reason}"
            raise AirflowFailException(msg)


def is_tried_again(report: Report, context: Context) -> bool:
    """Tell whether Airflow will try once more: only after an infrastructure fault, and while tries are left."""
    ti = context["ti"]
    fault = report.status is Status.FAILURE and report.fault is Fault.INFRASTRUCTURE
    return fault and ti.try_number <= (ti.max_tries or 0)
