"""Who carries a stage out: an executor takes a request and leaves a report, wherever it does its work."""

from ci_pipeline.executors.base import Executor
from ci_pipeline.executors.report import Report, read_report

__all__ = ["Executor", "Report", "read_report"]
