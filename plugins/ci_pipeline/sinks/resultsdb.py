"""ResultsDB, API 2.0.

Why not the package `resultsdb-api`: its calls have no timeout, read answers whole, follow redirects with the password,
and try a POST again by themselves, which would double a result. What is needed of it is one POST and one GET.

ResultsDB has no key that makes a result unique. So each has our id in its data, and what was tried before is looked for
first.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from ci_pipeline.errors import SinkError, SinkFailed
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.sink_sections import ResultsDbSink
from ci_pipeline.sinks.client import Client
from ci_pipeline.sinks.parcel import Parcel

# The key of a result's data that has the id of the delivery.
IDENTITY: Final = "ci_pipeline_id"
_OUTCOMES: Final = {
    Status.SUCCESS: "PASSED",
    Status.UNSTABLE: "NEEDS_INSPECTION",
    Status.FAILURE: "FAILED",
    Status.SKIPPED: "INFO",
}
_NOT_OF_THE_PACKAGE: Final = "NEEDS_INSPECTION"


class ResultsDb:
    """Posts one result at a time."""

    at_once: Final = 1

    def __init__(self, sink: ResultsDbSink, client: Client) -> None:
        """Use the connections of the sink."""
        self._sink = sink
        self._client = client

    def deliver(self, parcels: Sequence[Parcel]) -> list[SinkError | None]:
        """Post a result that is not there. See `Sink`."""
        (parcel,) = parcels
        if not (parcel.again and self._is_there(parcel)):
            self._client.request("POST", "/results", json=result_of(parcel, self._sink))
        return [None]

    def _is_there(self, parcel: Parcel) -> bool:
        wanted = {IDENTITY: parcel.id, "testcases": parcel.testcase, "limit": "1"}
        answer = self._client.request("GET", "/results", params=wanted)
        try:
            return bool(json.loads(answer.body)["data"])
        except (ValueError, KeyError, TypeError) as error:
            msg = f"it answered a question for results with something else: {answer.text}"
            raise SinkFailed(msg) from error


def result_of(parcel: Parcel, sink: ResultsDbSink) -> dict[str, Any]:
    """Return what is posted."""
    change, run = parcel.run.change, parcel.run
    return {
        "testcase": {"name": parcel.testcase},
        "outcome": outcome_of(parcel, sink),
        "groups": [{"uuid": parcel.group, "ref_url": run.url, "description": f"{change} ({run.id})"}],
        "note": parcel.reason,
        "ref_url": run.url,
        "data": {
            **_item(parcel, sink),
            **parcel.subject,
            "arch": parcel.arch,
            "branch": change.branch,
            "rev": change.rev,
            "repo": f"{change.namespace}/{change.repo}",
            "ref": run.ref,
            "run": run.id,
            IDENTITY: parcel.id,
        },
    }


def outcome_of(parcel: Parcel, sink: ResultsDbSink) -> str:
    """Return the outcome: what the infrastructure or a person ended says nothing about the package."""
    if parcel.status in {"QUEUED", "RUNNING"}:
        return parcel.status
    if parcel.status == Status.ABORTED or parcel.fault == Fault.INFRASTRUCTURE:
        return "ERROR" if "ERROR" in sink.outcomes else _NOT_OF_THE_PACKAGE
    return _OUTCOMES[Status(parcel.status)]


def _item(parcel: Parcel, sink: ResultsDbSink) -> dict[str, str]:
    """Return what the result is about: the build, the compose or the image; the commit before there is one of these."""
    change, subject = parcel.run.change, parcel.subject
    build = subject.get("nvr") or subject.get("original_spec_nvr")
    if parcel.event.startswith("image.") and "image_name" in subject:
        return {"item": subject["image_name"], "type": "image"}
    if parcel.event.startswith(("compose.", "image.")) and "compose_rev" in subject:
        return {"item": subject["compose_rev"], "type": "ostree_commit"}
    if build:
        return {"item": build, "type": sink.build_type}
    return {"item": f"{change.namespace}/{change.repo}#{change.rev}", "type": "dist_git_commit"}
