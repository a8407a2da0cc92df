"""Publishing over a connection that is cut: nothing is lost, what comes twice can be told, and the order stays."""

import json
from typing import Any

import pytest

from ci_pipeline import publishing, store
from ci_pipeline.bus import base, schemas
from ci_pipeline.bus.publisher import Publisher
from ci_pipeline.errors import BusUnreachable
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.store import outbox
from ci_pipeline.store.tables import Outbox
from tests.bus import recorded
from tests.bus.broker import Broker
from tests.bus.proxy import BEFORE_THE_CONFIRM, IN_THE_BODY, Proxy
from tests.makers import new_run, play

EXCHANGE = "amq.topic"
RECORDED = recorded.published()
COMPLETE = RECORDED["complete"]["topic"]
# How often the broker gets a message whose connection was cut there once.
CUTS = pytest.mark.parametrize(("where", "times"), [(BEFORE_THE_CONFIRM, 1), (IN_THE_BODY, 0)])


def _message(number: int) -> schemas.PipelineMessage:
    body = {**RECORDED["complete"], "build_id": str(number)}
    return schemas.make("complete", recorded.PREFIX, body, outbox_id=f"row-{number}")


def _heard(arrived: list[tuple[Any, Any, bytes]]) -> list[tuple[str, str]]:
    """Return the number in the body, and the id in the header, of what has arrived."""
    return [(json.loads(raw)["build_id"], properties.headers[base.ID_HEADER]) for _, properties, raw in arrived]


def _publish(publisher: Publisher, *numbers: int) -> None:
    for number in numbers:
        publisher.publish(_message(number))


@CUTS
def test_a_cut_on_the_first_connection_is_said_and_can_be_repeated(
    broker: Broker, listen: Any, where: str, times: int
) -> None:
    """The publisher cannot know whether the broker has it: published again, it comes under the same id."""
    arrived = listen(COMPLETE)

    with Proxy(broker.port, (where, 0)) as proxy, Publisher(proxy.url, EXCHANGE) as publisher:
        with pytest.raises(BusUnreachable, match="is not reachable"):
            _publish(publisher, 1)
        _publish(publisher, 1, 2, 3)

    assert proxy.cuts == []
    assert _heard(arrived()) == [("1", "row-1")] * times + [(str(n), f"row-{n}") for n in (1, 2, 3)]


@CUTS
def test_a_cut_on_a_kept_connection_is_mended_by_connecting_again(
    broker: Broker, listen: Any, where: str, times: int
) -> None:
    """As with a connection that died unnoticed: the caller need not repeat anything."""
    arrived = listen(COMPLETE)

    with Proxy(broker.port, (where, 1)) as proxy, Publisher(proxy.url, EXCHANGE) as publisher:
        _publish(publisher, 1, 2, 3)

    assert proxy.cuts == []
    assert _heard(arrived()) == [("1", "row-1"), *[("2", "row-2")] * times, ("2", "row-2"), ("3", "row-3")]


@CUTS
def test_a_second_cut_on_the_way_is_said(broker: Broker, listen: Any, where: str, times: int) -> None:
    """Connecting again is tried once: a broker that cuts whatever comes must not keep a task for ever."""
    arrived = listen(COMPLETE)

    with Proxy(broker.port, (where, 1), (where, 0)) as proxy, Publisher(proxy.url, EXCHANGE) as publisher:
        _publish(publisher, 1)
        with pytest.raises(BusUnreachable, match="is not reachable"):
            _publish(publisher, 2)
        _publish(publisher, 2, 3)

    assert proxy.cuts == []
    assert _heard(arrived()) == [("1", "row-1"), *[("2", "row-2")] * 2 * times, ("2", "row-2"), ("3", "row-3")]


@CUTS
@pytest.mark.usefixtures("database")
def test_the_outbox_goes_on_where_it_was_cut(
    broker: Broker, current: Settings, listen: Any, where: str, times: int
) -> None:
    """Two runs speak at once; what they say first is cut for good. The next publishing says it and the rest."""
    mine, other = new_run(), new_run(rev="1" * 40)
    for run, stage in ((mine, 0), (other, 0), (mine, 1), (other, 1)):
        play(current, run, Status.SUCCESS, first=stage)
    [of_mine, of_other] = ([str(row.id) for row in _rows() if row.run_id == run.id] for run in (mine, other))
    arrived = listen("#")

    with Proxy(broker.port, (where, 0), (where, 0)) as proxy:
        settings = _at(current, proxy)
        with pytest.raises(BusUnreachable):
            publishing.publish(settings)
        published = [row for row in _rows() if row.published_at]
        left = publishing.publish(settings)
    heard = [properties.headers[base.ID_HEADER] for _, properties, _ in arrived()]

    assert published == []
    assert left == len(of_mine) + len(of_other)
    assert heard.count(of_mine[0]) == 1 + 2 * times
    assert [one for one in dict.fromkeys(heard) if one in of_mine] == of_mine
    assert [one for one in dict.fromkeys(heard) if one in of_other] == of_other
    assert all(row.published_at for row in _rows())


@CUTS
def test_a_cut_among_messages_sent_at_once_is_mended(broker: Broker, listen: Any, where: str, times: int) -> None:
    """All arrive; those the publisher could not know of come twice, under the same id."""
    arrived = listen(COMPLETE)

    with Proxy(broker.port, (where, 0)) as proxy, Publisher(proxy.url, EXCHANGE) as publisher:
        answers = publisher.publish_all([_message(number) for number in range(20)])
    heard = _heard(arrived())

    assert proxy.cuts == []
    assert answers == [None] * 20
    assert set(heard) == {(str(number), f"row-{number}") for number in range(20)}
    assert heard.count(("0", "row-0")) == 1 + times


def _rows() -> list[Outbox]:
    with store.session() as session:
        return outbox.messages(session)


def _at(settings: Settings, proxy: Proxy) -> Settings:
    """Return the settings with the bus behind the proxy."""
    bus = settings.bus.model_copy(update={"url": type(settings.bus.url)(proxy.url), "exchange": EXCHANGE})
    return settings.model_copy(update={"bus": bus})
