"""Puts what the outbox holds on the bus."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import ModuleType
from typing import Final

from fedora_messaging.message import Message

from ci_pipeline import decisions
from ci_pipeline.bus import fedora_ci, gating_schemas, schemas
from ci_pipeline.bus.publisher import Publisher
from ci_pipeline.errors import CiPipelineError, DatabaseUnreachable, MessageError, PublishError, SettingsError
from ci_pipeline.settings import Settings
from ci_pipeline.store import database, outbox, unannounced
from ci_pipeline.store.tables import Outbox

log = logging.getLogger(__name__)

# By contract, the module that makes its messages.
_SCHEMAS: Final[dict[str, ModuleType]] = {
    outbox.OURS: schemas,
    outbox.FEDORA_CI: fedora_ci,
    outbox.GATING: gating_schemas,
}


def publish(settings: Settings, *, runs: Iterable[int] | None = None, stop: Callable[[], bool] = lambda: False) -> int:
    """Publish pending messages, of some runs or of all; not all of them if `stop` says so after a batch.

    What was ignored is announced last: it is of no run.

    Returns:
        The number of messages published.

    Raises:
        PublishError: the bus is away; the outbox keeps what is left.
        DatabaseUnreachable: the outbox cannot be read now. A message that was being published may go out twice.
    """
    bus = settings.bus
    with Publisher(bus.url.get_secret_value(), bus.exchange, bus.publish_timeout, files=bus.files) as publisher:

        def hand_over(batch: Sequence[Outbox]) -> Sequence[CiPipelineError | None]:
            made = [_message(row) for row in batch]
            messages = [one for one in made if isinstance(one, Message)]
            answers = publisher.publish_all(messages)
            coming = iter(answers)
            told = [one if isinstance(one, MessageError) else next(coming) for one in made]
            _log(batch, made, told)
            return told

        published = outbox.publish_pending(hand_over, runs=runs, stop=stop)
        return published if runs is not None else published + _announce_ignored(settings, hand_over, stop)


def publish_or_leave(
    settings: Settings, *, runs: Iterable[int] | None = None, stop: Callable[[], bool] = lambda: False
) -> None:
    """Publish pending messages as `publish` does; whatever keeps us from it is logged, for the outbox keeps them.

    Also a setting that is wrong: no stage ends over a certificate that is being renewed.
    """
    try:
        publish(settings, runs=runs, stop=stop)
    except (PublishError, DatabaseUnreachable, SettingsError) as error:
        log.warning("messages stay in the outbox: %s", error)


def _announce_ignored(settings: Settings, publish: outbox.Publish, stop: Callable[[], bool]) -> int:
    """Announce what was ignored, until all of it is or `stop` says so after a batch; return how many were published."""
    published = 0
    while True:
        with database.session() as session:
            answers = unannounced.publish(session, partial(decisions.ignored, settings), publish)
        published += sum(answer is None for answer in answers)
        outbox.raise_if_away(answers)
        if not answers or stop():
            return published


def _log(
    batch: Sequence[Outbox], made: Sequence[Message | MessageError], told: Sequence[CiPipelineError | None]
) -> None:
    """Log what was published of runs and what was not, a line each; of the rest, which can be very many, the number."""
    others = 0
    for row, message, answer in zip(batch, made, told, strict=True):
        if row.run_id is None and answer is None:
            others += 1
        elif isinstance(message, Message):
            log.info("%s %s", "published" if answer is None else "not published:", message.summary)
    if others:
        log.info("published %d messages that are of no run", others)


def _message(row: Outbox) -> Message | MessageError:
    """Return a row as it goes on the bus, or why it cannot be a message."""
    kind = row.run.kind if row.run else ""
    prefix, name = _named(row)
    make: Callable[..., Message] = _SCHEMAS[row.contract].make
    try:
        return make(name, prefix, row.body, outbox_id=str(row.id), kind=kind)
    except MessageError as error:
        return error


def _named(row: Outbox) -> tuple[str, str]:
    """Return the prefix a stored topic was made with (the setting may have changed since), and what is said on it."""
    if row.contract == outbox.FEDORA_CI:
        return row.topic.removesuffix(f".ci.{row.event}"), row.event.rpartition(".")[2]
    return row.topic.removesuffix(f".{schemas.TOPIC_INFIX}.{row.event}"), row.event
