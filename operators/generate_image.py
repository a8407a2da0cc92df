"""Generate an image of the promoted compose, at an interval."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ci_pipeline import rules, settings
from ci_pipeline.kind import SIDE_RUN, Kind
from ci_pipeline.stages import GENERATE_IMAGE
from ci_pipeline.store import images
from operators.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from ci_pipeline.store.tables import Run


class GenerateImageOperator(StageOperator):
    """Writes a compressed qcow2, when one is due.

    Args:
        wanted: `when-due` (the branch's last smoke-passed image is older than the interval, or there is none),
            `always` or `never`. Templated.
        interval_hours: the interval; default: `image.interval_hours` of the settings.
    """

    stage = GENERATE_IMAGE
    template_fields: Sequence[str] = (*StageOperator.template_fields, "wanted")
    ui_color = "#fce8e6"

    def __init__(
        self,
        *,
        wanted: str = "when-due",
        interval_hours: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Take when an image is wanted."""
        super().__init__(**kwargs)
        self.wanted = wanted
        self.interval_hours = settings.current().image.interval_hours if interval_hours is None else interval_hours

    def skip_reason(self, session: Session, run: Run, context: Context) -> str:
        """Return why no image is due."""
        if not Kind(run.kind).promotes:
            return SIDE_RUN
        return rules.image_not_due(
            wanted=rules.GENERATE_IMAGE.validate_python(self.wanted),
            interval_hours=self.interval_hours,
            last_good=images.last_good(session, run.branch),
            now=datetime.now(UTC),
        )
