"""Change: everything about one change, on one page."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from ci_pipeline import settings, store
from ci_pipeline.errors import StoreError
from ci_pipeline.insight import keys, trace, tracing
from ci_pipeline.ui.access import SignedIn
from ci_pipeline.ui.links import Links
from ci_pipeline.ui.rendering import answer

router = APIRouter()

_SEE_OTHER = 303


@router.get("/change")
def search(request: Request, key: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Lead from the search field to the permalink."""
    if not key.strip():
        return RedirectResponse(Links.of(request).page(), _SEE_OTHER)
    return RedirectResponse(Links.of(request).change(key.strip()), _SEE_OTHER)


@router.get("/change/{key:path}")
def change(request: Request, viewer: SignedIn, key: str, dag: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Show the trace of what the key means; where it means several things, a list to choose from."""
    with store.session() as session:
        try:
            found = keys.find(session, key, dag=dag or None)
        except StoreError:
            return answer(request, "unknown.html", status=404, key=key, dag=dag, advice=keys.ADVICE)
        if len(found) > 1:
            choices = [trace.Choice.of(one) for one in found]
            return answer(request, "choose.html", key=key, choices=choices)
        told = tracing.read(session, settings.current(), found[0])
    failed, others = trace.failed_first(told.tests)
    return answer(request, "change.html", trace=told, failed=failed, others=others, may_act=viewer.may_act)
