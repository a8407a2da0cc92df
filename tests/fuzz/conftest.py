"""How much is made up. In `make test` the same each time; `make fuzz` makes up more, and each time anew."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase


@dataclass(frozen=True, slots=True)
class Amount:
    """How many messages are sent; `anew`: others than the last time."""

    messages: int
    anew: bool

    def settings(self, examples: int) -> hypothesis.settings:
        """Return how Hypothesis makes up so many examples."""
        return hypothesis.settings(
            max_examples=examples,
            derandomize=not self.anew,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if self.anew else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        )


@pytest.fixture
def amount(request: pytest.FixtureRequest) -> Amount:
    """What the command line asks for."""
    asked: int = request.config.getoption("--fuzz-messages")
    return Amount(messages=asked or 10_000, anew=bool(asked))


class PrintableLines(logging.Handler):
    """Refuses lines that would steer a terminal, or pass for two."""

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a line."""
        assert record.getMessage().isprintable(), repr(record.getMessage())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do not swallow it."""
        raise AssertionError(repr(record.getMessage()))


@pytest.fixture
def lines() -> Iterator[None]:
    """Every line the pipeline logs is looked at."""
    logger, handler, level = logging.getLogger("ci_pipeline"), PrintableLines(), logging.getLogger("ci_pipeline").level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(level)
    logger.removeHandler(handler)
