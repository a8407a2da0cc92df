"""Waiting for a server that is away: what is said of it meanwhile."""

import logging
from collections.abc import Callable

from tenacity import RetryCallState


def say_why(log: logging.Logger) -> Callable[[RetryCallState], None]:
    """Return a `before_sleep` for tenacity that logs what is waited for, in the error's own sentence."""

    def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("waiting: %s", error)

    return say
