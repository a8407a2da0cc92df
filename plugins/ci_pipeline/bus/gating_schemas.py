"""The messages about gating: a decision has changed, and someone has waived a test or taken a waiver back.

Their bodies have the keys of Greenwave's and WaiverDB's own messages. A published class is never
changed: a different body is a new class (`...V2`). This module needs no more than `base`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from ci_pipeline.bus.base import BusMessage, body_check, headers_of
from ci_pipeline.bus.schemas import Property, topic_of
from ci_pipeline.errors import MessageError

DECISION_UPDATE: Final = "decision.update"
WAIVER_NEW: Final = "waiver.new"
MESSAGES: Final[dict[str, type["GatingMessage"]]] = {}

__all__ = ["DECISION_UPDATE", "MESSAGES", "WAIVER_NEW", "DecisionUpdateV1", "WaiverNewV1", "check", "make", "topic_of"]

_TEXT: Final[Property] = {"type": "string"}
_FLAG: Final[Property] = {"type": "boolean"}
_SUBJECT: Final = {"subject_type": _TEXT, "subject_identifier": _TEXT, "product_version": _TEXT}
_REQUIREMENT: Final[Property] = {
    "type": "object",
    "properties": {"type": _TEXT, "testcase": _TEXT, "subject_type": _TEXT, "subject_identifier": _TEXT},
    "required": ["subject_identifier", "subject_type", "testcase", "type"],
}
_REQUIREMENTS: Final[Property] = {"type": "array", "items": _REQUIREMENT}
_DECISION: Final = {
    "applicable_policies": {"type": "array", "items": _TEXT},
    "policies_satisfied": _FLAG,
    "summary": _TEXT,
    "satisfied_requirements": _REQUIREMENTS,
    "unsatisfied_requirements": _REQUIREMENTS,
}


def _object(properties: Mapping[str, Property], description: str = "", *, nullable: bool = False) -> Property:
    return {
        "description": description,
        "type": ["object", "null"] if nullable else "object",
        "properties": dict(properties),
        "required": sorted(properties),
        "additionalProperties": False,
    }


class GatingMessage(BusMessage):
    """What messages about gating have in common. A subclass names its `event` and the `keys` of its body."""

    event: ClassVar[str]

    def __init_subclass__(cls, *, event: str, keys: Mapping[str, Property]) -> None:
        """Build the class's JSON schema, and enter it in `MESSAGES`."""
        super().__init_subclass__()
        cls.event = event
        schema = "http://json-schema.org/draft-04/schema#"
        cls.body_schema = {"$schema": schema, **_object(keys, cls.__doc__ or "")}
        MESSAGES[event] = cls

    def __str__(self) -> str:
        """Return the summary."""
        return self.summary

    @property
    def packages(self) -> list[str]:
        """The package the message is about, if it is about one."""
        is_package = self.body["subject_type"] == "koji_build"
        return [self.body["subject_identifier"].rsplit("-", 2)[0]] if is_package else []

    @property
    def _about(self) -> str:
        return f"{self.body['subject_type']} {self.body['subject_identifier']} in {self.body['product_version']}"


class DecisionUpdateV1(
    GatingMessage,
    event=DECISION_UPDATE,
    keys={**_SUBJECT, "decision_context": _TEXT, **_DECISION, "previous": _object(_DECISION, nullable=True)},
):
    """A decision has changed; `previous` is the one before it, null at first."""

    @property
    def summary(self) -> str:
        """One line: `koji_build mesa-1-1.fc26 in fedora-26 may pass promote: All required tests passed`."""
        may = "may" if self.body["policies_satisfied"] else "may not"
        return f"{self._about} {may} pass {self.body['decision_context']}: {self.body['summary']}"


class WaiverNewV1(
    GatingMessage,
    event=WAIVER_NEW,
    keys={
        **_SUBJECT,
        "id": {"type": "integer"},
        "subject": {"type": "object"},
        "testcase": _TEXT,
        "waived": _FLAG,
        "username": _TEXT,
        "proxied_by": {"type": ["string", "null"]},
        "comment": _TEXT,
        "timestamp": _TEXT,
    },
):
    """Someone has waived a test, or has taken a waiver back (`waived` is false)."""

    @property
    def summary(self) -> str:
        """One line: `alice waived package.test.functional of koji_build mesa-1-1.fc26 in fedora-26: known bug`."""
        did = "waived" if self.body["waived"] else "took back the waiver of"
        return f"{self.agent_name} {did} {self.body['testcase']} of {self._about}: {self.body['comment']}"

    @property
    def agent_name(self) -> str:
        """Who waived."""
        return str(self.body["username"])


def check(event: str, prefix: str, body: Mapping[str, Any]) -> None:  # noqa: ARG001 - as the other contract's
    """Check a body against its event's schema.

    Raises:
        MessageError: there is no such event, or the body breaks the schema.
    """
    if event not in MESSAGES:
        raise MessageError(f"there is no message for the event {event!r}; one of: {', '.join(sorted(MESSAGES))}")
    if problem := body_check(MESSAGES[event]).problem(body):
        raise MessageError(f"a {event} message breaks its schema: {problem}")


def make(event: str, prefix: str, body: Mapping[str, Any], *, outbox_id: str = "", kind: str = "") -> GatingMessage:
    """Make the message of an event on the topic `<prefix>.ci.pipeline.<event>`, with the headers of all our messages.

    Raises:
        MessageError: there is no such event, or the body breaks its schema.
    """
    check(event, prefix, body)
    return MESSAGES[event](body=dict(body), topic=topic_of(event, prefix), headers=headers_of(outbox_id, kind))
