"""The messages the pipeline publishes: one fedora-messaging class per event, with exactly the message contract's keys.

A published class is never changed: a different body is a new class (`...V2`), and the old one stays for those who still
receive it. This module needs no more than `base`, so that any consumer can install and load it.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from fedora_messaging import message

from ci_pipeline.bus.base import BusMessage, body_check, headers_of
from ci_pipeline.errors import MessageError
from ci_pipeline.outcome import Status
from ci_pipeline.stages import (
    BUILD_PACKAGE,
    COMPLETE,
    COMPOSE_OSTREE,
    CONFORMANCE_TESTS,
    FUNCTIONAL_TESTS,
    GENERATE_IMAGE,
    IGNORE,
    INTEGRATION_TESTS,
    QUEUED,
    SMOKE_TEST,
)

Property = dict[str, Any]  # the JSON schema of one key

TOPIC_INFIX: Final = "ci.pipeline"
NOT_YET: Final = "''"  # two quote characters: how the recorded messages write a value that a later stage makes
MESSAGES: Final[dict[str, type["PipelineMessage"]]] = {}

_SEVERITIES: Final = {
    Status.SUCCESS: message.INFO,
    Status.UNSTABLE: message.WARNING,
    Status.FAILURE: message.ERROR,
    Status.ABORTED: message.ERROR,
}

_TEXT: Final[Property] = {"type": "string"}
_EMPTY: Final[Property] = {"type": "string", "enum": [""]}
_UNMADE: Final[Property] = {"type": "string", "enum": [NOT_YET]}
# (?!\n): Python's `$` also matches before a final newline.
_REV: Final[Property] = {"type": "string", "pattern": r"^[0-9a-f]{40}(?!\n)$"}
_NUMBER: Final[Property] = {"type": "string", "pattern": r"^[0-9]+(?!\n)$"}
_CHECKSUM: Final[Property] = {"type": "string", "pattern": r"^([0-9a-f]{64}|''|)(?!\n)$"}

_BASE: Final[dict[str, Property]] = {
    "CI_NAME": _TEXT,
    "CI_TYPE": _TEXT,
    "branch": _TEXT,
    "build_id": _NUMBER,
    "build_url": _TEXT,
    "message-content": _TEXT,
    "namespace": _TEXT,
    "ref": _TEXT,
    "repo": _TEXT,
    "rev": _REV,
    "status": {"type": "string", "enum": [str(status) for status in _SEVERITIES]},
    "test_guidance": _TEXT,
    "topic": _TEXT,
    "username": _TEXT,
}
_NVRS: Final = {"nvr": _TEXT, "original_spec_nvr": _TEXT}
_BUILDING: Final = {"nvr": _EMPTY, "original_spec_nvr": _EMPTY, "compose_rev": _EMPTY}
_BUILT: Final = {**_NVRS, "compose_rev": _EMPTY}
_TESTED: Final = {**_NVRS, "package_url": _TEXT}
_COMPOSE: Final = {**_NVRS, "compose_url": _TEXT, "compose_rev": _CHECKSUM}
_COMPOSING: Final = {**_COMPOSE, "compose_rev": _UNMADE}
_IMAGE: Final = {**_COMPOSE, "type": _TEXT, "image_name": _TEXT, "image_url": _TEXT}
_IMAGING: Final = {**_IMAGE, "image_name": _UNMADE, "image_url": _UNMADE}
_RUN: Final = {**_NVRS, "compose_rev": _CHECKSUM}


class PipelineMessage(BusMessage):
    """What all messages of the pipeline have in common. A subclass names its `event` and the keys it `adds`."""

    event: ClassVar[str]

    def __init_subclass__(cls, *, event: str, adds: Mapping[str, Property]) -> None:
        """Build the class's topic and JSON schema, and enter it in `MESSAGES`."""
        super().__init_subclass__()
        cls.event = event
        cls.topic = f"{TOPIC_INFIX}.{event}"
        cls.body_schema = _schema(event, cls.__doc__ or "", {**_BASE, **adds})
        MESSAGES[event] = cls

    @classmethod
    def severity_of(cls, body: Mapping[str, Any]) -> int:
        """Return the severity of the status in a body; INFO if it has none."""
        return next((level for status, level in _SEVERITIES.items() if status == body.get("status")), message.INFO)

    @property
    def summary(self) -> str:
        """One line: `rpms/mesa 35fdde9 on f26: compose.complete SUCCESS`."""
        change = f"{self.body['namespace']}/{self.body['repo']} {self.body['rev'][:7]} on {self.body['branch']}"
        return f"{change}: {self.event} {self.body['status']}"

    def __str__(self) -> str:
        """Return the summary, and below it every value that is known, one per line."""
        known = {key: value for key, value in sorted(self.body.items()) if value not in ("", NOT_YET)}
        return "\n".join([self.summary, *(f"  {key}: {value}" for key, value in known.items())])

    @property
    def url(self) -> str:
        """The page of the run."""
        return str(self.body["build_url"])

    @property
    def agent_name(self) -> str:
        """The account the pipeline works as."""
        return str(self.body["username"])

    @property
    def packages(self) -> list[str]:
        """The package the message is about."""
        return [str(self.body["repo"])]


def _schema(event: str, description: str, properties: Mapping[str, Property]) -> dict[str, Any]:
    # The event's own topic is part of the schema: a body in the wrong class must not validate.
    topic = {"type": "string", "pattern": rf"^.+{re.escape(f'.{TOPIC_INFIX}.{event}')}(?!\n)$"}
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "description": description,
        "type": "object",
        "properties": {**properties, "topic": topic},
        "required": sorted(properties),
        "additionalProperties": False,
    }


class PackageIgnoreV1(PipelineMessage, event=IGNORE, adds={}):
    """A push was seen and no run follows: the package is not watched, or the branch has no pipeline."""


class PackageQueuedV1(PipelineMessage, event=QUEUED, adds={}):
    """A push of a watched package was accepted; a run will follow."""


class PackageRunningV1(PipelineMessage, event=BUILD_PACKAGE.running, adds=_BUILDING):
    """The RPM build has started."""


class PackageCompleteV1(PipelineMessage, event=BUILD_PACKAGE.complete, adds=_BUILT):
    """The RPM build has ended, well or badly."""


class PackageTestFunctionalQueuedV1(PipelineMessage, event=FUNCTIONAL_TESTS.queued, adds=_TESTED):
    """The package's functional tests are about to run."""


class PackageTestFunctionalRunningV1(PipelineMessage, event=FUNCTIONAL_TESTS.running, adds=_TESTED):
    """The package's functional tests have started."""


class PackageTestFunctionalCompleteV1(PipelineMessage, event=FUNCTIONAL_TESTS.complete, adds=_TESTED):
    """The package's functional tests have ended."""


class ComposeRunningV1(PipelineMessage, event=COMPOSE_OSTREE.running, adds=_COMPOSING):
    """The OSTree compose has started."""


class ComposeCompleteV1(PipelineMessage, event=COMPOSE_OSTREE.complete, adds=_COMPOSE):
    """The OSTree compose has ended."""


class ComposeTestIntegrationQueuedV1(PipelineMessage, event=INTEGRATION_TESTS.queued, adds=_COMPOSE):
    """The host's integration tests are about to run."""


class ComposeTestIntegrationRunningV1(PipelineMessage, event=INTEGRATION_TESTS.running, adds=_COMPOSE):
    """The host's integration tests have started."""


class ComposeTestIntegrationCompleteV1(PipelineMessage, event=INTEGRATION_TESTS.complete, adds=_COMPOSE):
    """The host's integration tests have ended."""


class ImageRunningV1(PipelineMessage, event=GENERATE_IMAGE.running, adds=_IMAGING):
    """The image is being generated."""


class ImageCompleteV1(PipelineMessage, event=GENERATE_IMAGE.complete, adds=_IMAGE):
    """The image generation has ended."""


class ImageTestSmokeRunningV1(PipelineMessage, event=SMOKE_TEST.running, adds=_IMAGE):
    """The image's smoke boot has started."""


class ImageTestSmokeCompleteV1(PipelineMessage, event=SMOKE_TEST.complete, adds=_IMAGE):
    """The image's smoke boot has ended."""


class ImageTestConformanceQueuedV1(PipelineMessage, event=CONFORMANCE_TESTS.queued, adds=_IMAGE):
    """The Kubernetes conformance tests are about to run."""


class ImageTestConformanceRunningV1(PipelineMessage, event=CONFORMANCE_TESTS.running, adds=_IMAGE):
    """The Kubernetes conformance tests have started."""


class ImageTestConformanceCompleteV1(PipelineMessage, event=CONFORMANCE_TESTS.complete, adds=_IMAGE):
    """The Kubernetes conformance tests have ended."""


class CompleteV1(PipelineMessage, event=COMPLETE, adds=_RUN):
    """The run has ended. Exactly one per run, whatever happened."""


def topic_of(event: str, prefix: str) -> str:
    """Return the topic of an event: `org.centos.prod.ci.pipeline.package.queued`."""
    return f"{prefix}.{TOPIC_INFIX}.{event}"


def testcase_of(event: str, prefix: str) -> str:
    """Return what ResultsDB calls a test: the topic on which its end is announced.

    Args:
        event: of a stage (`package.test.functional`), or `complete`.
        prefix: of our topics.
    """
    return topic_of(event if event == COMPLETE else f"{event}.complete", prefix)


def class_of(event: str) -> type[PipelineMessage]:
    """Return the message class of an event.

    Raises:
        MessageError: there is no such event.
    """
    if event not in MESSAGES:
        msg = f"there is no message for the event {event!r}; one of: {', '.join(sorted(MESSAGES))}"
        raise MessageError(msg)
    return MESSAGES[event]


def check(event: str, prefix: str, body: Mapping[str, str]) -> None:
    """Check a body against its event's schema.

    Raises:
        MessageError: there is no such event, or the body breaks the schema; the text has the JSON schema's reason.
    """
    problem = body_check(class_of(event)).problem(body)
    if problem:
        msg = f"a {event} message breaks its schema: {problem}"
        raise MessageError(msg)
    if body["topic"] != topic_of(event, prefix):
        msg = f"a {event} message breaks its schema: topic: {body['topic']!r} is not {topic_of(event, prefix)!r}"
        raise MessageError(msg)


def make(event: str, prefix: str, body: Mapping[str, str], *, outbox_id: str = "", kind: str = "") -> PipelineMessage:
    """Make the message of an event on the topic `<prefix>.ci.pipeline.<event>`.

    fedora-messaging wants a random UUID as the message's id, so the outbox's own deterministic id travels in the header
    `ci_pipeline_id`, by which a receiver knows a repetition. Beside it `ci_pipeline_kind` says what the run is for; the
    body's keys are the contract's.

    Raises:
        MessageError: there is no such event, or the body breaks its schema.
    """
    check(event, prefix, body)
    return MESSAGES[event](body=dict(body), topic=topic_of(event, prefix), headers=headers_of(outbox_id, kind))
