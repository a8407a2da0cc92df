"""Message schemas are a promise: a released one stays as it is, and what is sent is what is received."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fedora_messaging import message
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline.bus import fedora_ci, gating_schemas, publisher, schemas
from ci_pipeline.outcome import Status
from tests.bus import recorded

# By class, what was released. A changed schema is a new class with a line of its own here; no line is ever changed.
RELEASED: dict[str, str] = json.loads((Path(__file__).parents[1] / "data" / "released_schemas.json").read_text())
MODULES = (schemas, fedora_ci, gating_schemas)
CLASSES = {made.__name__: made for module in MODULES for made in module.MESSAGES.values()}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "rev": st.text("0123456789abcdef", min_size=40, max_size=40),
    "build_id": st.integers(0, 10**9).map(str),
    "status": st.sampled_from([status.value for status in Status if status is not Status.SKIPPED]),
    "compose_rev": st.text("0123456789abcdef", min_size=64, max_size=64),
}


def digest(schema: dict[str, Any]) -> str:
    """Return the checksum of a schema, without the words that explain it."""
    promised = {key: value for key, value in schema.items() if key != "description"}
    return hashlib.sha256(json.dumps(promised, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_schema_never_changes(name: str) -> None:
    """Whoever relies on it goes on receiving it."""
    released = [getattr(module, name) for module in MODULES if hasattr(module, name)]

    assert len(released) == 1, f"{name} was released and is gone"
    assert digest(released[0].body_schema) == RELEASED[name], (
        f"{name} was released: leave it as it is, and make a new class of the changed one"
    )


def test_every_schema_is_released() -> None:
    """A new class is a new promise, and is written down as one."""
    assert {name: digest(made.body_schema) for name, made in CLASSES.items()}.items() <= RELEASED.items()


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """Draw an event and a body of it that its schema allows."""
    event = draw(st.sampled_from(sorted(schemas.MESSAGES)))
    body = {}
    for key, rule in schemas.MESSAGES[event].body_schema["properties"].items():
        if key == "topic":
            body[key] = f"{recorded.PREFIX}.{schemas.TOPIC_INFIX}.{event}"
        elif "enum" in rule:
            body[key] = draw(st.sampled_from(rule["enum"]))
        else:
            body[key] = draw(VALUES.get(key, TEXT))
    return event, body


@given(bodies())
def test_what_is_received_is_what_was_sent(drawn: tuple[str, dict[str, str]]) -> None:
    """Whatever the values: the same class, body and severity, and words for a person."""
    event, body = drawn
    sent = schemas.make(event, recorded.PREFIX, body)
    topic, raw, properties = publisher._encoded(sent)
    received = message.get_message(topic, properties, raw)

    assert type(received) is schemas.MESSAGES[event]
    assert (received.body, received.topic, received.severity) == (body, sent.topic, sent.severity)
    assert received.summary in str(received)
    assert received.packages == [body["repo"]]
