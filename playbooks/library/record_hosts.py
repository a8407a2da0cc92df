#!/usr/bin/python
"""Write <provision_dir>/hosts.json: the hosts a provider has lent, each checked.

`hosts` are what a role of a provider has made of the provider's answer: `name`, `address`, `user`, `arch`, `id` (the
provider's own), and, unless they are as usual, `port` (22) and `key` (the lease's own; another lies beside it). One
that breaks the rules, or another number of them than was asked for, is a fault of the infrastructure.
Returns the outputs `lease`, `provider` and `hosts`, as the file has them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_lease import Lease
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "lease": {"type": "str", "required": True},
    "folder": {"type": "path", "required": True},
    "provider": {"type": "str", "required": True},
    "hosts": {"type": "list", "elements": "dict", "required": True},
}


def record(params: dict[str, Any]) -> Part:
    """Check and write them; see the module's docstring."""
    lease, hosts = Lease(Path(params["folder"]), params["lease"]), params["hosts"]
    asked = (lease.request() or {}).get("hosts_count")
    if asked is None:
        raise InfrastructureError(f"the lease {lease.id} was never begun: run playbooks/provision.yml")
    if len(hosts) != asked:
        raise InfrastructureError(f"{params['provider']} lent {len(hosts)} hosts where {asked} were asked for")
    return {"outputs": lease.record(params["provider"], hosts)}


if __name__ == "__main__":
    run_module(ARGUMENTS, record)
