"""Decides on demand: for the API, the command line and the pages."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from ci_pipeline.gating import lookup, policies
from ci_pipeline.gating.decision import Decision, Subject, decide, together
from ci_pipeline.gating.lookup import Known
from ci_pipeline.gating_sections import Policy
from ci_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: may these subjects of a product pass these gates?"""

    subjects: tuple[Subject, ...]
    product_version: str
    contexts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided, and of what."""

    decision: Decision
    known: tuple[Known, ...]


def answer(session: Session, settings: Settings, question: Question) -> Answer:
    """Decide.

    Raises:
        NoPolicyError: no policy is for any of the subjects at this gate.
    """
    product, contexts = question.product_version, question.contexts
    decided = []
    for subject in dict.fromkeys(question.subjects):
        chosen = policies.applicable(settings, contexts=contexts, product_version=product, subject_type=subject.type)
        if chosen:
            known = lookup.of(session, settings, subject, product)
            decided.append((known, chosen))
    if not decided:
        types = [subject.type for subject in question.subjects]
        raise policies.refuse(contexts=contexts, product_version=product, subject_types=types)
    told = decide_all(session, settings, decided, product)
    return Answer(together(told), tuple(known for known, _ in decided))


def decide_all(
    session: Session, settings: Settings, decided: Sequence[tuple[Known, Sequence[Policy]]], product_version: str
) -> list[Decision]:
    """Return the decision about each of what is known, by the policies for it."""
    waived = lookup.waived(session, [known for known, _ in decided], product_version)
    return [
        decide(
            known.subject,
            policies=[policy.id for policy in chosen],
            required=policies.required(settings, chosen, known.package),
            found=known.found,
            waived=waived[known.subject],
        )
        for known, chosen in decided
    ]
