"""`/tests`: the tests of all results."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ci_pipeline import settings, store
from ci_pipeline.datahub import queries
from ci_pipeline.datahub.api.answers import Page, page
from ci_pipeline.datahub.api.parameters import TestQuery
from ci_pipeline.datahub.model import FoundTest

router = APIRouter(prefix="/tests", tags=["tests"])


@router.get("", response_model=Page[FoundTest])
def list_tests(request: Request, query: Annotated[TestQuery, Query()]) -> Response:
    """List tests, the newest first, each with the id of its result: how a test did over time, or what failed lately."""
    with store.session() as session:
        found = queries.found_tests(session, settings.current(), query.wanted(), limit=query.limit, before=query.cursor)
    return page(request, found)
