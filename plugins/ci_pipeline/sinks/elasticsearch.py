"""Elasticsearch or OpenSearch, by the bulk API: documents in the fields of the Elastic Common Schema (ECS).

Why not the package `elasticsearch`: it refuses to talk to OpenSearch, tries again by itself, and brings a transport of
its own beside httpx. What is needed of it is one POST. Documents are created under the id of their delivery: one that
is there already answers 409, which is as good as taken. That holds for an index and for a data stream.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from ci_pipeline.datahub.model import RunResult
from ci_pipeline.errors import SinkError, SinkFailed, SinkRefused, SinkUnreachable
from ci_pipeline.executors.report import clean
from ci_pipeline.outcome import Status
from ci_pipeline.sink_sections import ElasticsearchSink
from ci_pipeline.sinks.client import Client
from ci_pipeline.sinks.parcel import Parcel

ECS_VERSION: Final = "8.11.0"
_OUTCOMES: Final = {Status.SUCCESS: "success", Status.UNSTABLE: "failure", Status.FAILURE: "failure"}
_TYPES: Final = {"queued": "info", "running": "start", "complete": "end", "skipped": "info"}
_THERE_ALREADY: Final = 409
_LATER: Final = {404, 429, 503}
_LONGEST_REASON: Final = 1000


class _Made(BaseModel):
    id: str | None = None
    status: int
    error: Any = None


class _Item(BaseModel):
    create: _Made


class _BulkAnswer(BaseModel):
    items: list[_Item]


class Elasticsearch:
    """Creates up to a hundred documents with one request."""

    at_once: Final = 100

    def __init__(self, sink: ElasticsearchSink, client: Client) -> None:
        """Use the connections of the sink."""
        self._sink = sink
        self._client = client

    def deliver(self, parcels: Sequence[Parcel]) -> list[SinkError | None]:
        """Create documents. See `Sink`."""
        lines = (json.dumps(line) for parcel in parcels for line in (self._action(parcel), document_of(parcel)))
        body = "".join(f"{line}\n" for line in lines).encode()
        answer = self._client.request("POST", "/_bulk", content=body, headers={"content-type": "application/x-ndjson"})
        try:
            items = _BulkAnswer.model_validate_json(answer.body).items
        except ValidationError as error:
            msg = f"it answered a bulk request with something else: {answer.text}"
            raise SinkFailed(msg) from error
        if len(items) != len(parcels):
            msg = f"it was sent {len(parcels)} documents and answered about {len(items)}"
            raise SinkFailed(msg)
        return [_error_of(item.create) for item in items]

    def _action(self, parcel: Parcel) -> dict[str, Any]:
        return {"create": {"_index": self._sink.index, "_id": parcel.id}}


def document_of(parcel: Parcel) -> dict[str, Any]:
    """Return a parcel as a document of ECS; what ECS has no field for is below `ci_pipeline`."""
    change = parcel.run.change
    return {
        "@timestamp": parcel.at.isoformat(),
        "ecs": {"version": ECS_VERSION},
        "message": f"{change} {parcel.event} {parcel.status}{f': {parcel.reason}' if parcel.reason else ''}",
        "event": _event(parcel),
        "package": _package(parcel),
        "service": {"name": "ci-pipeline", "type": "ci-pipeline"},
        "labels": {"branch": change.branch, "kind": parcel.run.kind, "stage": parcel.stage, "status": parcel.status},
        "ci_pipeline": _own(parcel),
    }


def _event(parcel: Parcel) -> dict[str, Any]:
    began, ended = _span(parcel)
    found = {
        "id": parcel.id,
        "kind": "event",
        "category": ["package"],
        "type": [_TYPES[parcel.event.rpartition(".")[2]]],
        "action": parcel.event,
        "outcome": _outcome(parcel),
        "dataset": "ci_pipeline.result",
        "provider": parcel.run.dag,
        "reason": parcel.reason or None,
        "url": parcel.run.url,
        "start": began.isoformat() if began else None,
        "end": ended.isoformat() if ended else None,
        # In nanoseconds, as ECS has it.
        "duration": int((ended - began).total_seconds() * 1e9) if began and ended else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _span(parcel: Parcel) -> tuple[datetime | None, datetime | None]:
    """Return when what has ended began and ended."""
    if parcel.status in {"QUEUED", "RUNNING"}:
        return (parcel.result.started_at if parcel.result else None), None
    if parcel.result is not None:
        return parcel.result.started_at, parcel.result.ended_at
    return parcel.run.created_at, parcel.at


def _outcome(parcel: Parcel) -> str:
    known = {str(status): outcome for status, outcome in _OUTCOMES.items()}
    return known.get(parcel.status, "unknown")


def _package(parcel: Parcel) -> dict[str, str]:
    nvr = parcel.subject.get("nvr") or parcel.subject.get("original_spec_nvr", "")
    parts = nvr.rsplit("-", 2)
    version = {"version": "-".join(parts[1:])} if len(parts) > 1 else {}
    change = parcel.run.change
    return {"name": change.repo, "type": "rpm", "architecture": parcel.arch, "build_version": change.rev, **version}


def _own(parcel: Parcel) -> dict[str, Any]:
    """Return what ECS has no field for. `outputs` stay out: each would be a field of the index."""
    run = parcel.run
    return {
        **parcel.subject,
        "testcase": parcel.testcase,
        "fault": parcel.fault,
        "run": run.id,
        "group": parcel.group,
        "namespace": run.change.namespace,
        "ref": run.ref,
        **(_of_try(parcel.result) if parcel.result else {}),
    }


def _of_try(result: RunResult) -> dict[str, Any]:
    return {
        "result": result.id,
        "try_number": result.try_number,
        "tests": result.counts,
        "tool_seconds": result.tool_seconds,
    }


def _error_of(made: _Made) -> SinkError | None:
    if made.status < 300 or made.status == _THERE_ALREADY:  # noqa: PLR2004 - HTTP's own
        return None
    said = f"it answered {made.status} to a document: {clean(json.dumps(made.error))[:_LONGEST_REASON]}"
    if made.status in _LATER:
        return SinkUnreachable(said)
    return SinkFailed(said) if made.status >= 500 else SinkRefused(said)  # noqa: PLR2004 - HTTP's own
