"""What the message classes of every contract have in common. Needs nothing but fedora-messaging."""

import threading
from collections.abc import Mapping
from typing import Any, Final

import jsonschema
from fedora_messaging import config, message

ID_HEADER: Final = "ci_pipeline_id"
KIND_HEADER: Final = "ci_pipeline_kind"

_CONFIGURING: Final = threading.Lock()


class BusMessage(message.Message):
    """A message of the pipeline. A subclass says its severity, and who and what it is about."""

    def __init__(
        self,
        body: Mapping[str, Any] | None = None,
        headers: message.HeaderType | None = None,
        topic: str | None = None,
        properties: Any = None,
        severity: int | None = None,
    ) -> None:
        """Make a message; its `severity` follows from the body unless given."""
        # The library calls its configuration loaded before it is; a second thread would find it empty.
        with _CONFIGURING:
            config.conf.get("publish_priority")
        super().__init__(body, headers, topic, properties, severity or self.severity_of(body or {}))

    @classmethod
    def severity_of(cls, body: Mapping[str, Any]) -> int:  # noqa: ARG003 - the subclasses look into it
        """Return how much a body matters. Any body, also one that breaks the schema."""
        return message.INFO

    @property
    def app_name(self) -> str:
        """The application, as notifications show it."""
        return "CI Pipeline"

    @property
    def usernames(self) -> list[str]:
        """The accounts the message is about."""
        return [str(self.agent_name)] if self.agent_name else []


def headers_of(outbox_id: str, kind: str) -> message.HeaderType:
    """Return the headers that say which message this is and what its run is for; what is `""` is left out."""
    told = {ID_HEADER: outbox_id, KIND_HEADER: kind}
    return {name: value for name, value in told.items() if value}


def first_problem(validator: jsonschema.Draft4Validator, body: Mapping[str, Any]) -> str:
    """Return where a body breaks its schema, and how: `rev: '35fdde9' does not match ...`; `""` if it does not."""
    problem = jsonschema.exceptions.best_match(validator.iter_errors(body))
    if problem is None:
        return ""
    where = ".".join(str(part) for part in problem.absolute_path) or "the body"
    return f"{where}: {problem.message}"
