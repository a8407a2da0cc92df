"""The fedora-ci message classes: what they refuse, how they read, and their way over a real broker."""

import copy
import importlib.metadata
import json
import pickle
import subprocess
import sys
import urllib.parse
from typing import Any

import jsonschema
import pika
import pytest
from fedora_messaging import message
from hypothesis import given, settings
from hypothesis import strategies as st

from ci_pipeline.bus import base, fedora_ci, fedora_ci_bodies, publisher
from ci_pipeline.bus.fedora_ci import Phase, Result
from ci_pipeline.bus.fedora_ci_bodies import Moment
from ci_pipeline.bus.publisher import Publisher
from ci_pipeline.errors import MessageError
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from tests.bus.stage_facts import PREFIX, facts

TOPIC = f"{PREFIX}.ci.uncontrolled-build.test"
ENDED: dict[Phase, dict[str, Any]] = {
    Phase.QUEUED: {"moment": Moment.QUEUED},
    Phase.RUNNING: {"moment": Moment.RUNNING},
    Phase.COMPLETE: {"status": Status.UNSTABLE, "reason": "1 test failed"},
    Phase.ERROR: {"status": Status.FAILURE, "fault": Fault.INFRASTRUCTURE, "reason": "the mirror is away"},
}
BODIES = {phase: fedora_ci_bodies.body(facts(**others))[1] for phase, others in ENDED.items()}
BREAKAGES: dict[str, list[Any]] = {
    "contact.email": ["", "nobody", "ci@localhost", "ci@example.org\n", "a b@example.org"],
    "contact.docs": ["", "ftp://example.org", "example.org", "https://u:secret@example.org/", "https://example.org/ö"],
    "contact.name": ["", None, "a\x85b", "a\u2028b", "\x1b[31m"],
    "run.url": [
        "http://",
        "http://example.org/a b",
        "http://example.org/%zz",
        "http://example.org/#a#b",
        "http://a/\n",
    ],
    "run.log": ["", "console"],
    "artifact.type": ["koji-build", ""],
    "artifact.id": [1234, "sha256:12", "9a" * 32, "sha256:" + "9A" * 32],
    "artifact.issuer": ["", "a b", "x" * 101],
    "artifact.rev": ["35fdde9"],
    "artifact.mime_type": ["qcow2"],
    "pipeline.id": ["", 464],
    "pipeline.build": [464, "-1"],
    "test.category": ["unit", ""],
    "test.type": ["functional_tests", ""],
    "test.namespace": ["", "Fedora CI"],
    "test.result": ["PASSED", "error", "", None],
    "test.runtime": [-1, 1.5, "30"],
    "test.xunit_urls": [[], "http://example.org/junit.xml", ["junit.xml"]],
    "system": [[], {}, [{"os": "fedora-26"}]],
    "generated_at": [
        "2017-09-04 12:00:31",
        "2017-09-04T12:00:31+02:00",
        "",
        1504526431,
        "2017-09-04T12:00:31Z\n",
        "2017-13-04T12:00:31Z",
    ],
    "version": ["0.2.1", "1", "1.0.0\n", ""],
}
REQUIRED = [
    (phase, section, key)
    for phase, made in fedora_ci.MESSAGES.items()
    for section, rule in made.body_schema["properties"].items()
    for key in rule.get("required", [])
]


# What the public contract asks of a message of any artifact, and shows of this one, whatever our schemas say.
PUBLIC_KEYS = {
    "contact": {"name", "team", "docs", "email"},
    "run": {"url", "log"},
    "artifact": {"type", "id", "url", "mime_type", "descriptor", "name", "issuer"},
    "pipeline": {"id", "name"},
    "test": {"category", "namespace", "type"},
}
PUBLIC_CATEGORIES = {
    "functional",
    "integration",
    "interoperability",
    "static-analysis",
    "system",
    "validation",
    "performance",
}
PUBLIC_RESULTS = {"passed", "failed", "info", "needs_inspection", "not_applicable"}


def _with_public_rules(phase: Phase, body: dict[str, Any]) -> None:
    """Hold a body against the rules of the public contract."""
    for section, keys in PUBLIC_KEYS.items():
        assert keys <= set(body[section])
    for address in (body["contact"]["docs"], body["run"]["url"], body["artifact"]["url"]):
        assert urllib.parse.urlsplit(address).hostname
    assert jsonschema.FormatChecker().conforms(body["contact"]["email"], "email")
    assert body["test"]["category"] in PUBLIC_CATEGORIES
    assert body["version"].startswith("1.")
    assert body["generated_at"].endswith("Z")
    if phase is Phase.COMPLETE:
        assert body["test"]["result"] in PUBLIC_RESULTS
        assert all({"os", "provider", "architecture"} <= set(system) for system in body["system"])
    if phase is Phase.ERROR:
        assert body["error"]["reason"]


def _with(body: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    *sections, key = place.split(".")
    inner = changed[sections[0]] if sections else changed
    inner[key] = value
    return changed


@pytest.mark.parametrize(
    ("place", "value"), [(place, value) for place, values in BREAKAGES.items() for value in values]
)
def test_a_wrong_value_is_refused_with_the_schemas_reason(place: str, value: Any) -> None:
    """The text names the phase and the key."""
    with pytest.raises(MessageError, match=rf"fedora-ci test\.complete message breaks its schema: {place}"):
        fedora_ci.make(Phase.COMPLETE, PREFIX, _with(BODIES[Phase.COMPLETE], place, value))


@pytest.mark.parametrize(("phase", "section", "key"), REQUIRED)
def test_a_missing_key_is_refused(phase: Phase, section: str, key: str) -> None:
    """Each the contract asks for, and each of ours."""
    body = copy.deepcopy(BODIES[phase])
    del body[section][key]

    with pytest.raises(MessageError, match=rf"breaks its schema: {section}: '{key}' is a required property"):
        fedora_ci.make(phase, PREFIX, body)


@pytest.mark.parametrize("phase", Phase)
def test_a_missing_or_surplus_section_is_refused(phase: Phase) -> None:
    """Also the result of a test that has none yet."""
    for section in ("contact", "run", "artifact", "pipeline", "test", "generated_at", "version"):
        rest = {key: value for key, value in BODIES[phase].items() if key != section}

        with pytest.raises(MessageError, match=f"'{section}' is a required property"):
            fedora_ci.make(phase, PREFIX, rest)
    with pytest.raises(MessageError, match="'msg' was unexpected"):
        fedora_ci.make(phase, PREFIX, {**BODIES[phase], "msg": {}})
    if phase is not Phase.COMPLETE:
        with pytest.raises(MessageError, match="'result' was unexpected"):
            fedora_ci.make(phase, PREFIX, _with(BODIES[phase], "test.result", "passed"))


def test_a_body_of_another_phase_is_refused() -> None:
    """A message cannot say on `error` that it passed, nor be complete without a result."""
    with pytest.raises(MessageError, match=r"test\.error message breaks its schema"):
        fedora_ci.make(Phase.ERROR, PREFIX, BODIES[Phase.COMPLETE])
    with pytest.raises(MessageError, match=r"test\.complete message breaks its schema"):
        fedora_ci.make(Phase.COMPLETE, PREFIX, BODIES[Phase.RUNNING])


def test_an_unknown_phase_is_refused_with_the_known_ones() -> None:
    """`ended` is ours, not the contract's."""
    with pytest.raises(MessageError, match="'ended'; one of: complete, error, queued, running"):
        fedora_ci.make("ended", PREFIX, {})


@pytest.mark.parametrize("phase", Phase)
def test_there_is_a_class_for_every_phase(phase: Phase) -> None:
    """On the topic of the contract, with a schema that is one."""
    made = fedora_ci.make(phase, PREFIX, BODIES[phase])

    assert type(made) is fedora_ci.class_of(phase)
    assert made.topic == f"{TOPIC}.{phase}"
    jsonschema.Draft4Validator.check_schema(made.body_schema)
    made.validate()


@pytest.mark.parametrize(
    ("result", "severity"),
    [
        (Result.PASSED, message.INFO),
        (Result.INFO, message.INFO),
        (Result.NOT_APPLICABLE, message.INFO),
        (Result.NEEDS_INSPECTION, message.WARNING),
        (Result.FAILED, message.ERROR),
    ],
)
def test_the_severity_follows_the_result(result: Result, severity: int) -> None:
    """The same as that of the pipeline's own message of the event."""
    made = fedora_ci.make(Phase.COMPLETE, PREFIX, _with(BODIES[Phase.COMPLETE], "test.result", str(result)))

    assert made.severity == severity
    assert json.loads(message.dumps(made))["headers"]["fedora_messaging_severity"] == severity


def test_what_goes_on_is_info_and_what_broke_is_an_error() -> None:
    """Somebody has to look at the infrastructure."""
    severities = {phase: fedora_ci.make(phase, PREFIX, body).severity for phase, body in BODIES.items()}

    assert severities[Phase.QUEUED] == severities[Phase.RUNNING] == message.INFO
    assert severities[Phase.ERROR] == message.ERROR


@pytest.mark.parametrize("body", [{}, {"test": None}, {"test": {"result": []}}, {"test": "passed"}])
def test_a_body_that_makes_no_sense_has_a_severity(body: dict[str, Any]) -> None:
    """So that a receiver can refuse it by its schema."""
    made = fedora_ci.UncontrolledBuildTestCompleteV1(body=body, topic=f"{TOPIC}.complete")

    assert made.severity == message.INFO
    with pytest.raises(jsonschema.ValidationError):
        made.validate()


def test_a_message_reads_well() -> None:
    """What a notification shows: which package, what happened, why, where to look."""
    made = fedora_ci.make(Phase.COMPLETE, PREFIX, BODIES[Phase.COMPLETE])
    broken = fedora_ci.make(Phase.ERROR, PREFIX, BODIES[Phase.ERROR])

    assert made.summary == "greeter 35fdde9 on f26: functional-tests needs_inspection"
    assert str(made).splitlines() == [
        made.summary,
        "  artifact: greeter-1.0-1.7.35fdde9.fc26",
        "  note: 1 test failed",
        f"  run: {made.url}",
        "  log: http://airflow.example.org/logs/464/functional_tests.log",
    ]
    assert broken.summary == "greeter 35fdde9 on f26: functional-tests error"
    assert "\n  reason: the mirror is away\n" in str(broken)
    assert made.url == BODIES[Phase.COMPLETE]["run"]["url"]
    assert (made.packages, made.usernames, made.agent_name) == (["greeter"], ["alice"], "alice")
    assert made.app_name == "CI Pipeline"


def test_a_message_survives_a_pickle() -> None:
    """The classes are real attributes of the module."""
    made = fedora_ci.make(Phase.ERROR, PREFIX, BODIES[Phase.ERROR])

    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes


def test_every_class_is_an_entry_point() -> None:
    """So a consumer that has the package installed gets our class and not the default one."""
    points = importlib.metadata.entry_points(group="fedora.messages")
    ours = {point.name: point.value for point in points if point.value.startswith("ci_pipeline.bus.fedora_ci:")}

    assert ours == {
        f"ci_pipeline.fedora_ci.{phase}": f"ci_pipeline.bus.fedora_ci:{made.__name__}"
        for phase, made in fedora_ci.MESSAGES.items()
    }
    assert all(getattr(fedora_ci, made.__name__) is made for made in fedora_ci.MESSAGES.values())


def test_the_schemas_load_with_fedora_messaging_alone() -> None:
    """A consumer of our messages needs none of the pipeline's other libraries."""
    heavy = ("airflow", "sqlalchemy", "pydantic", "twisted")
    code = f"import sys, ci_pipeline.bus.fedora_ci; print([name for name in {heavy!r} if name in sys.modules])"

    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert seen.stdout.strip() == "[]"


def _allowed(rule: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return what a schema of ours allows."""
    if rule["type"] == "object":
        known = {key: _allowed(inner) for key, inner in rule["properties"].items()}
        optional = {key: known.pop(key) for key in set(known) - set(rule["required"])}
        return st.fixed_dictionaries(known, optional=optional)
    if rule["type"] == "array":
        return st.lists(_allowed(rule["items"]), min_size=rule["minItems"], max_size=2)
    if rule["type"] == "integer":
        return st.integers(rule["minimum"], 10**6)
    if "enum" in rule:
        return st.sampled_from(rule["enum"])
    return st.from_regex(rule["pattern"])


ALLOWED = {phase: _allowed(made.body_schema) for phase, made in fedora_ci.MESSAGES.items()}


@settings(max_examples=40)  # addresses are slow to draw
@given(st.sampled_from(Phase).flatmap(lambda phase: st.tuples(st.just(phase), ALLOWED[phase])))
def test_what_is_received_is_what_was_sent(drawn: tuple[Phase, dict[str, Any]]) -> None:
    """Whatever a schema allows follows the public rules, and stays what it is: class, body, severity, words."""
    phase, body = drawn
    sent = fedora_ci.make(phase, PREFIX, body)
    [loaded] = message.loads(message.dumps(sent))
    topic, raw, properties = publisher._encoded(sent)
    received = message.get_message(topic, properties, raw)

    _with_public_rules(phase, body)
    assert type(received) is type(loaded) is fedora_ci.MESSAGES[phase]
    assert received.body == loaded.body == body
    assert (received.topic, received.severity) == (sent.topic, sent.severity)
    assert received.summary in str(received)


@pytest.mark.parametrize("phase", Phase)
def test_what_is_published_is_what_arrives(current: Settings, phase: Phase) -> None:
    """Through RabbitMQ, read by an independent client and understood by fedora-messaging."""
    url = current.bus.url.get_secret_value()
    made = fedora_ci.make(phase, PREFIX, BODIES[phase], outbox_id="row-7", kind="push")
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, current.bus.exchange, f"{TOPIC}.#")

    with Publisher(url, current.bus.exchange) as out:
        out.publish(made)
    method, properties, raw = channel.basic_get(queue, auto_ack=True)
    connection.close()

    assert method.routing_key == f"{TOPIC}.{phase}"
    assert properties.headers["fedora_messaging_schema"] == f"ci_pipeline.fedora_ci.{phase}"
    assert properties.headers["fedora_messaging_rpm_greeter"] is True
    assert (properties.headers[base.ID_HEADER], properties.headers[base.KIND_HEADER]) == ("row-7", "push")
    assert json.loads(raw) == BODIES[phase]
    assert message.get_message(method.routing_key, properties, raw) == made
