"""Announces decisions: computed anew whenever something happened that they depend on, said when they have changed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text, tuple_
from sqlalchemy.orm import Session

from ci_pipeline.bus import gating_schemas
from ci_pipeline.gating import deciding, lookup, policies
from ci_pipeline.gating.decision import Decision, Subject, is_a_change
from ci_pipeline.gating.lookup import Known
from ci_pipeline.gating.outcomes import Tried
from ci_pipeline.gating_sections import KOJI_BUILD, Policy
from ci_pipeline.kind import Kind
from ci_pipeline.settings import Settings
from ci_pipeline.store import downstream_tables, outbox
from ci_pipeline.store.tables import Run


@dataclass(frozen=True, slots=True)
class _Gate:
    """A gate that a subject may pass or not."""

    known: Known
    context: str
    policies: list[Policy]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the others of its product."""
        return self.known.subject.type, self.known.subject.identifier, self.context


def reconsider(session: Session, settings: Settings, run: Run) -> None:
    """Decide anew about what a run is about, and announce each decision that has changed, once.

    Without a policy for the run's branch this asks the database nothing.

    Args:
        session: the transaction in which something happened; it holds the run's row.
        settings: with the policies.
        run: the run.
    """
    product = settings.product_of(run.branch)
    asked = policies.gates(settings, product)
    if not asked or not Kind(run.kind).promotes:
        return
    tries = lookup.tries_of(session, run.id)
    if not tries:
        return
    named = [one.identifier for one in lookup.subjects_of(tries)]
    lock(session, [*named, lookup.last(tries, "nvr")])
    gates = _gates(session, settings, run, tries, asked)
    if gates:
        _decide(session, settings, run, gates, product)


def lock(session: Session, identifiers: Iterable[str]) -> None:
    """Let one transaction at a time decide about subjects: neither must miss what the other has written."""
    names = sorted(f"gating:{one}" for one in identifiers)
    one_by_one = "SELECT pg_advisory_xact_lock(hashtext(name)) FROM unnest(CAST(:names AS text[])) AS name"
    session.execute(text(one_by_one), {"names": names})


def _gates(
    session: Session, settings: Settings, run: Run, tries: list[Tried], asked: list[tuple[str, str]]
) -> list[_Gate]:
    product = settings.product_of(run.branch)
    about = {one.type: one for one in lookup.subjects_of(tries) if _decides(session, settings, run, one, product)}
    known = {type_: lookup.known(settings, one, lookup.ran(run), tries) for type_, one in about.items()}
    return [
        _Gate(
            known[type_],
            context,
            policies.applicable(settings, contexts=[context], product_version=product, subject_type=type_),
        )
        for type_, context in asked
        if type_ in known
    ]


def _decides(session: Session, settings: Settings, run: Run, subject: Subject, product: str) -> bool:
    """Tell whether a run is the one that decides: a newer one of the same spec takes its place."""
    if subject.type != KOJI_BUILD:
        return True
    newest = lookup.deciding_run(session, settings, subject, product)
    return newest is not None and newest.number == run.id


def _decide(session: Session, settings: Settings, run: Run, gates: list[_Gate], product: str) -> None:
    """Decide at each gate; the waivers and the decisions before are read at once."""
    pairs = [(gate.known, gate.policies) for gate in gates]
    before = _stored(session, gates, product)
    for gate, decision in zip(gates, deciding.decide_all(session, settings, pairs, product), strict=True):
        row = before.get(gate.key)
        if is_a_change(row.answer if row else None, decision):
            _announce(session, settings, run, gate, decision, row or _first(session, gate, product))


def _stored(
    session: Session, gates: list[_Gate], product: str
) -> dict[tuple[str, str, str], downstream_tables.Decision]:
    row = downstream_tables.Decision
    key = (row.subject_type, row.subject_identifier, row.decision_context)
    query = select(row).where(tuple_(*key).in_([gate.key for gate in gates]), row.product_version == product)
    return {(one.subject_type, one.subject_identifier, one.decision_context): one for one in session.scalars(query)}


def _first(session: Session, gate: _Gate, product: str) -> downstream_tables.Decision:
    type_, identifier, context = gate.key
    row = downstream_tables.Decision(
        subject_type=type_,
        subject_identifier=identifier,
        product_version=product,
        decision_context=context,
        number=0,
    )
    session.add(row)
    return row


def _announce(  # noqa: PLR0913, PLR0917 - what is said, of what, and where it is kept
    session: Session, settings: Settings, run: Run, gate: _Gate, decision: Decision, row: downstream_tables.Decision
) -> None:
    answer: dict[str, Any] = decision.model_dump(mode="json")
    body = {
        "subject_type": row.subject_type,
        "subject_identifier": row.subject_identifier,
        "product_version": row.product_version,
        "decision_context": row.decision_context,
        **answer,
        "previous": row.answer if row.number else None,
    }
    row.answer, row.summary, row.policies_satisfied = answer, decision.summary, decision.policies_satisfied
    row.number, row.decided_at = row.number + 1, datetime.now(UTC)
    said = f"decision {' '.join(gate.key)} {row.product_version} {row.number}"
    say(session, settings, gating_schemas.DECISION_UPDATE, key=said, body=body, run=run.id)


def say(  # noqa: PLR0913 - what is said, keyword-only
    session: Session, settings: Settings, event: str, *, key: str, body: dict[str, Any], run: int | None
) -> None:
    """Store a message of a decision or a waiver, once."""
    prefix = settings.bus.topic_prefix
    gating_schemas.check(event, prefix, body)
    topic = gating_schemas.topic_of(event, prefix)
    saying = outbox.Saying(key=key, event=event, topic=topic, body=body, run=run, contract=outbox.GATING)
    outbox.add(session, saying)
