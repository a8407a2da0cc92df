"""Checking against a schema: what is compiled lets pass what jsonschema lets pass, and nothing else."""

from typing import Any

import jsonschema
import pytest
from fedora_messaging import message
from hypothesis import given
from hypothesis import strategies as st

from ci_pipeline.bus import fedora_ci, gating_schemas, schemas
from ci_pipeline.bus.base import Check, body_check
from tests.bus import recorded

CLASSES = [*schemas.MESSAGES.values(), *gating_schemas.MESSAGES.values()]
SCHEMAS = [*(one.body_schema for one in CLASSES), message.Message.headers_schema, message.Message.body_schema]
COMPLETE = recorded.published()["complete"]

TEXTS = st.sampled_from(["", "''", "\n", "1\n", "''\n", "\u0661", "SUCCESS\n", "a" * 40, "a" * 40 + "\n", "A" * 64])
ANYTHING = TEXTS | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([10, 20.0, 30]) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def kept(rule: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that keep to a schema, as far as those here go."""
    if "enum" in rule:
        return st.sampled_from(rule["enum"])
    if "pattern" in rule:
        return st.from_regex(rule["pattern"])
    if rule.get("type") == "object":
        required = {key: kept(rule.get("properties", {})[key]) for key in rule.get("required", ())}
        optional = {key: kept(one) for key, one in rule.get("properties", {}).items() if key not in required}
        return st.fixed_dictionaries(required, optional=optional)
    if rule.get("type") == "array":
        return st.lists(kept(rule["items"]), max_size=2)
    of_type = {"string": st.text(max_size=5), "boolean": st.booleans(), "integer": st.integers(), "null": st.none()}
    types = rule.get("type", "anything")
    return st.one_of(*(of_type.get(name, ANYTHING) for name in ([types] if isinstance(types, str) else types)))


@st.composite
def judged(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    """Draw a schema, and what keeps to it, or would but for a key or two."""
    schema = draw(st.sampled_from(SCHEMAS))
    value = draw(kept(schema))
    for key in draw(st.lists(st.sampled_from([*value, "more"]), max_size=2)):
        if draw(st.booleans()):
            value[key] = draw(ANYTHING)
        else:
            value.pop(key, None)
    return schema, draw(st.sampled_from([value] * 9 + [draw(ANYTHING)]))


CHECKS = {id(schema): Check(schema) for schema in SCHEMAS}


@given(judged())
def test_compiled_and_explaining_validators_agree(drawn: tuple[dict[str, Any], Any]) -> None:
    """Whatever is held against whichever of our schemas: nothing gets by, and nothing good takes the slow way."""
    schema, value = drawn
    check, explaining = CHECKS[id(schema)], jsonschema.Draft4Validator(schema)

    assert check._passes(value) == explaining.is_valid(value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"rev": "short"}, r"rev: 'short' does not match '^[0-9a-f]{40}(?!\\n)$'"),
        ({"status": 7}, "status: 7 is not of type 'string'"),
        ({"more": ""}, "the body: Additional properties are not allowed ('more' was unexpected)"),
    ],
)
def test_a_problem_is_told_in_the_words_of_jsonschema(changes: dict[str, Any], problem: str) -> None:
    """Which of the two checks has found it makes no difference to who reads it."""
    body, check = {**COMPLETE, **changes}, body_check(schemas.CompleteV1)

    assert check.problem(body) == problem
    if problem:
        with pytest.raises(jsonschema.ValidationError) as raised:
            check.validate(body)
        assert raised.value.message in problem


def test_a_body_stays_as_it_is() -> None:
    """A default in a schema is a remark: what is checked is what is sent."""
    body: dict[str, Any] = {}
    Check({"type": "object", "properties": {"kind": {"type": "string", "default": "push"}}}).validate(body)

    assert body == {}


@pytest.mark.parametrize("value", ["a$b", "a\n", "ab"])
def test_what_cannot_be_compiled_is_checked_all_the_same(value: str) -> None:
    """The compiler takes the dollar of a class of characters for an end."""
    schema = {"type": "string", "pattern": "^[a-z$]+(?!\n)$"}
    check = Check(schema)

    assert check._compiled is None
    assert (check.problem(value) == "") == jsonschema.Draft4Validator(schema).is_valid(value)


def test_which_messages_take_the_slow_way() -> None:
    """Those of fedora-ci: their addresses may hold a dollar. All others are checked by what is compiled."""
    slow = [one for one in (*CLASSES, *fedora_ci.MESSAGES.values()) if body_check(one)._compiled is None]

    assert slow == list(fedora_ci.MESSAGES.values())


def test_a_schema_that_is_none_is_refused() -> None:
    """It would let everything pass, or nothing."""
    with pytest.raises(jsonschema.SchemaError):
        Check({"type": "object", "required": "rev"}).validate([])


@pytest.mark.parametrize("kind", [*CLASSES, *fedora_ci.MESSAGES.values()])
def test_our_schemas_are_schemas(kind: type[message.Message]) -> None:
    """Whoever receives a message checks that with each."""
    jsonschema.Draft4Validator.check_schema(kind.body_schema)
