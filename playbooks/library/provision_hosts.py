#!/usr/bin/python
"""Boot the hosts of a cluster from the image that passed the smoke test, and leave them running.

The image is only read: each host writes to an overlay of its own. All of them come up, with their name and for the key
`key` in `cluster_dir`, or none is left. What an earlier try left there is ended and removed first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_cluster import Cluster
from ansible.module_utils.ci_hosts import boot_all
from ansible.module_utils.ci_image import verified
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock
from ansible.module_utils.ci_vm import ACCELERATORS, CONSOLES

ARGUMENTS: Final[dict[str, Any]] = {
    "image_dir": {"type": "path", "required": True},
    "image_name": {"type": "str", "required": True},
    "image_sha256": {"type": "str", "required": True},
    "cluster_dir": {"type": "path", "required": True},
    "hosts_wanted": {"type": "int", "required": True},
    "api_port": {"type": "int", "required": True},
    "internet": {"type": "bool", "default": False},
    "cpus": {"type": "int", "default": 1},
    "accelerator": {"type": "str", "choices": list(ACCELERATORS), "default": "tcg"},
    "arch": {"type": "str", "choices": list(CONSOLES), "default": "x86_64"},
    "uefi": {"type": "bool", "default": False},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}
MOST_HOSTS: Final = 100


def provision(params: dict[str, Any]) -> Part:
    """Boot them; see the module's docstring. Returns the outputs of provision_hosts."""
    if not 1 <= params["hosts_wanted"] <= MOST_HOSTS:
        raise InfrastructureError(f"a cluster has 1 to {MOST_HOSTS} hosts, not {params['hosts_wanted']}")
    cluster = Cluster(Path(params["cluster_dir"]))
    cluster.end()
    cluster.remove()
    image = verified(Path(params["image_dir"]), params["image_name"], params["image_sha256"])
    described, seconds = boot_all(cluster, image, params)
    outputs = {"cluster_hosts": described, "provision_seconds": round(seconds, 3)}
    return {"outputs": outputs, "tool_seconds": Clock.spent()}


if __name__ == "__main__":
    run_module(ARGUMENTS, provision)
