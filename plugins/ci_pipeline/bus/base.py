"""What the message classes of every contract have in common.

Needs nothing but fedora-messaging and what checks JSON schemas.
"""

import re
import threading
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, Final

import fastjsonschema
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
        """Check headers and body as the library does, with checks that are made once.

        The library's own checks the schemas, too, with each message: that was nine tenths of what publishing one took.

        Raises:
            jsonschema.ValidationError: headers or body break a schema.
        """
        kind: type = type(self)
        for check in _checks(kind, "headers_schema"):
            check.validate(self._headers)
        for check in _checks(kind, "body_schema"):
            check.validate(self.body)

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


class Check:
    """Holds things against one JSON schema: quickly while they keep to it, and saying why where they do not.

    The schema is compiled to Python, and what that lets pass has passed. Whatever else comes is jsonschema's to judge.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        """Compile a schema."""
        self._schema = schema
        self._compiled = _compiled(schema)

    def validate(self, value: object) -> None:
        """Check a value.

        Raises:
            jsonschema.ValidationError: it breaks the schema.
        """
        if not self._passes(value):
            self._explaining.validate(value)

    def problem(self, value: object) -> str:
        """Return where a value breaks the schema, and how: `rev: '35fdde9' does not match ...`; `""` if it does not."""
        if self._passes(value):
            return ""
        problem = jsonschema.exceptions.best_match(self._explaining.iter_errors(value))
        if problem is None:
            return ""
        where = ".".join(str(part) for part in problem.absolute_path) or "the body"
        return f"{where}: {problem.message}"

    def _passes(self, value: object) -> bool:
        if self._compiled is None:
            return False
        try:
            self._compiled(value)
        except fastjsonschema.JsonSchemaValueException:
            return False
        return True

    @cached_property
    def _explaining(self) -> Any:
        kind = validator_for(self._schema)
        kind.check_schema(self._schema)
        return kind(self._schema)


def _compiled(schema: dict[str, Any]) -> Any:
    """Return a schema as a function; None where the compiler does not understand it, as a `$` in brackets."""
    try:
        # As jsonschema has it: formats are remarks, and nobody changes what is checked by putting defaults into it.
        return fastjsonschema.compile(schema, use_default=False, use_formats=False, detailed_exceptions=False)
    except (re.error, fastjsonschema.JsonSchemaDefinitionException):
        return None


def body_check(kind: type[BusMessage]) -> Check:
    """Return the check of the bodies of a class of messages."""
    of: type = kind
    return _checks(of, "body_schema")[0]


@cache
def _checks(kind: type, name: str) -> list[Check]:
    """Return the checks by a schema of a class: as it asks, and as the library does, unless that is the same."""
    own, everyones = getattr(kind, name), getattr(message.Message, name)
    return [Check(own)] if own is everyones else [Check(own), Check(everyones)]


def headers_of(outbox_id: str, kind: str) -> message.HeaderType:
    """Return the headers that say which message this is and what its run is for; what is `""` is left out."""
    told = {ID_HEADER: outbox_id, KIND_HEADER: kind}
    return {name: value for name, value in told.items() if value}
