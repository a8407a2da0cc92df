"""Templates into answers. Everything shown comes from strangers: escaped, printable, cut."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ci_pipeline import wording
from ci_pipeline.stages import STEPS
from ci_pipeline.ui.links import Links

_TEMPLATES: Final = Path(__file__).parent / "templates"
# Longer than anything but a body or a log's end; those are cut before.
_LONGEST: Final = 4000
_GLYPHS: Final = {
    "SUCCESS": "✓",
    "passed": "✓",
    "published": "✓",
    "FAILURE": "✗",
    "failed": "✗",
    "quarantined": "!",
    "passed-on-rerun": "!",
    "error": "✗",
    "dead": "✗",
    "parked": "✗",
    "UNSTABLE": "!",
    "ABORTED": "■",
    "superseded": "■",
    "SKIPPED": "\N{EN DASH}",
    "skipped": "\N{EN DASH}",
    "ignored": "\N{EN DASH}",
    "duplicate": "=",
    "running": "▶",
    "queued": "…",
    "waiting": "…",
    "satisfied": "✓",
    "unsatisfied": "✗",
    "waived": "!",
    "not-waived": "\N{EN DASH}",
}


def answer(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    """Render a page; a browser that has it already is told so in a few bytes."""
    viewer = getattr(request.state, "viewer", None)
    text = _ENVIRONMENT.get_template(template).render(links=Links.of(request), viewer=viewer, **context)
    tag = f'W/"{sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Cookie, Authorization"}
    if status == 200 and tag in request.headers.get("if-none-match", ""):  # noqa: PLR2004 - an answer that is cached
        return Response(status_code=304, headers=headers)
    return HTMLResponse(text, status_code=status, headers=headers)


def _finalize(value: Any) -> Any:
    """Make every text that a template shows printable and short; markup of our own stays."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return wording.printable(wording.cut(value, _LONGEST))
    return value


def _clock(value: datetime | None) -> Markup:
    """Return a time element: UTC, to the second."""
    if value is None:
        return Markup("")
    told = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(told.isoformat(), f"{told:%Y-%m-%d %H:%M:%S}")


def _ago(value: datetime | None) -> Markup:
    """Return how long ago a time was, with the time itself as its title."""
    if value is None:
        return Markup("")
    told = value.astimezone(UTC)
    age = wording.age(datetime.now(UTC) - told)
    shown = Markup('<time datetime="{}" title="{}">{}</time>')
    return shown.format(told.isoformat(), f"{told:%Y-%m-%d %H:%M:%S} UTC", age)


def _glyph(status: str) -> str:
    return _GLYPHS.get(status, "?")


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        clock=_clock,
        ago=_ago,
        glyph=_glyph,
        cut=wording.cut,
        size=wording.size,
        duration=wording.duration,
        words=lambda name: str(name).replace("_", " "),
    )
    # A column each: what is one thing to the world goes by its last step.
    made.globals["stages"] = [steps[-1] for steps in STEPS.values()]
    return made


_ENVIRONMENT: Final = _environment()
