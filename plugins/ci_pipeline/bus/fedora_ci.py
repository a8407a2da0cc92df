"""The pipeline's events as fedora-ci messages 1.x: one fedora-messaging class per phase of a test.

The contract is Fedora's (https://pagure.io/fedora-ci/messages), the words of the schemas are ours. They are stricter:
what it leaves open is fixed here, so that whatever these classes accept is a fedora-ci message. As in `schemas`, a
published class is never changed. This module needs no more than `base`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final

from fedora_messaging import message

from ci_pipeline.bus.base import BusMessage, body_check, headers_of
from ci_pipeline.bus.patterns import ACCOUNT, EMAIL, END, TEXT, TIME, URL
from ci_pipeline.errors import MessageError

Property = dict[str, Any]  # the JSON schema of one key


class Phase(StrEnum):
    """The last part of a topic: how far a test is. ERROR: it has no result, for it could not be carried out."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"


class Result(StrEnum):
    """The result of a test that was carried out. The pipeline never says NOT_APPLICABLE; the contract has it."""

    PASSED = "passed"
    FAILED = "failed"
    INFO = "info"
    NEEDS_INSPECTION = "needs_inspection"
    NOT_APPLICABLE = "not_applicable"


# Nothing of ours is made by Koji or Pungi, so it has none of their ids: of the artifacts Fedora knows it is this one.
ARTIFACT: Final = "uncontrolled-build"
CATEGORIES: Final = (
    "functional",
    "integration",
    "interoperability",
    "performance",
    "static-analysis",
    "system",
    "validation",
)
MESSAGES: Final[dict[Phase, type["TestMessage"]]] = {}

_SEVERITIES: Final = {Result.NEEDS_INSPECTION: message.WARNING, Result.FAILED: message.ERROR}

_TEXT: Final[Property] = {"type": "string", "pattern": TEXT}
_URL: Final[Property] = {"type": "string", "pattern": URL}
_URLS: Final[Property] = {"type": "array", "items": _URL, "minItems": 1}
_NAME: Final[Property] = {"type": "string", "pattern": rf"^[A-Za-z0-9_][A-Za-z0-9_.+/-]{{0,99}}{END}"}
_TIME: Final[Property] = {"type": "string", "pattern": TIME}


def _record(required: Mapping[str, Property], optional: Mapping[str, Property] | None = None) -> Property:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": sorted(required),
        "additionalProperties": False,
    }


_CONTACT: Final = _record(
    {
        "name": _TEXT,
        "team": _TEXT,
        "url": _URL,
        "docs": _URL,
        "email": {"type": "string", "pattern": EMAIL},
    }
)
_RUN: Final = _record({"url": _URL, "log": _URL})
_BUILD: Final = _record(
    {
        "type": {"type": "string", "enum": [ARTIFACT]},
        "id": {"type": "string", "pattern": rf"^sha256:[0-9a-f]{{64}}{END}"},
        "name": _TEXT,
        "descriptor": _TEXT,
        "mime_type": {"type": "string", "pattern": rf"^[a-z]+/[a-z0-9.+-]+{END}"},
        "url": _URL,
        "issuer": {"type": "string", "pattern": ACCOUNT},
        # Ours: of which change it is made.
        "component": {**_NAME, "pattern": rf"^[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,99}}{END}"},
        "branch": _NAME,
        "rev": {"type": "string", "pattern": rf"^[0-9a-f]{{40}}{END}"},
    },
    {
        "nvr": _TEXT,
        "compose_rev": {"type": "string", "pattern": rf"^[0-9a-f]{{64}}{END}"},
    },
)
_PIPELINE: Final = _record({"id": _TEXT, "name": _TEXT, "build": {"type": "string", "pattern": rf"^[0-9]+{END}"}})
_SYSTEM: Final = {
    "type": "array",
    "items": _record({"os": _TEXT, "provider": _TEXT, "architecture": _TEXT}),
    "minItems": 1,
}
_TEST: Final[dict[str, Property]] = {
    "type": {"type": "string", "pattern": rf"^[a-z0-9]+(-[a-z0-9]+)*{END}"},
    "category": {"type": "string", "enum": list(CATEGORIES)},
    "namespace": {"type": "string", "pattern": rf"^[a-z0-9-]+(\.[a-z0-9-]+)*{END}"},
}
_FOUND: Final[dict[str, Property]] = {"note": _TEXT, "xunit_urls": _URLS, "output_urls": _URLS}
_RESULT: Final[Property] = {"type": "string", "enum": [str(result) for result in Result]}
_SECONDS: Final[Property] = {"type": "integer", "minimum": 0}

_EVERY: Final[dict[str, Property]] = {
    "contact": _CONTACT,
    "run": _RUN,
    "artifact": _BUILD,
    "pipeline": _PIPELINE,
    "test": _record(_TEST),
    "generated_at": _TIME,
    "version": {"type": "string", "pattern": rf"^1\.[0-9]+\.[0-9]+{END}"},
}
_COMPLETE: Final = {"system": _SYSTEM, "test": _record({**_TEST, "result": _RESULT}, {**_FOUND, "runtime": _SECONDS})}
_ERROR: Final = {"error": _record({"reason": _TEXT}), "test": _record(_TEST, _FOUND)}


class TestMessage(BusMessage):
    """What the four messages have in common. A subclass names its `phase` and the keys in which it differs."""

    __test__ = False
    phase: ClassVar[Phase]

    def __init_subclass__(cls, *, phase: Phase, differs: Mapping[str, Property]) -> None:
        """Build the class's topic and JSON schema, and enter it in `MESSAGES`."""
        super().__init_subclass__()
        cls.phase = phase
        cls.topic = f"ci.{ARTIFACT}.test.{phase}"
        cls.body_schema = {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "description": cls.__doc__ or "",
            **_record({**_EVERY, **differs}),
        }
        MESSAGES[phase] = cls

    @property
    def summary(self) -> str:
        """One line: `greeter 35fdde9 on f26: functional-tests needs_inspection`."""
        artifact = self.body["artifact"]
        change = f"{artifact['component']} {artifact['rev'][:7]} on {artifact['branch']}"
        return f"{change}: {self.body['test']['type']} {self.outcome}"

    @property
    def outcome(self) -> str:
        """The result of the test, or its phase while it has none."""
        return str(self.body["test"].get("result", self.phase))

    def __str__(self) -> str:
        """Return the summary, and below it what was tested, why it ended so, and where to look; one per line."""
        shown = {
            "artifact": self.body["artifact"]["descriptor"],
            "reason": self.body.get("error", {}).get("reason", ""),
            "note": self.body["test"].get("note", ""),
            "run": self.url,
            "log": self.body["run"]["log"],
        }
        return "\n".join([self.summary, *(f"  {name}: {value}" for name, value in shown.items() if value)])

    @property
    def url(self) -> str:
        """The page of the run."""
        return str(self.body["run"]["url"])

    @property
    def agent_name(self) -> str:
        """Who pushed the change, or the pipeline's own account."""
        return str(self.body["artifact"]["issuer"])

    @property
    def packages(self) -> list[str]:
        """The package the message is about."""
        return [str(self.body["artifact"]["component"])]


class UncontrolledBuildTestQueuedV1(TestMessage, phase=Phase.QUEUED, differs={}):
    """A test of something the pipeline makes or made is about to run."""


class UncontrolledBuildTestRunningV1(TestMessage, phase=Phase.RUNNING, differs={}):
    """A test of something the pipeline makes or made has started."""


class UncontrolledBuildTestCompleteV1(TestMessage, phase=Phase.COMPLETE, differs=_COMPLETE):
    """A test has ended and has a result; also one that was skipped."""

    @classmethod
    def severity_of(cls, body: Mapping[str, Any]) -> int:
        """Return the severity of the result in a body; INFO if it has none."""
        test = body.get("test")
        result = test.get("result") if isinstance(test, Mapping) else None
        return next((level for known, level in _SEVERITIES.items() if known == result), message.INFO)


class UncontrolledBuildTestErrorV1(TestMessage, phase=Phase.ERROR, differs=_ERROR):
    """A test could not be carried out, or was ended before it had a result. The change is not to blame."""

    @classmethod
    def severity_of(cls, body: Mapping[str, Any]) -> int:  # noqa: ARG003 - whatever it says
        """Return ERROR: somebody has to look."""
        return message.ERROR


def topic_of(phase: str, prefix: str) -> str:
    """Return the topic of a phase: `org.centos.prod.ci.uncontrolled-build.test.queued`."""
    return f"{prefix}.{class_of(phase).topic}"


def class_of(phase: str) -> type[TestMessage]:
    """Return the message class of a phase.

    Raises:
        MessageError: there is no such phase.
    """
    try:
        return MESSAGES[Phase(phase)]
    except ValueError as error:
        msg = f"there is no fedora-ci message for the phase {phase!r}; one of: {', '.join(sorted(MESSAGES))}"
        raise MessageError(msg) from error


def check(phase: str, body: Mapping[str, Any]) -> None:
    """Check a body against the schema of its phase.

    Raises:
        MessageError: there is no such phase, or the body breaks the schema; the text has the JSON schema's reason.
    """
    problem = body_check(class_of(phase)).problem(body)
    if problem:
        msg = f"a fedora-ci test.{phase} message breaks its schema: {problem}"
        raise MessageError(msg)


def make(phase: str, prefix: str, body: Mapping[str, Any], *, outbox_id: str = "", kind: str = "") -> TestMessage:
    """Make the message of a phase on the topic `<prefix>.ci.uncontrolled-build.test.<phase>`.

    Args:
        phase: one of `Phase`.
        prefix: what our topics start with: `org.centos.prod`.
        body: as `fedora_ci_bodies.body` makes it.
        outbox_id: by which a receiver knows a repetition; travels in the header `ci_pipeline_id`.
        kind: what the run is for; travels in the header `ci_pipeline_kind`.

    Raises:
        MessageError: there is no such phase, or the body breaks its schema.
    """
    check(phase, body)
    return class_of(phase)(body=dict(body), topic=topic_of(phase, prefix), headers=headers_of(outbox_id, kind))
