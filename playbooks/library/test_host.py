#!/usr/bin/python
"""Boot the host from its disk and test it: the pipeline's own checks first, then the package's tests tagged `atomic`.

The machine ends with this module, whatever happens. A host that does not come up within `boot_seconds` is a failure of
the package; a machine that cannot be started is one of the builder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_atomic_tests import atomic_runs
from ansible.module_utils.ci_host_checks import CheckError, Ssh, booted_rev, candidates, check_host, check_package
from ansible.module_utils.ci_ostree import Repository
from ansible.module_utils.ci_reruns import Attempt, Reruns, run_all
from ansible.module_utils.ci_results import verdict
from ansible.module_utils.ci_stage import Part, StageError, run_module
from ansible.module_utils.ci_tools import Clock
from ansible.module_utils.ci_vm import ACCELERATORS, CONSOLES, SSH_PORT, Vm, drive, speaks_ssh

if TYPE_CHECKING:
    from ansible.module_utils.ci_junit import Test

ARGUMENTS: Final[dict[str, Any]] = {
    "disk": {"type": "path", "required": True},
    "kernel": {"type": "path", "required": True},
    "initrd": {"type": "path", "required": True},
    "arguments": {"type": "str", "required": True},
    "key": {"type": "path", "required": True},
    "source": {"type": "path", "required": True},
    "roles": {"type": "dict", "required": True},
    "ostree_repo": {"type": "path", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "packages": {"type": "list", "elements": "str", "required": True},
    "package_repo": {"type": "path", "required": True},
    "accelerator": {"type": "str", "choices": list(ACCELERATORS), "default": "tcg"},
    "arch": {"type": "str", "choices": list(CONSOLES), "default": "x86_64"},
    "workspace": {"type": "path", "required": True},
    "quarantine": {"type": "list", "elements": "dict", "default": []},
    "reruns": {"type": "dict", "default": {}},
    "began": {"type": "float", "required": True},
    "limits": {"type": "dict", "required": True},
}


def test(params: dict[str, Any]) -> Part:
    """Boot and test; see the module's docstring. Returns the outputs booted_rev, total and failed."""
    workspace, limits = Path(params["workspace"]), params["limits"]
    boot = ["-kernel", params["kernel"], "-initrd", params["initrd"], "-append", params["arguments"]]
    vm = Vm(
        workspace,
        [*boot, *drive(Path(params["disk"]), "raw")],
        int(limits["memory_mb"]),
        accelerator=params["accelerator"],
        forward=(SSH_PORT,),
        arch=params["arch"],
    )
    try:
        with vm.running():
            seconds = vm.wait(lambda: speaks_ssh(vm.ports[SSH_PORT]), float(limits["boot_seconds"]))
            part = _examine(Ssh(vm.ports[SSH_PORT], Path(params["key"])), params, workspace)
    except StageError as error:
        error.part |= {"artifacts": _artifacts(workspace), "tool_seconds": Clock.spent()}
        raise
    finally:
        for name in ("disk", "kernel", "initrd", "key"):
            Path(params[name]).unlink(missing_ok=True)
        shutil.rmtree(workspace / "vm", ignore_errors=True)
    return part | {"boot_seconds": round(seconds, 3), "artifacts": _artifacts(workspace), "tool_seconds": Clock.spent()}


def _examine(ssh: Ssh, params: dict[str, Any], workspace: Path) -> Part:
    composed = Repository(Path(params["ostree_repo"])).packages(params["compose_rev"])
    on_host = {one.name for one in composed}
    wanted = candidates(
        Path(params["package_repo"]), on_host.intersection(params["packages"]), workspace, params["limits"]
    )

    def check(_: Attempt) -> list[Test]:
        checked = [check_package(ssh, nevra, composed, files) for nevra, files in wanted.items()]
        return check_host(ssh, params["compose_rev"]) + checked

    reruns = Reruns.of(params)
    package = {"source": Path(params["source"]), "roles": params["roles"], "limits": params["limits"]}
    with atomic_runs(ssh=ssh, workspace=workspace, reruns=reruns, **package) as playbooks:
        tests, remarks = run_all({"the host's checks": check, **playbooks}, reruns)
    part = verdict(tests, "integration", params["quarantine"], remarks)
    del part["outputs"]["skipped"]
    part["outputs"] |= {"booted_rev": _booted(ssh), "promoted": False}
    return part


def _booted(ssh: Ssh) -> str:
    try:
        return booted_rev(ssh)
    except CheckError:
        return ""


def _artifacts(workspace: Path) -> list[dict[str, str]]:
    logs = [workspace / "console.log", *sorted(workspace.glob("*.atomic.log"))]
    found = [{"path": str(path), "kind": "log"} for path in logs if path.exists()]
    root = workspace / "atomic"
    reports = sorted(root.glob("*/*.xml"))
    return found + [{"path": str(path), "kind": "junit", "name": str(path.relative_to(root))} for path in reports]


if __name__ == "__main__":
    run_module(ARGUMENTS, test)
