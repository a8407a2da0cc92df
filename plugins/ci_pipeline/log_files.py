"""The logs and reports that stages keep, over HTTP: for links in the Airflow UI. Who may read is the caller's to say.

They hold what a package says, and are sent as text, never as anything a browser would run.
"""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from ci_pipeline import settings, store
from ci_pipeline.addresses import TEXTS
from ci_pipeline.errors import DatabaseUnreachable
from ci_pipeline.executors.report import open_regular_file
from ci_pipeline.store.tables import Artifact, Run, StageResult
from ci_pipeline.ui.bounds import Bounded

_CHUNK: Final = 64 * 1024
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}


def app(may_read: Callable[..., Any]) -> FastAPI:
    """Return the application: `/<dag_id>/<id of a file>`.

    Args:
        may_read: a FastAPI dependency that raises unless the caller may read the logs of the DAG `dag_id`.
    """
    made = FastAPI(title="Logs of CI-Pipeline's stages", openapi_url=None, docs_url=None, redoc_url=None)
    made.add_middleware(Bounded)

    @made.api_route("/{dag_id}/{artifact_id}", methods=["GET", "HEAD"], dependencies=[Depends(may_read)])
    def log_file(dag_id: str, artifact_id: int) -> StreamingResponse:
        try:
            path = _path_of(dag_id, artifact_id)
            file = _opened(path)
        except DatabaseUnreachable as error:
            raise HTTPException(503, str(error)) from error
        except OSError as error:
            raise HTTPException(404, "this log is not kept any more, or was never written") from error
        return StreamingResponse(_chunks(file), media_type="text/plain; charset=utf-8", headers=_HEADERS)

    return made


def _path_of(dag_id: str, artifact_id: int) -> Path:
    """Return where a log of a DAG's run is. Raises FileNotFoundError."""
    with store.session() as session:
        log = select(Artifact.path).join(StageResult, StageResult.id == Artifact.stage_result_id)
        log = log.join(Run, Run.id == StageResult.run_id).where(Run.dag_id == dag_id, Artifact.kind.in_(TEXTS))
        path = session.scalar(log.where(Artifact.id == artifact_id))
    if path is None:
        raise FileNotFoundError
    return Path(path)


def _opened(path: Path) -> BinaryIO:
    """Open a log below the folders of runs or artifacts: a stage may report any path. Raises OSError."""
    current = settings.current()
    folder = path.parent.resolve(strict=True)
    if not any(folder.is_relative_to(ours.resolve()) for ours in (current.state / "runs", current.artifacts.folder)):
        raise FileNotFoundError
    file = open_regular_file(folder / path.name)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileNotFoundError
    return file


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
