"""A datahub of each kind, and settings with sinks that lead there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ci_pipeline import sinks, store
from ci_pipeline.settings import Settings
from ci_pipeline.sink_sections import ElasticsearchSink, HttpSink, ResultsDbSink, SinkSettings
from ci_pipeline.store.downstream_tables import Delivery
from tests.sinks.servers import SECRET, Datahub, ElasticServer, ResultsDbServer, WebhookServer, serving

SERVERS: dict[str, type[Datahub]] = {
    "resultsdb": ResultsDbServer,
    "http": WebhookServer,
    "elasticsearch": ElasticServer,
}


class Downstream:
    """Settings with one sink, and the server behind it."""

    def __init__(self, settings: Settings, sink: SinkSettings, server: Datahub) -> None:
        self.settings = settings.model_copy(update={"sinks": [*settings.sinks, sink]})
        self.name = sink.name
        self.server = server

    def deliver(self, *, at_once: bool = True) -> sinks.Pass:
        """Deliver, whether the sink is to be left alone for a while or not."""
        return sinks.deliver(self.settings, self.name, at_once=at_once)

    @property
    def has(self) -> list[str]:
        """What the server has, in the order it came: ids of deliveries, or of results in a ResultsDB."""
        if isinstance(self.server, ResultsDbServer):
            return [one["data"]["ci_pipeline_id"] for one in self.server.results]
        if isinstance(self.server, WebhookServer):
            return list(self.server.events)
        assert isinstance(self.server, ElasticServer)
        return list(self.server.documents)

    @property
    def rows(self) -> list[Delivery]:
        """The deliveries of this sink, in order."""
        with store.session() as session:
            return list(session.query(Delivery).filter_by(sink=self.name).order_by(Delivery.sequence))


Make = Callable[..., Downstream]


@pytest.fixture
def downstream(current: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """`downstream("http", attempts=2)`: a datahub and the settings of its sink, beside those of `beside`."""
    monkeypatch.setenv("SINK_SECRET", SECRET)
    with ExitStack() as stack:

        def make(
            kind: str,
            *,
            beside: Downstream | None = None,
            name: str = "",
            certificate: Path | None = None,
            **fields: object,
        ) -> Downstream:
            server = stack.enter_context(serving(SERVERS[kind](), certificate=certificate))
            known = {"name": name or f"the-{kind}", "kind": kind, "timeout_seconds": 0.5, **fields}
            return Downstream(beside.settings if beside else current, sink_of(server.url, known), server)

        yield make


def sink_of(address: str, fields: dict[str, object]) -> SinkSettings:
    """Return the settings of a sink at an address."""
    if fields["kind"] == "resultsdb":
        return ResultsDbSink(url=f"{address}/api/v2.0", **fields)  # type: ignore[arg-type]
    if fields["kind"] == "http":
        return HttpSink(**{"url": f"{address}/hooks", "secret_env": "SINK_SECRET", **fields})  # type: ignore[arg-type]
    return ElasticsearchSink(url=address, **fields)  # type: ignore[arg-type]
