"""Buses of tests: what becomes of the messages of a batch."""

from collections.abc import Callable, Iterable, Sequence

from ci_pipeline import decisions, settings, store
from ci_pipeline.errors import BusUnreachable, CiPipelineError, MessageRejected
from ci_pipeline.store import outbox, unannounced
from ci_pipeline.store.tables import Outbox


def publish_by(take: Callable[[Outbox], object] = lambda _: None, *, runs: Iterable[int] | None = None) -> int:
    """Publish what is pending on a bus that takes one message after the other, as `take` does.

    `take` may raise MessageRejected, which is of one message, or BusUnreachable: then it takes no more of the batch.
    """

    def publish(batch: Sequence[Outbox]) -> list[CiPipelineError | None]:
        answers: list[CiPipelineError | None] = []
        for row in batch:
            away = next((one for one in answers if isinstance(one, BusUnreachable)), None)
            answers.append(away or _answer(take, row))
        return answers

    return outbox.publish_pending(publish, runs=runs)


def all_said() -> list[Outbox]:
    """Return what is said and what is to be said, in order; last what is ignored and not announced yet."""
    with store.session() as session:
        return outbox.messages(session) + decisions.ignored(settings.current(), unannounced.waiting(session))


def _answer(take: Callable[[Outbox], object], row: Outbox) -> CiPipelineError | None:
    try:
        take(row)
    except (MessageRejected, BusUnreachable) as error:
        return error
    return None
