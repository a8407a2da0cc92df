"""`/images`: the generated images."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ci_pipeline import settings, store
from ci_pipeline.datahub import queries
from ci_pipeline.datahub.api.answers import Page, answer, page
from ci_pipeline.datahub.api.parameters import ImageName, ImageQuery
from ci_pipeline.datahub.model import Image

router = APIRouter(prefix="/images", tags=["images"])


@router.get("", response_model=Page[Image])
def list_images(request: Request, query: Annotated[ImageQuery, Query()]) -> Response:
    """List images, the newest first; those whose file is gone have `removed_at`."""
    with store.session() as session:
        found = queries.image_list(
            session, settings.current(), branch=query.branch, limit=query.limit, before=query.cursor
        )
    return page(request, found)


@router.get("/{name}", response_model=Image)
def show_image(request: Request, name: ImageName) -> Response:
    """Show the newest image of a name."""
    with store.session() as session:
        found = queries.image(session, settings.current(), name)
    return answer(request, found)
