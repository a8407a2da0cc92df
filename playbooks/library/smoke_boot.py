#!/usr/bin/python
"""Boot the published image as it is, without changing it, and see on its console that it runs the commit it should.

The file has to be the one that was announced (`image_sha256`). After a pass `latest.qcow2` in `image_dir` points at it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_stage import InfrastructureError, Part, StageError, clean, run_module
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
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.qcow2")
_DEPLOYMENT: Final = re.compile(r"^host: deployment ([0-9a-f]{64})\r?$", re.MULTILINE)
_READY: Final = re.compile(r"^host: ready\r?$", re.MULTILINE)


def smoke(params: dict[str, Any]) -> Part:
    """Boot; see the module's docstring. Returns the outputs of smoke_test."""
    workspace, limits = Path(params["workspace"]), params["limits"]
    image = _verified(Path(params["image_dir"]), params["image_name"], params["image_sha256"])
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


def _verified(folder: Path, name: str, sha256: str) -> Path:
    image = folder / name
    if not _NAME.fullmatch(name) or image.is_symlink() or not image.is_file():
        raise InfrastructureError(f"{folder} has no image {clean(name, 120)}; run the stage generate_image")
    with image.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise InfrastructureError(
            f"{name} is not the file that was announced: its sha256 is {found}, not {clean(sha256, 80)}"
        )
    return image


def _booted(console: str) -> str:
    found = _DEPLOYMENT.findall(console)
    return found[-1] if found else ""


def _artifacts(vm: Vm) -> list[dict[str, str]]:
    return [{"path": str(vm.console), "kind": "log"}] if vm.console.exists() else []


if __name__ == "__main__":
    run_module(ARGUMENTS, smoke)
