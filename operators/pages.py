"""The pages as Airflow mounts them, and where they appear in its UI."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ci_pipeline.addresses import LOG_FILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

PREFIX: Final = "ci-pipeline"


class Late:
    """An application that is made when the first request comes in.

    Every component of Airflow loads the plugins, the process of every task among them; only the api-server answers.
    """

    def __init__(self, make: Callable[[], FastAPI]) -> None:
        """Take what makes it."""
        self._make = cache(make)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._make()(scope, receive, send)


def _pages() -> FastAPI:
    from ci_pipeline.ui.app import create_app  # noqa: PLC0415 - see above
    from operators.ui_access import find_viewer  # noqa: PLC0415 - see above

    return create_app(find_viewer)


def _log_files() -> FastAPI:
    from ci_pipeline import log_files  # noqa: PLC0415 - see above
    from operators.ui_access import may_read_logs  # noqa: PLC0415 - see above

    return log_files.app(may_read_logs)


def _datahub() -> FastAPI:
    from ci_pipeline.datahub.api.app import create_app  # noqa: PLC0415 - see above
    from operators.ui_access import find_viewer  # noqa: PLC0415 - see above

    return create_app(find_viewer)


def fastapi_apps() -> list[dict[str, Any]]:
    """Return the pages, the logs that links of stages lead to, and the datahub's API, to be mounted."""
    return [
        {"app": Late(_pages), "url_prefix": f"/{PREFIX}", "name": "CI-Pipeline"},
        {"app": Late(_log_files), "url_prefix": LOG_FILES, "name": "Logs of CI-Pipeline's stages"},
        {"app": Late(_datahub), "url_prefix": f"/{PREFIX}-datahub", "name": "CI-Pipeline's datahub"},
    ]


def external_views() -> list[dict[str, Any]]:
    """Return the entries of the navigation and the tab of a run.

    The addresses are relative: the browser resolves them against Airflow's own base, wherever it is served.
    """
    pipeline = {"name": "CI Pipeline", "href": f"{PREFIX}/", "url_route": "ci-pipeline", "nav_top_level": True}
    images = {"name": "CI images", "href": f"{PREFIX}/images", "url_route": "ci-images", "category": "browse"}
    bus = {"name": "CI bus", "href": f"{PREFIX}/bus", "url_route": "ci-bus", "category": "browse"}
    tab = {"name": "Change", "href": f"{PREFIX}/change/{{RUN_ID}}?dag={{DAG_ID}}", "url_route": "ci-change"}
    nav: list[dict[str, Any]] = [pipeline, images, bus]
    return [*({**entry, "destination": "nav"} for entry in nav), {**tab, "destination": "dag_run"}]
