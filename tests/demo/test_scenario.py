"""When the demo may say that all went as it should."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ci_pipeline.datahub.model import RunResults
from ci_pipeline.demo.packager import Pushed
from ci_pipeline.demo.scenario import Act, Told, problems
from ci_pipeline.demo.state import BranchState
from ci_pipeline.lane import Lane
from tests.makers import change

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OLD, NEW = BranchState("a" * 64, ("greeter-1.rpm",)), BranchState("b" * 64, ("greeter-2.rpm",))


def act(status: str, *, before: BranchState, after: BranchState, published: bool = True) -> Act:
    """Return a push whose run's `complete` says `status`."""
    return Act(
        pushed=Pushed(rev="0" * 40, subject="A change", at=NOW, said=""),
        run=RunResults(
            id="f26/1",
            run="r",
            dag="ci-pipeline-f26",
            build_id=1,
            kind="push",
            lane=Lane.LIVE,
            change=change(),
            ref="fedora/f26/x86_64/atomic-host",
            status=status,
            reason="",
            created_at=NOW,
            fired_at=NOW,
            ended_at=NOW,
            pruned_at=None,
            url="http://127.0.0.1",
            stages=(),
        ),
        seconds=1,
        told=(
            Told("org.centos.prod.ci.pipeline.package.complete", "SUCCESS", published=True),
            Told("org.centos.prod.ci.pipeline.complete", status, published),
        ),
        before=before,
        after=after,
    )


GOOD = act("SUCCESS", before=OLD, after=NEW)
BAD = act("FAILURE", before=NEW, after=NEW)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        (act("UNSTABLE", before=OLD, after=NEW), None, "UNSTABLE, not SUCCESS"),
        (act("SUCCESS", before=OLD, after=NEW, published=False), None, "nothing, not SUCCESS"),
        (act("SUCCESS", before=OLD, after=OLD), None, "moved neither"),
        (act("SUCCESS", before=OLD, after=BranchState("", ())), None, "moved neither"),
        (replace(GOOD, told=(*GOOD.told, GOOD.told[-1])), None, "nothing, not SUCCESS"),
        (GOOD, act("SUCCESS", before=NEW, after=NEW), "SUCCESS, not FAILURE"),
        (GOOD, act("FAILURE", before=NEW, after=replace(NEW, rev="c" * 64)), "moved the branch's OSTree ref"),
        (GOOD, act("FAILURE", before=NEW, after=replace(NEW, packages=())), "changed the branch's package set"),
    ],
)
def test_whatever_is_not_as_promised_is_said(good: Act, bad: Act | None, said: str) -> None:
    """Each way the demo can go wrong is a problem of its own."""
    found = list(problems(good, bad))

    assert len(found) == 1
    assert said in found[0]


def test_a_demo_that_went_well_has_no_problems() -> None:
    """SUCCESS that moved the branch, then FAILURE that did not."""
    assert list(problems(GOOD, BAD)) == []
