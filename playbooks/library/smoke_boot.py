#!/usr/bin/python
"""Boot the published image as it is, without changing it, and see that it runs the commit it should.

The file has to be the one that was announced (`image_sha256`). The local toolchain's base OS says on its console what
it runs; another (`login`) is asked over SSH, with a key of this boot in a seed, as cloud-init reads it. After a pass
`latest.qcow2` in `image_dir` points at it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_host_checks import CheckError, Ssh, booted_rev
from ansible.module_utils.ci_image import verified
from ansible.module_utils.ci_seed import seed_drive, write_seed
from ansible.module_utils.ci_stage import InfrastructureError, Part, StageError, run_module
from ansible.module_utils.ci_tools import Clock, output, switch_link
from ansible.module_utils.ci_vm import ACCELERATORS, CONSOLES, SSH_PORT, Vm, drive, firmware, speaks_ssh

ARGUMENTS: Final[dict[str, Any]] = {
    "image_dir": {"type": "path", "required": True},
    "image_name": {"type": "str", "required": True},
    "image_sha256": {"type": "str", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "accelerator": {"type": "str", "choices": list(ACCELERATORS), "default": "tcg"},
    "arch": {"type": "str", "choices": list(CONSOLES), "default": "x86_64"},
    "uefi": {"type": "bool", "default": False},
    "login": {"type": "bool", "default": False},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
_KEY: Final = "ssh-key"
LATEST: Final = "latest.qcow2"
_DEPLOYMENT: Final = re.compile(r"^host: deployment ([0-9a-f]{64})\r?$", re.MULTILINE)
_READY: Final = re.compile(r"^host: ready\r?$", re.MULTILINE)


def smoke(params: dict[str, Any]) -> Part:
    """Boot; see the module's docstring. Returns the outputs of smoke_test."""
    workspace, limits = Path(params["workspace"]), params["limits"]
    image = verified(Path(params["image_dir"]), params["image_name"], params["image_sha256"])
    vm = _machine(params, image)
    outputs: dict[str, Any] = {"booted_rev": ""}
    try:
        with vm.running():
            seconds = vm.wait(lambda: _is_up(vm), float(limits["boot_seconds"]))
            outputs = {"booted_rev": _booted(vm, workspace), "boot_seconds": round(seconds, 3)}
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


def _machine(params: dict[str, Any], image: Path) -> Vm:
    workspace, arch = Path(params["workspace"]), params["arch"]
    disk = [*(firmware(arch) if params["uefi"] else []), *drive(image, "qcow2", snapshot=True)]
    forward: tuple[int, ...] = ()
    if params["login"]:
        output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", workspace / _KEY])
        public_key = (workspace / f"{_KEY}.pub").read_text(encoding="ascii").strip()
        write_seed(workspace / "seed", "smoke-test", public_key, None, internet=False)
        disk, forward = [*disk, *seed_drive(workspace / "seed")], (SSH_PORT,)
    memory = int(params["limits"]["memory_mb"])
    return Vm(workspace, disk, memory, accelerator=params["accelerator"], forward=forward, arch=arch)


def _is_up(vm: Vm) -> bool:
    return speaks_ssh(vm.ports[SSH_PORT]) if vm.forward else bool(_READY.search(vm.console_text()))


def _booted(vm: Vm, workspace: Path) -> str:
    if vm.forward:
        try:
            return booted_rev(Ssh(vm.ports[SSH_PORT], workspace / _KEY))
        except CheckError as error:
            raise InfrastructureError(f"the image lets nobody in with the key of its seed: {error}") from error
    found = _DEPLOYMENT.findall(vm.console_text())
    return found[-1] if found else ""


def _artifacts(vm: Vm) -> list[dict[str, str]]:
    return [{"path": str(vm.console), "kind": "log"}] if vm.console.exists() else []


if __name__ == "__main__":
    run_module(ARGUMENTS, smoke)
