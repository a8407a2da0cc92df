"""Small makers of the things tests are about."""

import json
from typing import Any

from ci_pipeline import store
from ci_pipeline.change import Change
from ci_pipeline.executors.report import Report, Reused
from ci_pipeline.journal import Journal
from ci_pipeline.outcome import Fault, Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import BUILD_PACKAGE, STAGES, Stage
from ci_pipeline.store import runs
from ci_pipeline.store.ledger import Received
from ci_pipeline.store.tables import Run

REV = "35fdde92a0292def6a99acd3c237272789d020b2"
COMPOSE_REV = "9a4e37c459e67c7187df4c571ddd0ad75969633d40bdfaa7c1d95bbff5fe1e04"
PUSHED = "org.fedoraproject.prod.git.receive"

# A change on a branch where an image is due and there is no cluster.
EVENTS_OF_A_GOOD_RUN = [
    "package.running",
    "package.complete",
    "package.test.functional.queued",
    "package.test.functional.running",
    "package.test.functional.complete",
    "compose.running",
    "compose.complete",
    "compose.test.integration.queued",
    "compose.test.integration.running",
    "compose.test.integration.complete",
    "image.running",
    "image.complete",
    "image.test.smoke.running",
    "image.test.smoke.complete",
    "complete",
]

OUTPUTS: dict[str, dict[str, Any]] = {
    "build_package": {
        "original_spec_nvr": "greeter-1.0-1.fc26",
        "nvr": "greeter-1.0-1.3.35fdde9.fc26",
        "packages": ["greeter"],
    },
    "compose_ostree": {"compose_rev": COMPOSE_REV, "version": "26.1", "parent_rev": ""},
    "generate_image": {
        "image_name": "fedora-atomic-26.1-9a4e37c459e67c7.qcow2",
        "image_size": 20_000_000,
        "image_sha256": "0" * 64,
    },
}


def change(repo: str = "greeter", *, rev: str = REV, branch: str = "f26", namespace: str = "rpms") -> Change:
    """Return a change."""
    return Change(namespace=namespace, repo=repo, rev=rev, branch=branch)


def received(body: object, *, topic: str = PUSHED, message_id: str = "m-1") -> Received:
    """Return a message as it comes off the bus."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Received(topic=topic, message_id=message_id, raw=raw)


def pushed(repo: str = "greeter", *, rev: str = REV, branch: str = "f26", namespace: str = "rpms") -> Received:
    """Return the message of a push, in today's form."""
    path = f"/srv/git/repositories/{namespace}/{repo}.git"
    commit = {"namespace": namespace, "repo": repo, "rev": rev, "branch": branch, "path": path}
    return received({"agent": "packager", "commit": commit})


EVENTS_OF_CONFORMANCE = [f"image.test.conformance.{what}" for what in ("queued", "running", "complete")]


def report(stage: Stage, status: Status = Status.SUCCESS, reason: str = "", fault: Fault = Fault.NONE) -> Report:
    """Return a stage's report, with what it makes known when it is a success."""
    outputs = OUTPUTS.get(stage.name, {}) if status is Status.SUCCESS else {}
    return Report(status=status, reason=reason, fault=fault, outputs=outputs)


def new_run(repo: str = "greeter", **fields: str) -> Run:
    """Store a run of a change and return it."""
    with store.session() as session:
        return runs.create(session, change(repo, **fields))


def reuse_build(settings: Settings, run: Run, origin: Run) -> None:
    """Let the build of a run have taken what that of another run made."""
    with store.session() as session:
        made = runs.latest_results(session, origin.id)[BUILD_PACKAGE.name]
        taken = Reused(**report(BUILD_PACKAGE).model_dump(), source=made.id)
        journal, row = Journal(session, settings), runs.locked(session, run.id)
        journal.begin_stage(row, BUILD_PACKAGE, 1)
        journal.finish_stage(row, BUILD_PACKAGE, 1, taken, final=True)


def play(settings: Settings, run: Run, *statuses: Status, first: int = 0, try_number: int = 1) -> None:
    """Let stages of a run begin and end, one status each."""
    for stage, status in zip(STAGES[first:], statuses, strict=False):
        with store.session() as session:
            journal, row = Journal(session, settings), runs.locked(session, run.id)
            journal.begin_stage(row, stage, try_number)
            journal.finish_stage(row, stage, try_number, report(stage, status, reason="because"), final=True)
