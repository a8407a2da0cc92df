#!/usr/bin/python
"""Have linch-pin bring up a target of a PinFile for a lease, or destroy it: a program, called on a machine that has it.

The PinFile's workspace is copied into `folder`, but for its credentials, which stay where they are; linch-pin keeps its
own record of runs in the copy, and two leases never share one. The PinFile is a template: `lease`, `hosts_count`,
`arch`, `public_key`, `until` are what it may use, and what it makes ought to bear the lease's id.
Returns `hosts`, as `record_hosts` takes them, of the inventory linch-pin wrote; or the output `returned`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_lease import HOSTS_NAME, Lease
from ansible.module_utils.ci_sandbox import last_line
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import how_it_ended, run

ARGUMENTS: Final[dict[str, Any]] = {
    "lease": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "required": True},
    "program": {"type": "str", "required": True},
    "pinfile": {"type": "path", "required": True},
    "target": {"type": "str", "required": True},
    "user": {"type": "str", "default": "root"},
    "arch": {"type": "str", "default": "x86_64"},
    "lent_until": {"type": "float", "default": 0},
    "hosts_wanted": {"type": "int", "default": 0},
    "seconds": {"type": "float", "default": 1200},
}
_CREDENTIALS: Final = "credentials"
# What linch-pin writes into a workspace: of another lease, or of somebody's try by hand.
_WRITTEN: Final = (_CREDENTIALS, "inventories", "resources", ".rundb")
_INSTEAD: Final = (
    "it is not maintained any more and runs on no Python the pipeline runs on; set provision.linchpin.program on a "
    "machine that has it, or provision.provider to aws, openstack, duffy or libvirt"
)


class Workspace:
    """The copy of a workspace of linch-pin's in the folder of a lease."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters."""
        self.lease, self._params = Lease(Path(params["folder"]), params["lease"]), params
        self.path = self.lease.folder / "linchpin"
        self._pinfile = Path(params["pinfile"])

    def copy(self) -> None:
        """Copy it, unless an earlier try has; write what its PinFile may use."""
        if not self._pinfile.is_file():
            raise InfrastructureError(f"there is no PinFile at {self._pinfile}: set provision.linchpin.pinfile")
        if not self.path.exists():
            scratch = self.path.with_suffix(".new")
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(self._pinfile.parent, scratch, ignore=shutil.ignore_patterns(*_WRITTEN, ".git"))
            scratch.rename(self.path)
        known = {"lease": self.lease.id, "hosts_count": self._params["hosts_wanted"], "arch": self._params["arch"]}
        known |= {"until": int(self._params["lent_until"]), "public_key": self.lease.public_key()}
        (self.path / "lease.json").write_text(json.dumps(known), encoding="ascii")

    def call(self, verb: str) -> None:
        """Have linch-pin do `up` or `destroy` with the target; what it says is kept in the lease's folder."""
        program = shutil.which(self._params["program"])
        if program is None:
            raise InfrastructureError(f"there is no program {self._params['program']}: {_INSTEAD}")
        command = [program, "--workspace", self.path, "--pinfile", self._pinfile.name]
        command += [
            "--template-data",
            f"@{self.path / 'lease.json'}",
            *self._credentials(),
            verb,
            self._params["target"],
        ]
        ran = run(command, cwd=self.path, environment=os.environ, timeout=self._params["seconds"])
        (self.lease.folder / f"linchpin-{verb}.log").write_text(ran.stdout + ran.stderr, encoding="utf-8")
        if ran.returncode != 0:
            said = last_line(ran.stderr) or how_it_ended(ran)
            raise InfrastructureError(f"linchpin {verb} {self._params['target']} failed: {said}")

    def hosts(self) -> list[dict[str, Any]]:
        """Return the hosts of the inventories that linch-pin wrote, as Ansible reads them."""
        folder = self.path / "inventories"
        if not folder.is_dir() or not any(folder.iterdir()):
            raise InfrastructureError(f"linchpin wrote no inventory into {folder}: the target needs a layout")
        environment = os.environ | {"ANSIBLE_INVENTORY_ENABLED": "ini,yaml"}
        program = Path(sys.executable).with_name("ansible-inventory")
        command = [program if program.exists() else "ansible-inventory", "--inventory", folder, "--list"]
        ran = run(command, environment=environment)
        if ran.returncode != 0:
            raise InfrastructureError(f"linchpin's inventory cannot be read: {how_it_ended(ran)}")
        variables = json.loads(ran.stdout)["_meta"]["hostvars"]
        return [self._host(number, name, variables[name]) for number, name in enumerate(sorted(variables), 1)]

    def _host(self, number: int, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": f"host-{number}",
            "address": variables.get("ansible_host") or name,
            "port": variables.get("ansible_port") or 22,
            "user": variables.get("ansible_user") or self._params["user"],
            "arch": self._params["arch"],
            "id": name,
        }

    def _credentials(self) -> list[str | Path]:
        folder = self._pinfile.parent / _CREDENTIALS
        return ["--creds-path", folder] if folder.is_dir() else []


def work(params: dict[str, Any]) -> Part:
    """Bring up, or destroy; see the module's docstring."""
    workspace = Workspace(params)
    if params["state"] == "present":
        workspace.copy()
        if len(workspace.lease.hosts()) != params["hosts_wanted"]:
            workspace.call("up")
        return {"hosts": workspace.hosts()}
    if not workspace.path.exists():
        return {"outputs": {"returned": 0}}
    there = len(workspace.lease.hosts())
    workspace.call("destroy")
    (workspace.lease.folder / HOSTS_NAME).unlink(missing_ok=True)
    shutil.rmtree(workspace.path)
    return {"outputs": {"returned": there}}


if __name__ == "__main__":
    run_module(ARGUMENTS, work)
