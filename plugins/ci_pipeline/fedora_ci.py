"""Stores what happens in a run as fedora-ci messages, too, where `contracts.fedora_ci` asks for them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline import addresses
from ci_pipeline.bus import fedora_ci, fedora_ci_bodies
from ci_pipeline.bus.fedora_ci import ARTIFACT
from ci_pipeline.bus.fedora_ci_bodies import Contact, Moment, StageFacts
from ci_pipeline.datahub.queries import test_counts
from ci_pipeline.errors import MessageError
from ci_pipeline.happening import Happening
from ci_pipeline.outcome import Fault, Status, TestOutcome
from ci_pipeline.settings import Settings
from ci_pipeline.stages import Stage
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Image, Run, StageResult

# More addresses than these make a message nobody reads; the datahub has them all.
_MOST_ADDRESSES: Final = 50


def say(session: Session, settings: Settings, happening: Happening) -> None:
    """Store the fedora-ci message of a happening. The end of a run has none: it is no test of an artifact.

    What cannot be said so (an address of the settings is none) is parked with the reason: no stage fails over it.
    """
    if not settings.contracts.fedora_ci or happening.stage is None:
        return
    facts = _facts(session, settings, happening, happening.stage)
    phase, _ = fedora_ci_bodies.spoken(facts.moment, facts.status, facts.fault)
    body, problem = _body(facts)
    saying = outbox.Saying(
        key=f"{outbox.FEDORA_CI}, {happening.key}",
        event=f"{ARTIFACT}.test.{phase}",
        topic=fedora_ci.topic_of(phase, settings.bus.topic_prefix),
        body=body,
        run=happening.run.id,
        contract=outbox.FEDORA_CI,
    )
    row = outbox.add(session, saying)
    if row is not None and problem:
        row.parked_at, row.error = datetime.now(UTC), problem


def _body(facts: StageFacts) -> tuple[dict[str, Any], str]:
    """Return the body of a message, or why there is none."""
    try:
        phase, body = fedora_ci_bodies.body(facts)
        fedora_ci.check(phase, body)
    except MessageError as error:
        return {}, str(error)
    return body, ""


def _facts(session: Session, settings: Settings, happening: Happening, stage: Stage) -> StageFacts:
    run, known = happening.run, runs.outputs(session, happening.run.id)
    image_name = str(known.get("image_name", ""))
    return StageFacts(
        moment=_moment(happening),
        stage=stage,
        change=runs.change_of(run),
        contact=Contact(**settings.contracts.contact.model_dump()),
        ref=runs.ref_of(run, settings),
        arch=settings.arch_of(run.branch),
        dist_git_branch=settings.dist_git_branch_of(run.branch),
        build_id=run.number,
        build_url=addresses.run_in_airflow(settings, run.dag_id, run.run_id),
        generated_at=datetime.now(UTC),
        issuer=_issuer(session, run),
        original_spec_nvr=str(known.get("original_spec_nvr", "")),
        nvr=str(known.get("nvr", "")),
        package_url=addresses.packages_of(settings, run),
        compose_url=addresses.compose_of(settings, run.branch),
        compose_rev=str(known.get("compose_rev", "")),
        image_build_id=_image_made_by(session, run, image_name),
        image_name=image_name,
        image_url=addresses.image_of(settings, run.branch, image_name),
        **(_of_result(session, settings, happening.result) if happening.result else {}),
    )


def _moment(happening: Happening) -> Moment:
    said = happening.event.rpartition(".")[2]
    return Moment(said) if said in {Moment.QUEUED, Moment.RUNNING} else Moment.ENDED


def _of_result(session: Session, settings: Settings, result: StageResult) -> dict[str, Any]:
    served = {one: addresses.file_of(settings, result.run, one) for one in result.artifacts}
    return {
        "log_url": addresses.log_of(settings, result.run, result),
        "started_at": result.started_at,
        "ended_at": result.ended_at,
        "status": Status(result.status) if result.status else None,
        "fault": Fault(result.fault),
        "reason": result.reason,
        "xunit_urls": _some(url for one, url in served.items() if one.kind == "junit"),
        "output_urls": _some(url for one, url in served.items() if one.kind != "junit"),
        "tests": {TestOutcome(name): count for name, count in test_counts(session, [result.id])[result.id].items()},
    }


def _some(urls: Iterable[str]) -> tuple[str, ...]:
    return tuple(filter(None, urls))[:_MOST_ADDRESSES]


def _issuer(session: Session, run: Run) -> str:
    """Return who pushed what a run is of; "" when nobody did."""
    return next((message.agent for message in runs.inbound_of(session, run.id) if message.agent), "")


def _image_made_by(session: Session, run: Run, name: str) -> int | None:
    """Return the number of the run that made an image, if there is one of that name on the branch."""
    if not name:
        return None
    made = select(Run.number).join(Image, Image.run_id == Run.id).where(Image.branch == run.branch, Image.name == name)
    return session.scalar(made.order_by(Image.id.desc()).limit(1))
