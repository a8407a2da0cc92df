"""How we say who we are: a password or a token, from the environment."""

import httpx

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
    auth = httpx.BasicAuth(sink.username, secret_of(sink, "password_env")) if sink.username else None
    token = secret_of(sink, "token_env")
    return Client(sink, auth=auth, token=f"{scheme} {token}" if token else "")
