#!/usr/bin/python
"""End the hosts of a cluster, and its suite if one runs, and remove `cluster_dir`: disks, keys, kubeconfig.

What is gone already is no failure. Returns the output `ended`, the number of hosts that ran.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_cluster import Cluster
from ansible.module_utils.ci_stage import Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {"cluster_dir": {"type": "path", "required": True}}


def release(params: dict[str, Any]) -> Part:
    """End and remove; see the module's docstring."""
    cluster = Cluster(Path(params["cluster_dir"]))
    ended = cluster.end()
    cluster.remove()
    return {"outputs": {"ended": ended}}


if __name__ == "__main__":
    run_module(ARGUMENTS, release)
