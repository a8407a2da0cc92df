"""What the state machines share."""

from collections.abc import Iterator

import pytest
from sqlalchemy import QueuePool

from ci_pipeline import stack
from ci_pipeline.settings import Settings
from ci_pipeline.store import database
from tests.database import empty


@pytest.fixture
def kept_connections(servers: stack.UpResult, current: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Thousands of short transactions: opening a connection for each would take most of their time."""
    monkeypatch.setattr(database, "NullPool", QueuePool)
    database.engine.cache_clear()
    yield
    empty()
    database.engine(current.database.url.get_secret_value()).dispose()
    database.engine.cache_clear()
