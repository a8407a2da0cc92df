#!/usr/bin/python
"""Make hosts that a provider has lent the hosts of a cluster, each on exactly the commit of the image.

A stock host pulls `compose_rev` from `ostree_url`, boots it, and has to run it; without an `ostree_url` the hosts have
booted the image, and have to run its commit. The first one's `api_port` is opened at 127.0.0.1. What an earlier try
left in `cluster_dir` is ended and removed first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_cluster import Cluster
from ansible.module_utils.ci_lent import TUNNEL_NAME, LentHost
from ansible.module_utils.ci_ssh import KNOWN_HOSTS_NAME
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module, some
from ansible.module_utils.ci_tools import Clock

ARGUMENTS: Final[dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "dict", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "ostree_url": {"type": "str", "default": ""},
    "cluster_dir": {"type": "path", "required": True},
    "api_port": {"type": "int", "required": True},
    "limits": {"type": "dict", "required": True},
}


def take(params: dict[str, Any]) -> Part:
    """Take them; see the module's docstring. Returns the outputs of provision_hosts."""
    cluster = Cluster(Path(params["cluster_dir"]))
    cluster.end()
    cluster.remove()
    cluster.folder.mkdir(mode=0o700, parents=True)
    hosts = [LentHost(host, cluster.folder / KNOWN_HOSTS_NAME) for host in params["hosts"]]
    where = params["compose_rev"], params["ostree_url"], params["limits"]
    with Clock.running(), ThreadPoolExecutor(len(hosts)) as all_at_once:
        boots = [all_at_once.submit(host.put_on, *where) for host in hosts]
        seconds = max(boot.result() for boot in boots)
    described = [host.described() for host in hosts]
    _check_addresses(described)
    described[0]["api_port"] = hosts[0].open_port(params["api_port"], cluster.folder / TUNNEL_NAME)
    outputs = {"cluster_hosts": described, "provision_seconds": round(seconds, 3)}
    return {"outputs": outputs, "tool_seconds": Clock.spent()}


def _check_addresses(described: list[dict[str, Any]]) -> None:
    """Refuse hosts that cannot reach each other: each is alone in a network, where all have the same address."""
    inside = [host["inside"] for host in described]
    if twice := sorted({address for address in inside if inside.count(address) > 1}):
        names = some([host["name"] for host in described if host["inside"] in twice])
        raise InfrastructureError(
            f"{names} all call themselves {twice[0]}: hosts of a cluster have to reach each other; have the provider "
            "lend them in one network, or set conformance.hosts = 1"
        )


if __name__ == "__main__":
    run_module(ARGUMENTS, take)
