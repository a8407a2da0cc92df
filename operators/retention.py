"""Remove what is no longer kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from ci_pipeline import retention, settings

if TYPE_CHECKING:
    from airflow.sdk import Context


class RetentionOperator(BaseOperator):
    """Removes what the settings under [retention] no longer keep."""

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> dict[str, Any]:
        """Prune; the log names each thing, the task's XCom has how many, how many bytes, and the warnings."""
        done = retention.prune(settings.current())
        for one in done.removed:
            self.log.info("removed %s %s (%d bytes)", one.kind, one.what, one.bytes)
        for warning in done.warnings:
            self.log.warning("%s", warning)
        return {"removed": len(done.removed), "bytes": done.bytes, "warnings": list(done.warnings)}
