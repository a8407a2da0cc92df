"""How we say who we are: a password or a token, from the environment."""

from base64 import b64encode

import httpx

from ci_pipeline import redaction
from ci_pipeline.sink_sections import ElasticsearchSink, ResultsDbSink
from ci_pipeline.sinks.client import Client, secret_of


def client_of(sink: ResultsDbSink | ElasticsearchSink, *, scheme: str) -> Client:
    """Return the connections of a sink that may want an account.

    Args:
        sink: the sink.
        scheme: of the header, before a token: `Bearer`.

    Raises:
        SinkUnreachable: the variable with the secret is not set, or a file cannot be read.
    """
    token = secret_of(sink, "token_env")
    return Client(sink, auth=_basic_auth(sink), token=f"{scheme} {token}" if token else "")


def _basic_auth(sink: ResultsDbSink | ElasticsearchSink) -> httpx.BasicAuth | None:
    if not sink.username:
        return None
    password = secret_of(sink, "password_env")
    # As it is in the header, where no word of it is to be seen.
    redaction.hide([b64encode(f"{sink.username}:{password}".encode()).decode()])
    return httpx.BasicAuth(sink.username, password)
