"""Who carries a stage out. An executor takes a request and leaves a report; the pipeline does not see the difference."""

from ci_pipeline.executors.base import Executor
from ci_pipeline.executors.report import Report, read_report

__all__ = ["Executor", "Report", "read_report"]
