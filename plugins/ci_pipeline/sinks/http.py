"""Any HTTP server: the JSON of our API, signed as Standard Webhooks has it (https://www.standardwebhooks.com).

A receiver checks the signature with a library of that standard, and drops what it has by `webhook-id`, which stays the
same however often a delivery is tried.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

from ci_pipeline.errors import SinkError, SinkUnreachable
from ci_pipeline.sink_sections import HttpSink
from ci_pipeline.sinks.client import Client, secret_of
from ci_pipeline.sinks.parcel import Parcel


class HttpReceiver:
    """Posts one parcel at a time; any 2xx means that it was taken."""

    at_once: Final = 1

    def __init__(self, sink: HttpSink, client: Client) -> None:
        """Use the connections of the sink.

        Raises:
            SinkUnreachable: there is no key, or it is none.
        """
        self._client = client
        # Several keys sign side by side, so that a receiver can go from one to the next.
        self._keys = [_key(secret, sink) for secret in secret_of(sink, "secret_env").split()]

    def deliver(self, parcels: Sequence[Parcel]) -> list[SinkError | None]:
        """Post a parcel. See `Sink`."""
        (parcel,) = parcels
        body = json.dumps(parcel.as_json(), separators=(",", ":"))
        self._client.request("POST", content=body.encode(), headers=self._headers(parcel.id, body))
        return [None]

    def _headers(self, identity: str, body: str) -> dict[str, str]:
        now = datetime.now(UTC)
        return {
            "content-type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(key.sign(identity, now, body) for key in self._keys),
        }


def _key(secret: str, sink: HttpSink) -> Webhook:
    try:
        return Webhook(secret)
    except Exception as error:  # the library has no common root for its errors; none may show the secret
        msg = (
            f"the environment variable {sink.secret_env} (secret_env of the sink {sink.name}) has no key: whsec_BASE64"
        )
        raise SinkUnreachable(msg) from error
