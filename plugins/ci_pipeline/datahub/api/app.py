"""The application: its routers, who may read, and its description."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, FastAPI, Request, Security
from fastapi.security import HTTPBearer

from ci_pipeline import settings
from ci_pipeline.datahub.api import images, problems, results, runs, tests
from ci_pipeline.datahub.api.edge import Edge
from ci_pipeline.datahub.api.parameters import refuse_unknown
from ci_pipeline.gating import routes as gating
from ci_pipeline.ui.access import FindViewer, signed_in
from ci_pipeline.ui.bounds import Bounded

VERSION: Final = "1.0.0"
BASE: Final = "/api/v1"
ROUTERS: Final[tuple[APIRouter, ...]] = (runs.router, results.router, tests.router, images.router)
_ABOUT: Final = """\
What CI-Pipeline knows of every change: its runs, what came of each try of a stage, the tests and the files.

Nothing can be changed here, but that a test is waived. Lists are newest first; `next` is the address of the next page,
null on the last. An answer has an `ETag`: sent back as `If-None-Match`, it makes the answer 304 as long as nothing has
changed. Ids are made of what they name, and stay. Errors are problems as of RFC 9457; their `detail` says what to do.

Decisions and waivers have the shapes of Greenwave and WaiverDB, whose users need no other client here."""


async def reading(
    request: Request,
    _token: Annotated[
        object, Security(HTTPBearer(auto_error=False, description="a token of Airflow: docs/datahub.md"))
    ],
) -> None:
    """Let pass who may read: everyone, if `datahub.anonymous` says so.

    Raises:
        HTTPException: 401, nobody is signed in; 403, they may not read.
    """
    if not settings.current().datahub.anonymous:
        await signed_in(request)


def create_app(find_viewer: FindViewer) -> FastAPI:
    """Return the API.

    Args:
        find_viewer: tells who asks. Every route goes through it, but for the API's own description.
    """
    app = FastAPI(
        title="CI-Pipeline's datahub",
        version=VERSION,
        summary="What came of every change.",
        description=_ABOUT,
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_url=f"{BASE}/openapi.json",
        # Swagger and ReDoc load scripts of foreign hosts, or have some in the page: neither is let in here.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(reading), Depends(refuse_unknown)],
        responses=problems.RESPONSES,
    )
    app.state.find_viewer = find_viewer
    for router in ROUTERS:
        app.include_router(router, prefix=BASE)
    app.include_router(gating.router)
    problems.handle(app)
    app.add_middleware(Edge)
    app.add_middleware(Bounded)
    return app
