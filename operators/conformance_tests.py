"""Run the Kubernetes e2e conformance tests on a cluster on the new image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ci_pipeline import settings
from ci_pipeline.stages import CONFORMANCE_TESTS
from ci_pipeline.store import runs
from operators.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from ci_pipeline.store.tables import Run


class ConformanceTestsOperator(StageOperator):
    """Runs the configured conformance command against the configured cluster and reads its JUnit.

    Args:
        cluster: `none` (skip) or `existing`; default: `conformance.cluster` of the settings. Templated.
    """

    stage = CONFORMANCE_TESTS
    template_fields: Sequence[str] = (*StageOperator.template_fields, "cluster")
    ui_color = "#e0f2f1"

    def __init__(self, *, cluster: str | None = None, **kwargs: Any) -> None:
        """Take which cluster to use."""
        super().__init__(**kwargs)
        self.cluster = cluster or settings.current().conformance.cluster

    def variables(self) -> dict[str, Any]:
        """Say which cluster it is, whatever the settings say."""
        return {"cluster": self.cluster, **super().variables()}

    def skip_reason(self, session: Session, run: Run, context: Context) -> str:
        """Return that there is no cluster, or that none is wanted."""
        return runs.no_conformance(run, cluster=self.cluster)
