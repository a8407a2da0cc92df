"""The command line `ci-pipeline`: thin commands that parse, call a function and print."""

import logging
import sys
import traceback
from types import TracebackType

from ci_pipeline.redaction import redacted


def main() -> None:
    """Run the command line; the entry point `ci-pipeline`."""
    # Here, so that the demo can use this package's parts without importing the commands, which import the demo.
    from ci_pipeline.cli.app import app  # noqa: PLC0415

    sys.excepthook = _print_masked
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Masked())
    app()


class _Masked(logging.Formatter):
    """A line of a log as ever, secrets masked."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def _print_masked(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what nobody caught as Python does; libraries quote addresses with passwords in their errors."""
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))
