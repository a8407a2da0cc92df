"""Waive: what the form on the page of a change sends."""

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, HTTPException, Request, status
from starlette.responses import RedirectResponse, Response

from ci_pipeline import settings, store
from ci_pipeline.gating import waivers
from ci_pipeline.gating.asked import AskedWaiver, body_of, read
from ci_pipeline.ui.access import SignedIn, acting
from ci_pipeline.ui.links import Links

router = APIRouter()

_MOST_FIELDS = 10
_LONGEST_KEY = 300


@router.post("/waive", dependencies=[Depends(acting)])
def waive(request: Request, viewer: SignedIn, body: Annotated[bytes, Depends(body_of)]) -> Response:
    """Waive a test, or take a waiver back, in the name of who is signed in; then back to the change."""
    fields = _fields(body)
    key = fields.pop("key", "")[:_LONGEST_KEY]
    asked = read(AskedWaiver, fields)
    with store.session() as session:
        waivers.add(session, settings.current(), asked.wish, who=viewer.name)
    page = Links.of(request).change(key or asked.subject_identifier)
    return RedirectResponse(f"{page}#gating", status.HTTP_303_SEE_OTHER)


def _fields(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), strict_parsing=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "This is not the form of a change's page.") from error
