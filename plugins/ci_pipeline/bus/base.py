"""What the message classes of every contract have in common. Needs nothing but fedora-messaging."""

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import jsonschema
from fedora_messaging import config, message
from jsonschema.validators import validator_for

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

    def validate(self) -> None:
        """Check headers and body as the library does, with validators that are made once.

        The library's own checks the schemas, too, with each message: that was nine tenths of what publishing one took.

        Raises:
            jsonschema.ValidationError: headers or body break a schema.
        """
        kind: type = type(self)
        of_headers, of_body = _validators(kind)
        for validator in of_headers:
            validator.validate(self._headers)
        for validator in of_body:
            validator.validate(self.body)

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


@cache
def _validators(kind: type) -> tuple[list[Any], list[Any]]:
    """Return what checks the headers and what the body of messages of a class: as it asks, and as the library does."""
    asking = (kind, message.Message)
    headers, bodies = ([getattr(one, name) for one in asking] for name in ("headers_schema", "body_schema"))
    return [_validator(schema) for schema in headers], [_validator(schema) for schema in bodies]


def _validator(schema: dict[str, Any]) -> Any:
    made = validator_for(schema)
    made.check_schema(schema)
    return made(schema)


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
