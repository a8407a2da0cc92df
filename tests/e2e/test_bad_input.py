"""Bad input has a clear result, and the pipeline goes on."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline import stack, store
from ci_pipeline.settings import Settings
from ci_pipeline.store.tables import Inbound, Run
from tests.distgit import DistGit, package
from tests.e2e.conftest import RECEIVE, Bus, push, wait_until

# Names that are watched, so that what is wrong with them is found by the build.
WATCHED = "greeter"


def last_reason(rev: str) -> str:
    """Return the reason of a revision's run."""
    with store.session() as session:
        return session.scalars(select(Run.reason).where(Run.rev == rev)).one()


@pytest.mark.parametrize(
    ("repo", "branch", "reason"),
    [
        ("polari", "f26", "package polari is not watched"),
        (WATCHED, "f99", "branch f99 has no pipeline"),
    ],
)
def test_what_is_not_watched_is_ignored_with_a_reason(
    bus: Bus, recorded: Path, repo: str, branch: str, reason: str
) -> None:
    """And announced as such."""
    rev = f"{abs(hash((repo, branch))):040x}"[:40]
    push(bus, recorded, repo, rev, branch)
    bus.wait_for("package.ignore", rev, seconds=60)
    with store.session() as session:
        row = session.scalars(select(Inbound).where(Inbound.rev == rev)).one()

    assert row.state == "ignored"
    assert row.reason.startswith(reason)


@pytest.mark.parametrize("raw", [b"not json", b'{"commit": {}}', json.dumps({"commit": {"rev": "HEAD"}}).encode()])
def test_a_malformed_message_is_a_dead_letter(bus: Bus, raw: bytes) -> None:
    """With a reason, and it holds up nothing."""
    bus.publish(RECEIVE, raw)

    def dead(session: Session) -> Inbound | None:
        return session.scalar(select(Inbound).where(Inbound.body == raw.decode(), Inbound.state == "dead"))

    assert wait_until(dead, seconds=60, what="a dead letter").reason


@pytest.fixture(scope="module")
def known_head(bus: Bus, distgit: DistGit) -> None:
    """A run of the branch's head: one nobody has heard of is looked for, and takes the place of what waits."""
    head = distgit.commit(WATCHED, package(WATCHED, "0.1", check="exit 1"))
    push(bus, Path(__file__).parents[1] / "data" / "messages", WATCHED, head)
    bus.wait_for("complete", head)


@pytest.mark.usefixtures("known_head")
def test_an_unknown_revision_fails_with_the_reason(bus: Bus, recorded: Path) -> None:
    """The message was wrong, or the commit was forced away."""
    rev = "0123456789abcdef0123456789abcdef01234567"
    push(bus, recorded, WATCHED, rev)
    messages = bus.wait_for("complete", rev)

    assert messages[-1]["body"]["status"] == "FAILURE"
    assert rev[:7] in last_reason(rev)


@pytest.mark.usefixtures("known_head")
def test_a_revision_of_another_branch_fails_with_the_reason(bus: Bus, recorded: Path, distgit: DistGit) -> None:
    """It would be built with the wrong dist."""
    rev = distgit.commit(WATCHED, package(WATCHED, "0.2"), branch="elsewhere")
    push(bus, recorded, WATCHED, rev)
    messages = bus.wait_for("complete", rev)

    assert messages[-1]["body"]["status"] == "FAILURE"
    assert "not on" in last_reason(rev)


def test_two_specs_fail_with_the_reason(bus: Bus, recorded: Path, distgit: DistGit) -> None:
    """Which one is meant cannot be known."""
    files = package(WATCHED, "0.3") | {"other.spec": "Name: other\n"}
    rev = distgit.commit(WATCHED, files)
    push(bus, recorded, WATCHED, rev)
    bus.wait_for("complete", rev)
    distgit.commit(WATCHED, {}, remove=("other.spec",))

    assert "other.spec" in last_reason(rev)


def test_no_spec_fails_with_the_reason(bus: Bus, recorded: Path, distgit: DistGit) -> None:
    """There is nothing to build."""
    distgit.commit(WATCHED, package(WATCHED, "0.4"))
    rev = distgit.commit(WATCHED, {}, remove=(f"{WATCHED}.spec",))
    push(bus, recorded, WATCHED, rev)
    bus.wait_for("complete", rev)

    assert "spec" in last_reason(rev)


def test_a_broken_spec_fails_with_the_reason(bus: Bus, recorded: Path, distgit: DistGit) -> None:
    """In rpm's own words."""
    rev = distgit.commit(WATCHED, package(WATCHED, "0.5") | {f"{WATCHED}.spec": "%if 1\nName: broken\n"})
    push(bus, recorded, WATCHED, rev)
    messages = bus.wait_for("complete", rev)

    assert messages[-1]["body"]["status"] == "FAILURE"
    assert last_reason(rev)


def test_the_stack_is_well_after_all_of_it(pipeline: Settings, bus: Bus, recorded: Path) -> None:
    """Every component answers, and the next message is taken up."""
    rev = "8" * 40
    push(bus, recorded, "polari", rev)
    bus.wait_for("package.ignore", rev, seconds=60)

    assert not [one for one in stack.status().components if one.advice]
