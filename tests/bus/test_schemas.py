"""The message classes against the recorded messages and against everything a message must not be."""

import importlib.metadata
import json
import pickle
import subprocess
import sys

import jsonschema
import pytest
from fedora_messaging import message

from ci_pipeline import stages
from ci_pipeline.bus import base, gating_schemas, schemas
from ci_pipeline.errors import MessageError
from tests.bus import recorded

RECORDED = recorded.published()
COMPOSE = RECORDED["compose.complete"]
BREAKAGES: dict[str, list[object]] = {
    "rev": ["35fdde9", "35FDDE92A0292DEF6A99ACD3C237272789D020B2", "0" * 41, "0" * 40 + "\n", ""],
    "status": ["SKIPPED", "success", ""],
    "compose_rev": ["9a4e37c", "''''", "0" * 64 + "\n"],
    "build_id": ["", "-1", "4 64", "464\n", 464],
    "topic": ["org.centos.prod.ci.pipeline.image.complete", "ci.pipeline.compose.complete", ""],
    "nvr": [None, 1],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BREAKAGES.items() for value in values])
def test_a_wrong_value_is_refused_with_the_schemas_reason(key: str, value: object) -> None:
    """The text names the event and the key."""
    with pytest.raises(MessageError, match=rf"compose\.complete message breaks its schema: {key}: "):
        schemas.make("compose.complete", recorded.PREFIX, {**COMPOSE, key: value})  # type: ignore[dict-item]


@pytest.mark.parametrize("event", sorted(schemas.MESSAGES))
def test_every_key_is_required_and_no_other_is_allowed(event: str) -> None:
    """A message has the contract's keys: not one less, not one more."""
    schema = schemas.MESSAGES[event].body_schema
    properties = set(schema["properties"])

    assert set(schema["required"]) == properties
    assert schema["additionalProperties"] is False
    assert all(rule["type"] == "string" for rule in schema["properties"].values())
    jsonschema.Draft4Validator.check_schema(schema)


def test_a_missing_or_surplus_key_is_refused() -> None:
    """Also when the rest of the message is right."""
    without = {key: value for key, value in COMPOSE.items() if key != "ref"}

    with pytest.raises(MessageError, match="'ref' is a required property"):
        schemas.make("compose.complete", recorded.PREFIX, without)
    with pytest.raises(MessageError, match="'image_name' was unexpected"):
        schemas.make("compose.complete", recorded.PREFIX, {**COMPOSE, "image_name": "x"})


def test_a_body_for_another_prefix_is_refused() -> None:
    """What the body says of its topic is the topic it goes out on."""
    with pytest.raises(MessageError, match=r"'org\.centos\.prod\.ci.*' is not 'org\.centos\.stage\.ci"):
        schemas.make("compose.complete", "org.centos.stage", COMPOSE)


def test_an_unknown_event_is_refused_with_the_known_ones() -> None:
    """The prose's `package.ignored` is a name nobody publishes."""
    with pytest.raises(MessageError, match=r"'package\.ignored'; one of: complete, .*package\.ignore"):
        schemas.make("package.ignored", recorded.PREFIX, {})


def test_there_is_a_class_for_every_event_of_every_stage() -> None:
    """The events are those the stages announce, the trigger's two and the run's one: twenty."""
    announced = {event for stage in stages.STAGES for event in (stage.running, stage.complete)}
    announced |= {stage.queued for stage in stages.STAGES if stage.announces_queued}

    assert set(schemas.MESSAGES) == announced | {stages.IGNORE, stages.QUEUED, stages.COMPLETE}
    assert len(schemas.MESSAGES) == 20


@pytest.mark.parametrize(("event", "body"), RECORDED.items())
def test_a_recorded_message_validates_key_for_key(event: str, body: dict[str, str]) -> None:
    """The recorded keys are the schema's, and fedora-messaging accepts the message made of them."""
    made = schemas.make(event, recorded.PREFIX, body)

    assert set(body) == set(type(made).body_schema["required"])
    assert (made.topic, made.body) == (body["topic"], body)
    made.validate()


def test_conformance_messages_have_the_keys_of_the_image_messages() -> None:
    """The seed has the stage and no message of it: the contract says what they look like."""
    image = set(RECORDED["image.complete"])
    events = [event for event in schemas.MESSAGES if event.startswith("image.test.conformance.")]

    assert [set(schemas.MESSAGES[event].body_schema["required"]) for event in events] == [image] * 3


@pytest.mark.parametrize(
    ("status", "severity"),
    [
        ("SUCCESS", message.INFO),
        ("UNSTABLE", message.WARNING),
        ("FAILURE", message.ERROR),
        ("ABORTED", message.ERROR),
    ],
)
def test_the_severity_follows_the_status(status: str, severity: int) -> None:
    """Fedora's notifications decide by severity whom to wake."""
    made = schemas.make("compose.complete", recorded.PREFIX, {**COMPOSE, "status": status})

    assert made.severity == severity
    assert json.loads(message.dumps(made))["headers"]["fedora_messaging_severity"] == severity


def test_a_message_reads_well() -> None:
    """What a notification shows: who, what, which package, where to look."""
    made = schemas.make("compose.complete", recorded.PREFIX, COMPOSE)

    assert made.summary == "rpms/mesa 35fdde9 on f26: compose.complete SUCCESS"
    assert str(made).startswith(made.summary + "\n")
    assert f"\n  compose_rev: {COMPOSE['compose_rev']}\n" in str(made)
    assert "test_guidance" not in str(made)  # "''" says nothing
    assert made.url == COMPOSE["build_url"]
    assert made.packages == ["mesa"]
    assert made.agent_name == "fedora-atomic"
    assert made.usernames == ["fedora-atomic"]
    assert made.app_name == "CI Pipeline"


def test_the_outbox_id_travels_in_a_header() -> None:
    """The message id stays the random UUID fedora-messaging asks for."""
    made = schemas.make("compose.complete", recorded.PREFIX, COMPOSE, outbox_id="f3a1")
    headers = json.loads(message.dumps(made))["headers"]

    assert headers[base.ID_HEADER] == "f3a1"
    assert made.id != "f3a1"
    assert headers["fedora_messaging_schema_package"] == "ci_pipeline"
    assert headers["fedora_messaging_rpm_mesa"] is True


def test_a_message_survives_a_pickle() -> None:
    """The classes are real attributes of the module."""
    made = schemas.make("complete", recorded.PREFIX, RECORDED["complete"])

    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes


def test_every_class_is_an_entry_point() -> None:
    """So a consumer that has the package installed gets our class and not the default one."""
    points = importlib.metadata.entry_points(group="fedora.messages")
    ours = {point.name: point.value for point in points if ":UncontrolledBuild" not in point.value}
    ours = {name: value for name, value in ours.items() if value.startswith("ci_pipeline.")}

    assert ours == {
        f"ci_pipeline.{event}": f"{module.__name__}:{made.__name__}"
        for module in (schemas, gating_schemas)
        for event, made in module.MESSAGES.items()
    }
    assert all(getattr(schemas, made.__name__) is made for made in schemas.MESSAGES.values())


def test_the_schemas_load_with_fedora_messaging_alone() -> None:
    """A consumer of our messages needs none of the pipeline's other libraries."""
    heavy = ("airflow", "sqlalchemy", "pydantic", "twisted")
    code = f"import sys, ci_pipeline.bus.schemas; print([name for name in {heavy!r} if name in sys.modules])"

    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert seen.stdout.strip() == "[]"
