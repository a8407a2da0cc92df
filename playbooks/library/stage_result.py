#!/usr/bin/python
"""Write <workspace>/result.json, the result of a stage as docs/stage-contract.md has it.

A stage calls it once at the end of its block, and once in its rescue with `failure: "{{ ansible_failed_result }}"`.
`parts` are the registered results of the stage's modules: their `outputs`, `artifacts`, `tests` and `tool_seconds` are
added up, and the worst of their `status` counts unless `status` is given. A part with `again_in` has not ended: the
stage is to be looked at again in so many seconds. A part may have the `content_key` of what is made, and may say that
it `reuses` what is kept of that key. The file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_stage import INFRASTRUCTURE, PACKAGE, InfrastructureError, Part, clean, run_module

if TYPE_CHECKING:
    from collections.abc import Iterable

STATUSES: Final = ("SUCCESS", "SKIPPED", "UNSTABLE", "FAILURE")  # from good to bad
KINDS: Final = ("srpm", "rpm", "image", "log", "junit", "report")
OUTCOMES: Final = ("passed", "failed", "error", "skipped", "quarantined", "passed-on-rerun")
ARGUMENTS: Final[dict[str, Any]] = {
    "workspace": {"type": "path", "required": True},
    "status": {"type": "str", "choices": list(STATUSES)},
    "reason": {"type": "str", "default": ""},
    "fault": {"type": "str", "choices": ["", PACKAGE, INFRASTRUCTURE], "default": ""},
    "outputs": {"type": "dict", "default": {}},
    "artifacts": {"type": "list", "elements": "dict", "default": []},
    "tests": {"type": "list", "elements": "dict", "default": []},
    "tool_seconds": {"type": "float", "default": 0.0},
    "parts": {"type": "list", "elements": "dict", "default": []},
    "failure": {"type": "dict"},
}


def describe(artifact: dict[str, Any]) -> dict[str, Any]:
    """Return the artifact with its sha256 and size in bytes.

    Raises InfrastructureError when the file is missing or not a regular file, or its kind is not in the contract.
    """
    path = Path(artifact["path"])
    if artifact.get("kind") not in KINDS:
        raise InfrastructureError(f"artifact {path.name} has kind {artifact.get('kind')!r}; expected one of {KINDS}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise InfrastructureError(f"artifact {path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        size = _regular_size(file.fileno(), path)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": clean(artifact.get("name") or path.name),
        "path": str(path),
        "kind": artifact["kind"],
        "sha256": digest,
        "size": size,
    }


def _regular_size(descriptor: int, path: Path) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise InfrastructureError(f"artifact {path} is not a regular file")
    return status.st_size


def test_case(test: dict[str, Any]) -> dict[str, Any]:
    """Return one test with exactly the contract's keys; its texts come from package code and are cleaned."""
    if test.get("outcome") not in OUTCOMES:
        raise InfrastructureError(f"test outcome {test.get('outcome')!r} is not one of {OUTCOMES}")
    return {
        "name": clean(test["name"]),
        "outcome": test["outcome"],
        "seconds": round(float(test.get("seconds") or 0), 3),
        "message": clean(test.get("message") or "", 2000),
    }


def verdict(params: dict[str, Any]) -> dict[str, str]:
    """Return status, reason and fault: of the failed task, else as given, else the worst of the parts."""
    failure = params["failure"]
    if failure is not None:
        return {"status": "FAILURE", "reason": reason_of(failure), "fault": failure.get("fault") or INFRASTRUCTURE}
    candidates = [params] if params["status"] else [part for part in params["parts"] if part.get("status")]
    worst = max(candidates, key=lambda part: STATUSES.index(part["status"]), default={"status": "SUCCESS"})
    fault = (worst.get("fault") or INFRASTRUCTURE) if worst["status"] == "FAILURE" else ""
    return {"status": worst["status"], "reason": clean(worst.get("reason") or ""), "fault": fault}


def reason_of(failure: dict[str, Any]) -> str:
    """Return the sentence of a failed task. One that is not ours, or was killed, has its last words elsewhere."""
    said = [line for name in ("module_stderr", "module_stdout") for line in (failure.get(name) or "").splitlines()[-1:]]
    if "fault" not in failure and said:
        return clean(f"a task of the stage broke off (exit code {failure.get('rc')}): {said[0]}")
    return clean(failure.get("msg") or "a task failed without a message; see the log")


def described(artifacts: Iterable[dict[str, Any]], *, all_of_them: bool) -> list[dict[str, Any]]:
    """Return the artifacts as `describe` does; unless all are wanted, those that are gone or odd are left out."""
    found = []
    for artifact in artifacts:
        with contextlib.nullcontext() if all_of_them else contextlib.suppress(InfrastructureError):
            found.append(describe(artifact))
    return found


def result(params: dict[str, Any]) -> dict[str, Any]:
    """Return the whole result."""
    sources = [part for part in [*params["parts"], params] if part]
    artifacts = [artifact for part in sources for artifact in part.get("artifacts") or []]
    outputs: dict[str, Any] = {}
    for part in sources:
        outputs.update(part.get("outputs") or {})
    return {
        **verdict(params),
        "outputs": outputs,
        # A failure is told even when its log is gone, too.
        "artifacts": described(artifacts, all_of_them=params["failure"] is None),
        "tests": [test_case(test) for part in sources for test in part.get("tests") or []],
        "tool_seconds": round(sum(float(part.get("tool_seconds") or 0) for part in sources), 3),
        "again_in": 0.0 if params["failure"] else max(float(part.get("again_in") or 0) for part in sources),
        "seconds": max(float(part.get("seconds") or 0) for part in sources),
        "content_key": next((part["content_key"] for part in sources if part.get("content_key")), ""),
        "reuses": any(part.get("reuses") for part in sources),
    }


def write(params: dict[str, Any]) -> Part:
    """Write result.json and return its status and reason, for the log."""
    content = result(params)
    target = Path(params["workspace"]) / "result.json"
    scratch = target.with_suffix(".json.new")
    # As they are: escaped, the characters of some alphabets take twelve bytes instead of four.
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    scratch.write_text(text, encoding="utf-8", errors="replace")
    scratch.replace(target)
    return {"status": content["status"], "reason": content["reason"]}


if __name__ == "__main__":
    run_module(ARGUMENTS, write)
