"""What answers for Airflow's API where runs are only to be fired: it starts nothing, and says yes."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Yes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body go out as two packets. Without this the second one waits 40 ms for the client's acknowledgement of
    # the first, which no real server lets it do.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Hand out a token; take every run."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b'{"access_token": "token"}' if self.path == "/auth/token" else b"{}"
        self.send_response(201 if self.path == "/auth/token" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def airflow_stand_in() -> Iterator[str]:
    """Serve on a free loopback port, from a process of its own, as Airflow's api-server is one; yield the address."""
    serving = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    try:
        assert serving.stdout
        yield serving.stdout.readline().strip()
    finally:
        serving.terminate()
        serving.wait()


def _serve() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Yes)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve()
