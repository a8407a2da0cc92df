"""Images: what every branch has, and when the next one is due."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from ci_pipeline import settings, store
from ci_pipeline.insight import image_list
from ci_pipeline.ui.rendering import answer

router = APIRouter()


@router.get("/images")
def images(request: Request) -> Response:
    """Show the newest images of every branch."""
    configured = settings.current()
    with store.session() as session:
        branches = image_list.per_branch(session, configured)
    return answer(request, "images.html", branches=branches, hours=configured.image.interval_hours)
