"""A datahub downstream: it keeps what is posted to it with a signature that holds, and refuses what is not."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver:
    """An HTTP server on loopback. `key` is what its senders sign with, made of a secret in base64."""

    def __init__(self, secret: str) -> None:
        self.key = f"whsec_{secret}"
        self._told: dict[str, dict[str, Any]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks"

    def told(self, rev: str) -> list[dict[str, Any]]:
        """Return what it was told of a revision, once each, in order."""
        return [one for one in list(self._told.values()) if one["run"]["change"]["rev"] == rev]

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                try:
                    Webhook(receiver.key).verify(body, dict(self.headers.items()))
                except WebhookVerificationError:
                    self.send_error(400, "the signature does not hold")
                    return
                receiver._told.setdefault(self.headers["webhook-id"], json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
