"""Puts what the outbox holds on the bus."""

import logging
from collections.abc import Iterable

from fedora_messaging.message import Message

from ci_pipeline.bus import fedora_ci, schemas
from ci_pipeline.bus.publisher import Publisher
from ci_pipeline.errors import DatabaseUnreachable, PublishError
from ci_pipeline.settings import Settings
from ci_pipeline.store import outbox
from ci_pipeline.store.tables import Outbox

log = logging.getLogger(__name__)


def publish(settings: Settings, *, runs: Iterable[int] | None = None) -> int:
    """Publish pending messages, of some runs or of all.

    Returns:
        The number of messages published.

    Raises:
        PublishError: the bus is away; the outbox keeps what is left.
        DatabaseUnreachable: the outbox cannot be read now. A message that was being published may go out twice.
    """
    bus = settings.bus
    with Publisher(bus.url.get_secret_value(), bus.exchange, timeout=bus.publish_timeout) as publisher:

        def hand_over(row: Outbox) -> None:
            kind = row.run.kind if row.run else ""
            message = _message(row, kind)
            publisher.publish(message)
            log.info("published %s: %s", row.topic, message.summary)

        return outbox.publish_pending(hand_over, runs=runs)


def publish_or_leave(settings: Settings, *, runs: Iterable[int] | None = None) -> None:
    """Publish pending messages; a bus or a database that is away is logged, for the outbox keeps them."""
    try:
        publish(settings, runs=runs)
    except (PublishError, DatabaseUnreachable) as error:
        log.warning("messages stay in the outbox: %s", error)


def _message(row: Outbox, kind: str) -> Message:
    """Return a stored message in the words of its contract.

    The prefix is the one its topic was made with: the setting may have changed since.
    """
    if row.contract == outbox.FEDORA_CI:
        prefix, phase = row.topic.removesuffix(f".ci.{row.event}"), row.event.rpartition(".")[2]
        return fedora_ci.make(phase, prefix, row.body, outbox_id=str(row.id), kind=kind)
    prefix = row.topic.removesuffix(f".{schemas.TOPIC_INFIX}.{row.event}")
    return schemas.make(row.event, prefix, row.body, outbox_id=str(row.id), kind=kind)
