"""Makers of storms."""

import json
from hashlib import sha1

from sqlalchemy import select

from ci_pipeline import store
from ci_pipeline.intake import Intake
from ci_pipeline.settings import Settings
from ci_pipeline.store import runs
from ci_pipeline.store.ledger import Received
from ci_pipeline.store.tables import Run
from ci_pipeline.storm_sections import Storm
from tests.makers import pushed

RELENG = "releng"
PACKAGES = [f"package-{number}" for number in range(100)]


def stormy(current: Settings, **bounds: object) -> Settings:
    """Return settings that watch many packages, with these bounds of storms."""
    packages = current.packages.model_copy(update={"monitored": [*current.packages.monitored, *PACKAGES]})
    return current.model_copy(update={"packages": packages, "storm": Storm.model_validate(bounds)})


def push_of(repo: str, *, by: str = RELENG, name: str = "", branch: str = "f26") -> Received:
    """Return the message of a push of somebody's; each name is another revision."""
    rev = sha1(f"{repo} {name}".encode(), usedforsecurity=False).hexdigest()
    message = pushed(repo, rev=rev, branch=branch)
    body = json.loads(message.raw)
    return Received(message.topic, message.message_id, json.dumps({**body, "agent": by}).encode())


def take_up(settings: Settings, *messages: Received) -> None:
    """Let the intake take up a batch."""
    Intake(settings, trigger_run_id="x").record(messages)


def rebuild(settings: Settings, number: int, *, by: str = RELENG, branch: str = "f26") -> None:
    """Let an account push so many packages."""
    take_up(settings, *(push_of(repo, by=by, branch=branch) for repo in PACKAGES[:number]))


def lanes_of() -> list[str]:
    """Return the lane of every run, in order."""
    with store.session() as session:
        return list(session.scalars(select(Run.lane).order_by(Run.id)))


def waiting() -> list[str]:
    """Return the packages that go at once."""
    with store.session() as session:
        return [run.repo for run in runs.not_fired(session)]
