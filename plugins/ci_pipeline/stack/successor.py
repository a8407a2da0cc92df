"""Run as a program: starts a component in the place of one that was killed, after ending all that one has left.

A scheduler leaves its workers behind. Each has the scheduler's connection to the database open, so PostgreSQL takes the
dead one for alive, and the locks of the transaction it died in are never released: no later scheduler queues a task.
"""

import os
import sys
from pathlib import Path

from ci_pipeline.errors import StackError
from ci_pipeline.stack import processes
from ci_pipeline.stack.processes import COMPONENT, MARKER


def command_of(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that does this and then becomes `command`."""
    return (sys.executable, "-m", __name__, *command)


def main() -> None:
    """End what is left of this component of this stack, then become its command: the arguments."""
    left = processes.of_stack(Path(os.environ[MARKER]), component=os.environ[COMPONENT])
    try:
        processes.end(left, patience=1)
    except StackError as error:
        sys.exit(f"{os.environ[COMPONENT]} is not started: {error}")
    if left:
        print(f"ended {len(left)} processes that the one before had left", flush=True)  # noqa: T201 - its log
    command = sys.argv[1:]
    os.execv(command[0], command)  # noqa: S606 - the program is this stack's own


if __name__ == "__main__":
    main()
