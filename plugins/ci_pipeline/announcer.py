"""What is to be said of a run, stored in the transaction that makes it true.

One happening (a stage was queued, begins, ended, was skipped; a run ended) is told to whoever is configured to hear
of it: each contract of the bus has its own message of it.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from ci_pipeline import addresses, decisions, fedora_ci
from ci_pipeline.bus import events, schemas
from ci_pipeline.bus.events import RunFacts
from ci_pipeline.gating import announcing
from ci_pipeline.happening import Happening
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import COMPLETE, STEPS, Stage
from ci_pipeline.store import deliveries, outbox, runs, unannounced
from ci_pipeline.store.ledger import Decided
from ci_pipeline.store.outbox import Saying
from ci_pipeline.store.tables import Run, StageResult


class Announcer:
    """Stores what is to be said, in one open transaction."""

    def __init__(self, session: Session, settings: Settings) -> None:
        """Use an open transaction; nothing is said before it is committed."""
        self._session = session
        self._settings = settings

    def decisions(self, rows: Iterable[Decided], *, trigger_run_id: str) -> None:
        """Say what was decided about changes that arrived: `package.ignore` or `package.queued`.

        What is ignored is only noted: what is said of it is made of the ledger when it is published.
        """
        told = [row for row in rows if decisions.is_said(row)]
        later = self._settings.contracts.ci_pipeline
        unannounced.add(self._session, [row.id for row in told if later and row.state == "ignored"], trigger_run_id)
        now = [row for row in told if not later or row.state == "queued"]
        sayings = [decisions.saying(self._settings, row, trigger_run_id=trigger_run_id) for row in now]
        outbox.add_all(self._session, map(self._checked, sayings))

    def is_open(self, run: Run, stage: Stage) -> bool:
        """Tell whether the world thinks a stage is running."""
        return self._count(run, stage.running) > self._count(run, stage.complete)

    def queued(self, run: Run, stage: Stage) -> None:
        """Say that a stage is about to run, if it announces that and is not waited for already."""
        if stage.announces_queued and self._count(run, stage.queued) <= self._count(run, stage.running):
            self._tell(run, stage.queued, Status.SUCCESS, stage)

    def running(self, run: Run, stage: Stage, result: StageResult) -> None:
        """Say that a stage begins, unless the world thinks so already."""
        if not self.is_open(run, stage):
            self.queued(run, stage)
            self._tell(run, stage.running, Status.SUCCESS, stage, result)

    def ended(self, run: Run, stage: Stage, result: StageResult) -> None:
        """Say that a stage has ended, if the world thinks that it is running."""
        if self.is_open(run, stage):
            self._tell(run, stage.complete, runs.status_so_far(self._session, run.id), stage, result)

    def skipped(self, run: Run, stage: Stage, result: StageResult) -> None:
        """Say that a stage has nothing to do, once for the steps of one thing; our own contract has no words for it."""
        if stage is STEPS[stage.event][0]:
            self._spread(Happening(run, stage.skipped, Status.SKIPPED, stage, result, result.id))

    def run_ended(self, run: Run, status: Status) -> None:
        """Say the run's one `complete`."""
        self._tell(run, COMPLETE, status)

    def _count(self, run: Run, event: str) -> int:
        return outbox.said(self._session, run.id, event)

    def _tell(
        self, run: Run, event: str, status: Status, stage: Stage | None = None, result: StageResult | None = None
    ) -> None:
        happening = Happening(run, event, status, stage, result, self._count(run, event) + 1)
        outbox.add(self._session, self._saying(self._facts(run, status), event, happening.key, run.id))
        self._spread(happening)

    def _spread(self, happening: Happening) -> None:
        """Tell a happening to whoever hears of it beside the message contract."""
        fedora_ci.say(self._session, self._settings, happening)
        for sink in self._settings.sinks:
            if happening.phase in sink.events:
                self._deliver(sink.name, happening)
        if happening.result or happening.event == COMPLETE:
            announcing.reconsider(self._session, self._settings, happening.run)

    def _deliver(self, sink: str, happening: Happening) -> None:
        deliveries.add(
            self._session,
            sink=sink,
            run=happening.run,
            result=happening.result,
            key=happening.key,
            event=happening.event,
            status=happening.outcome,
            at=happening.at,
        )

    def _saying(self, facts: RunFacts, event: str, key: str, run: int) -> Saying:
        body = events.body(event, facts)
        withheld = not self._settings.contracts.ci_pipeline
        return self._checked(Saying(key=key, event=event, topic=body["topic"], body=body, run=run, withheld=withheld))

    def _checked(self, saying: Saying) -> Saying:
        schemas.check(saying.event, self._settings.bus.topic_prefix, saying.body)
        return saying

    def _facts(self, run: Run, status: Status) -> RunFacts:
        known = runs.outputs(self._session, run.id)
        image_name = _text(known, "image_name")
        return RunFacts(
            ci_name=run.dag_id,
            change=runs.change_of(run),
            ref=runs.ref_of(run, self._settings),
            build_id=run.number,
            build_url=addresses.run_in_airflow(self._settings, run.dag_id, run.run_id),
            topic_prefix=self._settings.bus.topic_prefix,
            status=status,
            test_guidance=run.test_guidance,
            original_spec_nvr=_text(known, "original_spec_nvr"),
            nvr=_text(known, "nvr"),
            package_url=addresses.packages_of(self._settings, run),
            compose_url=addresses.compose_of(self._settings, run.branch),
            compose_rev=_text(known, "compose_rev"),
            image_name=image_name,
            image_url=addresses.image_of(self._settings, run.branch, image_name),
        )


def _text(known: dict[str, Any], key: str) -> str:
    return str(known.get(key, ""))
