"""Which gates a change may pass, what is missing for the others, and what was waived of it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ci_pipeline.gating import deciding, lookup, policies, waivers
from ci_pipeline.gating.decision import Decision, Subject
from ci_pipeline.gating.waivers import Waiver
from ci_pipeline.gating_sections import KOJI_BUILD
from ci_pipeline.kind import Kind
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Run


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate, and the decision about a package there."""

    context: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class Gating:
    """How a package stands before all gates.

    Attributes:
        subject: its NVR.
        product: the product it is decided about in: `fedora-26`.
        decided_by: the id of the run that decides, `f26/464`: the newest with that NVR.
        waivers: the newest of each test, the newest first; hostile.
    """

    subject: str
    product: str
    decided_by: str
    gates: tuple[Gate, ...]
    waivers: tuple[Waiver, ...]

    @property
    def lacking(self) -> tuple[dict[str, Any], ...]:
        """What is missing at any gate, each test once."""
        missing = {one["testcase"]: one for gate in self.gates for one in gate.decision.unsatisfied_requirements}
        return tuple(missing.values())


def read(session: Session, settings: Settings, run: Run, nvr: str) -> Gating | None:
    """Read how a run's package stands; None when no policy is for it, or while its NVR is not known.

    A side run decides nothing, so nothing is shown of it.
    """
    product = settings.product_of(run.branch)
    contexts = [context for type_, context in policies.gates(settings, product) if type_ == KOJI_BUILD]
    if not (contexts and nvr and Kind(run.kind).promotes):
        return None
    known = lookup.of(session, settings, Subject(KOJI_BUILD, nvr), product)
    chosen = [
        policies.applicable(settings, contexts=[context], product_version=product, subject_type=KOJI_BUILD)
        for context in contexts
    ]
    decisions = deciding.decide_all(session, settings, [(known, one) for one in chosen], product)
    given = waivers.standing(session, [(KOJI_BUILD, name) for name in known.names], product)
    return Gating(
        subject=nvr,
        product=product,
        decided_by=known.run.id if known.run else "",
        gates=tuple(Gate(*pair) for pair in zip(contexts, decisions, strict=True)),
        waivers=tuple(given),
    )
