"""Pipeline: the newest change of every package, stage by stage."""

from itertools import groupby
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ci_pipeline import settings, store
from ci_pipeline.insight import matrix
from ci_pipeline.outcome import Status
from ci_pipeline.ui.rendering import answer

router = APIRouter()

Wanted = Literal["", "running", "SUCCESS", "UNSTABLE", "FAILURE", "ABORTED"]
Text = Annotated[str, Query(max_length=300)]
_ENDED: Final = (Status.SUCCESS, Status.UNSTABLE, Status.FAILURE, Status.ABORTED)


@router.get("/")
def pipeline(
    request: Request, *, branch: Text = "", package: Text = "", status: Wanted = "", after: Text = ""
) -> Response:
    """Show a page of the matrix."""
    configured = settings.current()
    wanted = matrix.Wanted(branch, package.strip(), status, after)
    with store.session() as session:
        page = matrix.page(session, configured, wanted)
    return answer(
        request,
        "pipeline.html",
        wanted=wanted,
        page=page,
        branches=_by_branch(page, [branch] if branch or after else sorted(configured.branches)),
        all_branches=sorted(configured.branches),
        statuses=[matrix.RUNNING, *_ENDED],
    )


def _by_branch(page: matrix.Page, also: list[str]) -> dict[str, list[matrix.Row]]:
    """Return the rows of each branch, what goes on first; branches of `also` are there without any, too."""
    found: dict[str, list[matrix.Row]] = {name: [] for name in also if name}
    for rows in (page.going_on, page.ended):
        for name, group in groupby(rows, key=lambda row: row.change.branch):
            found.setdefault(name, []).extend(group)
    return dict(sorted(found.items()))
