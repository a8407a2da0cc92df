"""What is said about gating arrives on the bus as what it is."""

import contextlib

import pika
import pytest
from fedora_messaging import message

from ci_pipeline import publishing
from ci_pipeline.bus import gating_schemas
from ci_pipeline.bus.gating_schemas import DecisionUpdateV1, WaiverNewV1
from ci_pipeline.errors import MessageError
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from tests.gating.makers import SPEC_NVR, told, waive
from tests.makers import new_run, play

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize(
    ("event", "body", "sentence"),
    [
        ("decision.gone", {}, "no message for the event"),
        ("decision.update", {}, "breaks its schema"),
        ("waiver.new", {"waived": "yes"}, "breaks its schema"),
    ],
)
def test_what_breaks_its_schema_is_never_made(event: str, body: dict[str, object], sentence: str) -> None:
    """It says which and why."""
    with pytest.raises(MessageError, match=sentence):
        gating_schemas.make(event, "org.x", body)


def test_decisions_and_waivers_arrive_once_as_their_own_classes(gated: Settings) -> None:
    """Read by an independent client; publishing again sends nothing."""
    play(gated, new_run(), Status.SUCCESS, Status.UNSTABLE)
    waive(gated, why="a known bug")
    url = pika.URLParameters(gated.bus.url.get_secret_value())
    with contextlib.closing(pika.BlockingConnection(url)) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for topic in ("decision.update", "waiver.new"):
            channel.queue_bind(queue, gated.bus.exchange, f"#.ci.pipeline.{topic}")
        publishing.publish(gated)
        publishing.publish(gated)
        raw = list(iter(lambda: channel.basic_get(queue, auto_ack=True), (None, None, None)))
    arrived = [message.get_message(method.routing_key, properties, body) for method, properties, body in raw]

    assert [type(one) for one in arrived] == [DecisionUpdateV1, DecisionUpdateV1, WaiverNewV1, DecisionUpdateV1]
    assert [one.body for one in arrived] == [row.body for row in told()]
    assert {one.packages[0] for one in arrived} == {"greeter"}
    assert str(arrived[2]).startswith("alice waived org.centos.prod.ci.pipeline.package.test.functional.complete of")
    assert arrived[2].usernames == ["alice"]
    assert arrived[3].summary == (
        f"koji_build {SPEC_NVR} in fedora-26 may not pass promote: 1 of 3 required tests did not pass: 1 missing"
    )
