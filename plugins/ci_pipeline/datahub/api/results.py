"""`/results`: what came of every try of a stage, with its artifacts and tests."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from ci_pipeline import settings, store
from ci_pipeline.change import Name
from ci_pipeline.datahub import queries
from ci_pipeline.datahub.api.answers import Page, answer, page
from ci_pipeline.datahub.api.parameters import Number, ResultQuery, StageName, TestsOfResultQuery
from ci_pipeline.datahub.filters import Filter, TestFilter
from ci_pipeline.datahub.model import FoundTest, RunResult

router = APIRouter(prefix="/results", tags=["results"])


def _id(branch: Name, number: Number, stage: StageName, try_number: Number) -> str:
    return f"{branch}/{number}/{stage}/{try_number}"


@router.get("", response_model=Page[RunResult])
def list_results(request: Request, query: Annotated[ResultQuery, Query()]) -> Response:
    """List results, the newest first: every try of every stage, those that still run among them."""
    with store.session() as session:
        found = queries.results(session, settings.current(), query.wanted(), limit=query.limit, before=query.cursor)
    return page(request, found)


@router.get("/{branch}/{number}/{stage}/{try_number}", response_model=RunResult)
def show_result(request: Request, result_id: Annotated[str, Depends(_id)]) -> Response:
    """Show a result with its run and its artifacts."""
    with store.session() as session:
        found = queries.result(session, settings.current(), result_id)
    return answer(request, found)


@router.get("/{branch}/{number}/{stage}/{try_number}/tests", response_model=Page[FoundTest], tags=["tests"])
def list_tests_of_result(
    request: Request, result_id: Annotated[str, Depends(_id)], query: Annotated[TestsOfResultQuery, Query()]
) -> Response:
    """List the tests of a result, the last first."""
    run, stage, try_number = result_id.rsplit("/", 2)
    wanted = TestFilter(
        of=Filter(run=run, stage=stage), try_number=int(try_number), name=query.name, outcome=query.outcome
    )
    with store.session() as session:
        queries.known_result(session, result_id)
        found = queries.found_tests(session, settings.current(), wanted, limit=query.limit, before=query.cursor)
    return page(request, found)
