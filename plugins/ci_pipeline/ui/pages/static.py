"""The style sheet, the scripts and the icons: behind the login like everything else."""

from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

router = APIRouter()

_FOLDER: Final = Path(__file__).parents[1] / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
_FILES: Final = {path.name: path for path in _FOLDER.iterdir() if path.suffix in _TYPES}


@router.get("/static/{name}")
def file(request: Request, name: str) -> Response:
    """Answer with a file that ships with the pages."""
    path = _FILES.get(name)
    if path is None:
        raise HTTPException(404, "There is no such file.")
    content = path.read_bytes()
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=300"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[path.suffix], headers=headers)
