"""Two changes of a package on one branch, both begun: the older may come to its compose after the newer's promotion."""

from pathlib import Path

import pytest

from ci_pipeline import requests, store
from ci_pipeline.errors import StageEnded
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import COMPOSE_OSTREE, FUNCTIONAL_TESTS
from ci_pipeline.store import runs
from ci_pipeline.store.tables import Run
from tests.makers import change, new_run, play

pytestmark = pytest.mark.usefixtures("database")

OK = Status.SUCCESS
PROMOTED = (OK, OK, OK, OK)
NEWER = "7" * 40


def request(settings: Settings, run: Run) -> dict[str, object]:
    """Return the request of a run's compose."""
    with store.session() as session:
        return requests.make(session, settings, run, COMPOSE_OSTREE, workspace=Path("/w"))


def test_an_older_change_is_not_composed_on_top_of_a_newer_one(current: Settings) -> None:
    """The reason names the run that was faster: the package is not to blame."""
    older, newer = new_run(), new_run(rev=NEWER)
    play(current, older, OK, OK)
    play(current, newer, *PROMOTED)

    with pytest.raises(StageEnded, match=rf"overtaken by 7777777 \(f26/{newer.number}\), which is on the branch"):
        request(current, older)


@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        ({"rev": NEWER}, (OK, OK, OK)),
        ({"rev": NEWER}, (OK, OK, OK, Status.UNSTABLE)),
        ({"rev": NEWER, "branch": "rawhide"}, PROMOTED),
        ({"repo": "hostinfo"}, PROMOTED),
        ({"rev": NEWER, "namespace": "modules"}, PROMOTED),
    ],
)
def test_what_is_not_promoted_or_not_the_same_package_overtakes_nothing(
    current: Settings, fields: dict[str, str], statuses: tuple[Status, ...]
) -> None:
    """A newer change that failed, or of another package, branch or namespace."""
    older, newer = new_run(), new_run(**fields)
    play(current, older, OK, OK)
    play(current, newer, *statuses)

    assert request(current, older)["stage"] == "compose_ostree"


def test_the_newest_is_never_overtaken(current: Settings) -> None:
    """Neither by an older one, nor by itself when its compose is run again."""
    older, newer = new_run(), new_run(rev=NEWER)
    play(current, older, *PROMOTED)
    play(current, newer, *PROMOTED)

    assert request(current, newer)["rev"] == NEWER


@pytest.mark.parametrize("side", ["older", "newer"])
def test_a_side_run_neither_overtakes_nor_is_overtaken(current: Settings, side: str) -> None:
    """It is never promoted."""
    kinds = [Kind.BACKFILL, Kind.PUSH] if side == "older" else [Kind.PUSH, Kind.BACKFILL]
    with store.session() as session:
        older = runs.create(session, change(), kind=kinds[0])
        newer = runs.create(session, change(rev=NEWER), kind=kinds[1])
    play(current, older, OK, OK)
    play(current, newer, *PROMOTED)

    assert request(current, older)["stage"] == "compose_ostree"


def test_other_stages_go_on(current: Settings) -> None:
    """Whether the package itself is good is worth knowing."""
    older, newer = new_run(), new_run(rev=NEWER)
    play(current, older, OK)
    play(current, newer, *PROMOTED)
    with store.session() as session:
        made = requests.make(session, current, older, FUNCTIONAL_TESTS, workspace=Path("/w"))

    assert made["stage"] == "functional_tests"
