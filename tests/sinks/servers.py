"""Datahubs on loopback that check what they are sent as the real ones do, and misbehave on demand."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import jsonschema

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()

_TEXT = {"type": "string", "minLength": 1}
# As ResultsDB's own parser takes it: four outcomes, and text in `data`, whose keys have no colon.
RESULT: dict[str, Any] = {
    "type": "object",
    "required": ["outcome", "testcase", "groups", "data"],
    "additionalProperties": False,
    "properties": {
        "outcome": {"enum": ["PASSED", "FAILED", "INFO", "NEEDS_INSPECTION"]},
        "testcase": {"type": "object", "required": ["name"], "properties": {"name": _TEXT}},
        "groups": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["uuid"],
                "properties": {"uuid": {"type": "string", "pattern": "^[0-9a-f-]{36}$"}},
            },
        },
        "note": {"type": "string"},
        "ref_url": {"type": "string"},
        "data": {
            "type": "object",
            "required": ["item", "type", "arch", "branch", "rev"],
            "propertyNames": {"pattern": "^[^:]+$"},
            "additionalProperties": _TEXT,
        },
    },
}
WEBHOOK: dict[str, Any] = {
    "type": "object",
    "required": ["id", "event", "status", "at", "run", "result"],
    "additionalProperties": False,
    "properties": {
        "id": _TEXT,
        "event": _TEXT,
        "status": {"enum": ["SUCCESS", "UNSTABLE", "FAILURE", "ABORTED", "SKIPPED", "QUEUED", "RUNNING"]},
        "at": _TEXT,
        "run": {"type": "object", "required": ["id", "change"]},
        "result": {"type": ["object", "null"], "properties": {"artifacts": {"items": {"not": {"required": ["path"]}}}}},
    },
}
# What ECS says of the fields we use.
DOCUMENT: dict[str, Any] = {
    "type": "object",
    "required": ["@timestamp", "ecs", "message", "event", "package", "labels"],
    "properties": {
        "@timestamp": _TEXT,
        "ecs": {"type": "object", "required": ["version"]},
        "event": {
            "type": "object",
            "required": ["id", "kind", "category", "type", "action", "outcome"],
            "properties": {
                "kind": {"enum": ["event"]},
                "category": {"type": "array", "items": {"enum": ["package", "process", "host"]}},
                "type": {"type": "array", "items": {"enum": ["start", "end", "info"]}},
                "outcome": {"enum": ["success", "failure", "unknown"]},
                "duration": {"type": "integer", "minimum": 0},
            },
        },
        "package": {"type": "object", "required": ["name"]},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


@dataclass
class Asked:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class Datahub:
    """A server's mind: what it has, and how it misbehaves: one mood per request, the oldest first."""

    moods: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def take(self, asked: Asked) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        raise NotImplementedError


@dataclass
class ResultsDbServer(Datahub):
    """Takes any result, also the same again: ResultsDB knows no uniqueness."""

    results: list[dict[str, Any]] = field(default_factory=list)
    outcomes: tuple[str, ...] = ()

    def take(self, asked: Asked) -> tuple[int, Any]:
        if asked.path != "/api/v2.0/results":
            return 404, {"message": "Not found"}
        if asked.method == "GET":
            return 200, {"data": self._found(asked.query), "next": None, "prev": None}
        sent = json.loads(asked.body)
        schema = json.loads(json.dumps(RESULT))
        schema["properties"]["outcome"]["enum"] += self.outcomes
        try:
            jsonschema.validate(sent, schema)
        except jsonschema.ValidationError as error:
            return 400, {"message": error.message}
        self.results.append(sent)
        return 201, {**sent, "id": len(self.results)}

    def _found(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        data = {key: values for key, values in query.items() if key not in {"testcases", "limit"}}
        return [
            one
            for one in self.results
            if one["testcase"]["name"] in query["testcases"]
            and all(one["data"].get(key) in values for key, values in data.items())
        ]


@dataclass
class WebhookServer(Datahub):
    """Checks the signature as the standard has it, and drops what it has by its id."""

    events: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, asked: Asked) -> tuple[int, Any]:
        headers = asked.headers
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + asked.body
        right = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        if right not in headers["webhook-signature"].split():
            return 401, {"message": "the signature is wrong"}
        sent = json.loads(asked.body)
        jsonschema.validate(sent, WEBHOOK)
        self.events.setdefault(headers["webhook-id"], sent)
        return 202, {}


@dataclass
class ElasticServer(Datahub):
    """Creates documents under their ids; some are refused, by their event."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    refuses: dict[str, int] = field(default_factory=dict)
    most_bytes: int = 10**9

    def take(self, asked: Asked) -> tuple[int, Any]:
        if asked.path != "/_bulk" or asked.headers.get("content-type") != "application/x-ndjson":
            return 400, {"error": "no bulk request"}
        if len(asked.body) > self.most_bytes:
            return 413, {"error": "too large"}
        lines = [json.loads(line) for line in asked.body.decode().removesuffix("\n").split("\n")]
        made = [self._create(lines[at]["create"], lines[at + 1]) for at in range(0, len(lines), 2)]
        return 200, {
            "took": 1,
            "errors": any("error" in one for one in made),
            "items": [{"create": one} for one in made],
        }

    def _create(self, action: dict[str, str], document: dict[str, Any]) -> dict[str, Any]:
        jsonschema.validate(document, DOCUMENT)
        assert action["_index"] == "ci-pipeline-results"
        made = {"_index": action["_index"], "_id": action["_id"]}
        if status := self.refuses.get(document["event"]["action"]):
            return {**made, "status": status, "error": {"type": "some_exception", "reason": f"it says {status}"}}
        if action["_id"] in self.documents:
            return {**made, "status": 409, "error": {"type": "version_conflict_engine_exception"}}
        self.documents[action["_id"]] = document
        return {**made, "status": 201}


@contextmanager
def serving(datahub: Datahub, *, certificate: Path | None = None) -> Iterator[Datahub]:
    """Serve a datahub on loopback: with a certificate, whose key is in the same file, over TLS."""
    handler = type("Handler", (_Handler,), {"datahub": datahub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = False
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who does not trust us hangs up
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        datahub.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield datahub
        finally:
            datahub.ended.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers in the mood of the moment."""

    protocol_version = "HTTP/1.1"
    datahub: Datahub

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self: Self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
        self.datahub.asked.append(asked)
        mood = self.datahub.moods.pop(0) if self.datahub.moods else ""
        try:
            self._in_mood(mood, asked)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _in_mood(self, mood: str, asked: Asked) -> None:
        self.close_connection = bool(mood)
        word, _, detail = mood.partition(" ")
        if word.isdecimal():
            headers = dict([detail.split("=")] if detail else [])
            self._send_raw(int(word), f"in a mood: \x1b[31m{word}".encode(), **headers)
        elif word == "echo":
            self._send_raw(int(detail), json.dumps(asked.headers).encode())
        elif word == "silent":
            self.datahub.ended.wait(30)
        elif word == "cut":
            self.datahub.take(asked)
        elif word == "garbage":
            self._send_raw(200, b"<html>I am a proxy</html>", 25)
        elif word == "cut-body":
            self.datahub.take(asked)
            self._send_raw(200, b"{", 1000)
        elif word in {"endless", "trickle"}:
            self._never_end(asked, slowly=word == "trickle")
        else:
            self._send(*self.datahub.take(asked))

    def _never_end(self, asked: Asked, *, slowly: bool) -> None:
        self.datahub.take(asked)
        self._send_raw(200, b"", 10**12)
        while not self.datahub.ended.wait(0.05 if slowly else 0):
            self.wfile.write(b" " if slowly else b" " * 65536)

    def _send(self, status: int, answer: Any, **headers: str) -> None:
        self._send_raw(status, json.dumps(answer).encode(), **headers)

    def _send_raw(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
