"""What every module of a stage shares: its errors, clean text, and the shape of what it hands to `stage_result`.

Standard library only: the modules also run on remote builders with a plain python3.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ci_process import end_with_ancestors
from ansible.module_utils.ci_space import WHAT_TO_DO, Watch, is_full, says_full

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGE: Final = "package"
INFRASTRUCTURE: Final = "infrastructure"
SENTENCE_LIMIT: Final = 500
_NAMED: Final = 5
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

Part = dict[str, Any]


class StageError(Exception):
    """The stage cannot go on. The text is one sentence for a human; `part` is what was known by then."""

    fault = INFRASTRUCTURE

    def __init__(self, message: str, part: Part | None = None) -> None:
        """Keep the sentence, cleaned, and the part of the result known so far."""
        super().__init__(clean(message))
        self.part: Part = part or {}


class PackageError(StageError):
    """The packager has to change something; trying again does not help."""

    fault = PACKAGE


class OverrunError(PackageError):
    """What the package runs used more than its limits allow, whatever else was short while it did."""


class InfrastructureError(StageError):
    """A host, a tool or a setting is at fault; trying again may help."""


class DiskFullError(InfrastructureError):
    """A file system has no room. `shortage` says which, and what is left on it."""

    def __init__(self, shortage: str, said: str = "", part: Part | None = None) -> None:
        """Make the sentence; `said` is what failed for it."""
        because = f" (what failed: {clean(said, 200)})" if said else ""
        super().__init__(f"the disk is full: {shortage}; {WHAT_TO_DO}{because}", part)


def clean(text: object, limit: int = SENTENCE_LIMIT) -> str:
    """Return text as one line of at most `limit` characters, without control or direction-changing characters."""
    line = _CONTROL.sub(" ", str(text).encode("utf-8", "replace").decode()).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def some(names: Sequence[str]) -> str:
    """Return the first five names, and how many more there are."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def run_module(arguments: dict[str, Any], work: Callable[[dict[str, Any]], Part]) -> None:
    """Run a module: call `work` with its parameters and exit with the part it returns.

    A StageError becomes a failed task that carries `msg`, `fault` and the part known by then; `stage_result` reads
    them. What failed while one of the module's file systems was full, tests included, failed for that; also a test that
    passed when it was run again. On a builder a module ends with the connection: nobody else would end it there.
    """
    if "SSH_CONNECTION" in os.environ:
        end_with_ancestors()
    module = AnsibleModule(argument_spec=arguments)
    started = time.monotonic()
    watch = Watch(_places(arguments, module.params))
    try:
        with watch:
            part = work(module.params)
        if watch.seen and (part.get("status") == "UNSTABLE" or part.get("outputs", {}).get("passed_on_rerun")):
            raise DiskFullError(watch.seen, part.get("reason", ""), part)
    except (StageError, OSError, RecursionError) as error:
        spent = {"tool_seconds": round(time.monotonic() - started, 3)}
        failure = explained(error, watch.seen)
        module.fail_json(msg=str(failure), fault=failure.fault, **(spent | failure.part))
    part.setdefault("tool_seconds", round(time.monotonic() - started, 3))
    module.exit_json(changed=True, **part)


def explained(error: StageError | OSError | RecursionError, shortage: str) -> StageError:
    """Return the error as the fault it is; `shortage` is what was short on a file system while the module ran."""
    if isinstance(error, RecursionError):
        # Nothing of ours calls itself but what goes down into folders; only package code nests them a thousand deep.
        return PackageError("the package left folders that are nested too deeply")
    part = error.part if isinstance(error, StageError) else {}
    if isinstance(error, (DiskFullError, OverrunError)):
        return error
    if shortage:
        return DiskFullError(shortage, str(error), part)
    if isinstance(error, OSError):
        where = f"{error.strerror or error}: {error.filename or 'a file of the stage'}"
        return DiskFullError(where) if is_full(error) else InfrastructureError(f"the builder failed the stage: {where}")
    if error.fault == INFRASTRUCTURE and says_full(str(error)):
        return DiskFullError(str(error), part=part)
    return error


def _places(arguments: dict[str, Any], params: dict[str, Any]) -> list[Path]:
    """Return where a module works: what its arguments of type `path` name, and the temporary folder."""
    named = [params[name] for name, argument in arguments.items() if argument.get("type") == "path"]
    return [*map(Path, filter(None, named)), Path(tempfile.gettempdir())]
