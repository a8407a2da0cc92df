#!/usr/bin/python
"""Write a throwaway disk with exactly `compose_rev` deployed, and a key to log in with.

The key is made for this boot and lies in the disk's /var, so the commit stays what will be published. Returns `disk`,
`kernel`, `initrd`, `key` (paths in the workspace) and `arguments` (the kernel's command line, from ostree's boot
entry).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_disk import Sysroot, kernel_arguments
from ansible.module_utils.ci_ostree import Repository
from ansible.module_utils.ci_stage import Part, run_module
from ansible.module_utils.ci_tools import Clock, output
from ansible.module_utils.ci_vm import CONSOLES

ARGUMENTS: Final[dict[str, Any]] = {
    "ostree_repo": {"type": "path", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "ref": {"type": "str", "required": True},
    "arch": {"type": "str", "choices": list(CONSOLES), "default": "x86_64"},
    "kernel_arguments": {"type": "list", "elements": "str", "default": []},
    "workspace": {"type": "path", "required": True},
}


def write(params: dict[str, Any]) -> Part:
    """Write the disk; see the module's docstring."""
    workspace = Path(params["workspace"])
    repository = Repository(Path(params["ostree_repo"]))
    repository.require(params["compose_rev"])
    key = workspace / "ssh-key"
    output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key])
    sysroot = Sysroot(workspace / "sysroot")
    try:
        words = [*kernel_arguments(params["arch"]), *params["kernel_arguments"]]
        boot = sysroot.deploy(repository.path, params["ref"], params["compose_rev"], words)
        sysroot.authorize(key.with_suffix(".pub").read_text(encoding="ascii"))
        sysroot.write(workspace / "disk.raw")
        kernel = shutil.copy(sysroot.path / boot.kernel, workspace / "vmlinuz")
        initrd = shutil.copy(sysroot.path / boot.initrd, workspace / "initramfs.img")
    finally:
        sysroot.remove()
    return {
        "disk": str(workspace / "disk.raw"),
        "kernel": str(kernel),
        "initrd": str(initrd),
        "key": str(key),
        "arguments": boot.arguments,
        "tool_seconds": Clock.spent(),
    }


if __name__ == "__main__":
    run_module(ARGUMENTS, write)
