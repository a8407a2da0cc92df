"""Makers of what decisions are about."""

from typing import Any

from ci_pipeline import store
from ci_pipeline.gating import deciding, waivers
from ci_pipeline.gating.deciding import Question
from ci_pipeline.gating.decision import Decision, Subject
from ci_pipeline.gating.waivers import Waiver, Wish
from ci_pipeline.journal import Journal
from ci_pipeline.settings import Settings
from ci_pipeline.store import outbox, runs
from ci_pipeline.store.tables import Outbox, Run

NVR = "greeter-1.0-1.3.35fdde9.fc26"
SPEC_NVR = "greeter-1.0-1.fc26"
PRODUCT = "fedora-26"
GATE = "promote"
FUNCTIONAL = "org.centos.prod.ci.pipeline.package.test.functional.complete"
INTEGRATION = "org.centos.prod.ci.pipeline.compose.test.integration.complete"

POLICIES: list[dict[str, Any]] = [
    {
        "id": "packages",
        "product_versions": ["fedora-2*"],
        "decision_contexts": [GATE],
        "tests": ["package", "package.test.functional", "compose.test.integration"],
    },
    {
        "id": "composes",
        "product_versions": ["fedora-26"],
        "decision_contexts": ["release"],
        "subject_type": "compose",
        "tests": ["compose", "compose.test.integration"],
    },
]


def decided(settings: Settings, identifier: str = SPEC_NVR, **asked: Any) -> Decision:
    """Return the decision about a subject."""
    subject = Subject(asked.get("subject_type", "koji_build"), identifier)
    question = Question((subject,), asked.get("product_version", PRODUCT), (asked.get("context", GATE),))
    with store.session() as session:
        return deciding.answer(session, settings, question).decision


def types_of(decision: Decision) -> dict[str, str]:
    """Return the types of a decision's requirements, by the end of their testcases' names."""
    return {
        one["testcase"].split(".ci.pipeline.")[1].removesuffix(".complete"): one["type"].removeprefix("test-result-")
        for _, one in decision.requirements
    }


def waive(settings: Settings, identifier: str = SPEC_NVR, testcase: str = FUNCTIONAL, **wish: Any) -> Waiver:
    """Waive a test of a subject."""
    subject = Subject(wish.pop("subject_type", "koji_build"), identifier)
    who = wish.pop("who", "alice")
    asked = {"product_version": PRODUCT, "why": "a known bug", **wish}
    with store.session() as session:
        return waivers.add(session, settings, Wish(subject=subject, testcase=testcase, **asked), who=who)


def finish(settings: Settings, run: Run) -> None:
    """Let a run end."""
    with store.session() as session:
        Journal(session, settings).finish_run(runs.locked(session, run.id))


def told(event: str = "") -> list[Outbox]:
    """Return what was said about gating, in order."""
    with store.session() as session:
        rows = outbox.messages(session)
    return [row for row in rows if row.contract == outbox.GATING and row.event.startswith(event)]
