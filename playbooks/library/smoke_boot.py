#!/usr/bin/python
"""Boot the published image as it is, without changing it, and see on its console that it runs the commit it should.

The file has to be the one that was announced (`image_sha256`). After a pass `latest.qcow2` in `image_dir` points at it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_image import verified
from ansible.module_utils.ci_stage import InfrastructureError, Part, StageError, run_module
from ansible.module_utils.ci_tools import Clock, switch_link
from ansible.module_utils.ci_vm import ACCELERATORS, Vm, drive

ARGUMENTS: Final[dict[str, Any]] = {
    "image_dir": {"type": "path", "required": True},
    "image_name": {"type": "str", "required": True},
    "image_sha256": {"type": "str", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "accelerator": {"type": "str", "choices": list(ACCELERATORS), "default": "tcg"},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
LATEST: Final = "latest.qcow2"
_DEPLOYMENT: Final = re.compile(r"^host: deployment ([0-9a-f]{64})\r?$", re.MULTILINE)
_READY: Final = re.compile(r"^host: ready\r?$", re.MULTILINE)


def smoke(params: dict[str, Any]) -> Part:
    """Boot; see the module's docstring. Returns the outputs of smoke_test."""
    workspace, limits = Path(params["workspace"]), params["limits"]
    image = verified(Path(params["image_dir"]), params["image_name"], params["image_sha256"])
    vm = Vm(
        workspace, drive(image, "qcow2", snapshot=True), int(limits["memory_mb"]), accelerator=params["accelerator"]
    )
    outputs: dict[str, Any] = {"booted_rev": ""}
    try:
        with vm.running():
            seconds = vm.wait(lambda: bool(_READY.search(vm.console_text())), float(limits["boot_seconds"]))
        outputs = {"booted_rev": _booted(vm.console_text()), "boot_seconds": round(seconds, 3)}
        if outputs["booted_rev"] != params["compose_rev"]:
            raise InfrastructureError(
                f"the image runs {outputs['booted_rev'] or 'no commit'} instead of {params['compose_rev']}"
            )
    except StageError as error:
        part = {"outputs": outputs, "artifacts": _artifacts(vm), "tool_seconds": Clock.spent()}
        # The commit has booted in the integration tests: what goes wrong now is in the image, not in the package.
        raise InfrastructureError(str(error), part) from error
    switch_link(image.with_name(LATEST), image.name)
    return {"outputs": outputs, "artifacts": _artifacts(vm), "tool_seconds": Clock.spent()}


def _booted(console: str) -> str:
    found = _DEPLOYMENT.findall(console)
    return found[-1] if found else ""


def _artifacts(vm: Vm) -> list[dict[str, str]]:
    return [{"path": str(vm.console), "kind": "log"}] if vm.console.exists() else []


if __name__ == "__main__":
    run_module(ARGUMENTS, smoke)
