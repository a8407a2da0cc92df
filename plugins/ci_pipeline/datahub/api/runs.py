"""`/runs`: the runs of the pipeline."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ci_pipeline import settings, store
from ci_pipeline.change import Name
from ci_pipeline.datahub import queries
from ci_pipeline.datahub.api.answers import Page, answer, page
from ci_pipeline.datahub.api.parameters import Number, RunQuery
from ci_pipeline.datahub.model import Run, RunStages

router = APIRouter(prefix="/runs", tags=["runs"])


@router.get("", response_model=Page[Run])
def list_runs(request: Request, query: Annotated[RunQuery, Query()]) -> Response:
    """List runs, the newest first."""
    with store.session() as session:
        found = queries.run_list(session, settings.current(), query.wanted(), limit=query.limit, before=query.cursor)
    return page(request, found)


@router.get("/{branch}/{number}", response_model=RunStages)
def show_run(request: Request, branch: Name, number: Number) -> Response:
    """Show a run with the newest try of each of its stages that have begun."""
    with store.session() as session:
        found = queries.run(session, settings.current(), f"{branch}/{number}")
    return answer(request, found)
