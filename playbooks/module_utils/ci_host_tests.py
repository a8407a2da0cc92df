"""What the integration tests do with a host that runs the compose, wherever it is: checks, and the package's tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.ci_atomic_tests import atomic_runs
from ansible.module_utils.ci_host_checks import CheckError, Ssh, booted_rev, candidates, check_host, check_package
from ansible.module_utils.ci_ostree import Repository
from ansible.module_utils.ci_reruns import Attempt, Reruns, run_all
from ansible.module_utils.ci_results import verdict
from ansible.module_utils.ci_tools import Clock

if TYPE_CHECKING:
    from ansible.module_utils.ci_junit import Test
    from ansible.module_utils.ci_stage import Part

# What every module is given that tests a host.
ARGUMENTS: dict[str, Any] = {
    "source": {"type": "path", "required": True},
    "roles": {"type": "dict", "required": True},
    "ostree_repo": {"type": "path", "required": True},
    "compose_rev": {"type": "str", "required": True},
    "packages": {"type": "list", "elements": "str", "required": True},
    "package_repo": {"type": "path", "required": True},
    "workspace": {"type": "path", "required": True},
    "quarantine": {"type": "list", "elements": "dict", "default": []},
    "reruns": {"type": "dict", "default": {}},
    "began": {"type": "float", "required": True},
    "limits": {"type": "dict", "required": True},
}


def examine(ssh: Ssh, params: dict[str, Any]) -> Part:
    """Check and test the host; return the part of the result, with the outputs booted_rev, total and failed."""
    workspace = Path(params["workspace"])
    composed = Repository(Path(params["ostree_repo"])).packages(params["compose_rev"])
    on_host = {one.name for one in composed}
    wanted = candidates(
        Path(params["package_repo"]), on_host.intersection(params["packages"]), workspace, params["limits"]
    )

    def check(_: Attempt) -> list[Test]:
        with ssh.one_connection() as host:
            checked = [check_package(host, nevra, composed, files) for nevra, files in wanted.items()]
            return check_host(host, params["compose_rev"]) + checked

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


def left_by(workspace: Path) -> Part:
    """Return what any test of a host leaves, however it ends: artifacts, and the time spent in tools."""
    return {"artifacts": _artifacts(workspace), "tool_seconds": Clock.spent()}


def _artifacts(workspace: Path) -> list[dict[str, str]]:
    """Return the logs and reports that the tests left, and the console of a machine, as artifacts."""
    logs = [workspace / "console.log", *sorted(workspace.glob("*.atomic.log"))]
    found = [{"path": str(path), "kind": "log"} for path in logs if path.exists()]
    root = workspace / "atomic"
    reports = sorted(root.glob("*/*.xml"))
    return found + [{"path": str(path), "kind": "junit", "name": str(path.relative_to(root))} for path in reports]
