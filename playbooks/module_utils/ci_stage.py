"""What every module of a stage shares: its errors, clean text, and the shape of what it hands to `stage_result`.

Standard library only: the modules also run on remote builders with a plain python3.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE: Final = "package"
INFRASTRUCTURE: Final = "infrastructure"
SENTENCE_LIMIT: Final = 500
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


class InfrastructureError(StageError):
    """A host, a tool or a setting is at fault; trying again may help."""


def clean(text: object, limit: int = SENTENCE_LIMIT) -> str:
    """Return text as one line of at most `limit` characters, without control or direction-changing characters."""
    line = _CONTROL.sub(" ", str(text).encode("utf-8", "replace").decode()).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def run_module(arguments: dict[str, Any], work: Callable[[dict[str, Any]], Part]) -> None:
    """Run a module: call `work` with its parameters and exit with the part it returns.

    A StageError becomes a failed task that carries `msg`, `fault` and the part known by then; `stage_result` reads
    them.
    """
    module = AnsibleModule(argument_spec=arguments)
    started = time.monotonic()
    try:
        part = work(module.params)
    except StageError as error:
        spent = {"tool_seconds": round(time.monotonic() - started, 3)}
        module.fail_json(msg=str(error), fault=error.fault, **(spent | error.part))
    part.setdefault("tool_seconds", round(time.monotonic() - started, 3))
    module.exit_json(changed=True, **part)
