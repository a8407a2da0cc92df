"""A server that answers as EC2 does, moto's, on loopback; and one before it that has no room."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import boto3
import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REGION: Final = "eu-central-1"
_STRICT: Final = {
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
    "MOTO_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
}
_NO_ROOM: Final = b"""<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>InsufficientInstanceCapacity</Code><Message>We currently do not have sufficient
t3.small capacity in the Availability Zone you requested.</Message></Error></Errors><RequestID>1</RequestID></Response>
"""


@contextlib.contextmanager
def moto(log: Path) -> Iterator[str]:
    """Have a server for the block; yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as said:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, env=os.environ | _STRICT, stdout=said, stderr=said)
    try:
        _wait(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def client(url: str) -> Any:
    """Return a client of the server: what it says is what the provider has."""
    account = {"aws_access_key_id": "watcher", "aws_secret_access_key": "none"}
    return boto3.client("ec2", endpoint_url=url, region_name=REGION, **account)


def alive(url: str) -> dict[str, dict[str, str]]:
    """Return the tags of each instance that is not terminated, by id."""
    found = client(url).describe_instances()["Reservations"]
    instances = [one for reservation in found for one in reservation["Instances"]]
    living = [one for one in instances if one["State"]["Name"] not in ("terminated", "shutting-down")]
    return {one["InstanceId"]: {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])} for one in living}


def keys(url: str) -> list[str]:
    """Return the names of the key pairs."""
    return [one["KeyName"] for one in client(url).describe_key_pairs()["KeyPairs"]]


@contextlib.contextmanager
def without_room(url: str) -> Iterator[str]:
    """Have a server that passes everything on to another one, and has no room for instances; yield its URL."""
    with _before(url, lambda action: _NO_ROOM if action == "RunInstances" else b"") as own:
        yield own


@contextlib.contextmanager
def recorded(url: str) -> Iterator[tuple[str, set[str]]]:
    """Have a server that passes everything on to another one; yield its URL, and what it was asked for so far."""
    actions: set[str] = set()

    def record(action: str) -> bytes:
        actions.add(action)
        return b""

    with _before(url, record) as own:
        yield own, actions


@contextlib.contextmanager
def _before(url: str, refusal: Callable[[str], bytes]) -> Iterator[str]:
    """Have a server before another one; what `refusal` returns for an action is answered instead. Yield its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if refused := refusal(parse_qs(body.decode())["Action"][0]):
                self._answer(500, refused)
            else:
                answer = requests.post(url, data=body, headers=dict(self.headers), timeout=30)
                self._answer(answer.status_code, answer.content)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            requests.get(f"{url}/moto-api/data.json", timeout=5)
            return
        time.sleep(0.1)
    raise RuntimeError("moto's server did not come up")
