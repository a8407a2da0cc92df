#!/usr/bin/python
"""Wait until a cluster is really ready: its API answers, its nodes are Ready, its own deployments are available.

What is missing is said in the message of the failure. kubectl does the asking. With `look_seconds` the module does not
wait for long: what is not ready yet is to be looked at again in so many seconds, until `seconds` after the first look.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_cluster import use_programs_of
from ansible.module_utils.ci_progress import PROGRESS_NAME
from ansible.module_utils.ci_stage import InfrastructureError, Part, clean, run_module, some
from ansible.module_utils.ci_tools import Clock, how_it_ended, run

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGUMENTS: Final[dict[str, Any]] = {
    "kubeconfig": {"type": "path", "required": True},
    "seconds": {"type": "float", "required": True},
    "look_seconds": {"type": "float", "default": 0.0},
    "workspace": {"type": "path", "required": True},
}
# Kubernetes' own; OpenShift's are in many namespaces, and the suite itself waits for what it needs of them.
CORE: Final = "kube-system"
# Below the workspace: when the first look was.
BEGUN_NAME: Final = "begun"
_POLL_SECONDS: Final = 2.0
# A cluster that is nearly there is not worth another run of the playbook.
_ONE_LOOK_SECONDS: Final = 6.0
_CALL_SECONDS: Final = 20


class Cluster:
    """A cluster as kubectl shows it."""

    def __init__(self, kubeconfig: Path, cache: Path) -> None:
        """Take the path of the kubeconfig, and a folder where kubectl may keep what it has learnt."""
        self._command = ["kubectl", f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}"]

    def missing(self) -> str:
        """Return what is not ready, in one sentence; "" when all is."""
        try:
            self._ask("get", "--raw", "/readyz")
            return "; ".join([*_nodes(self._items("nodes")), *_deployments(self._items("deployments"))])
        except UnansweredError as error:
            return f"the API server is not ready: {error}"

    def missing_at(self, end: float) -> str:
        """Look until nothing is missing, or until a moment of the monotonic clock; return what is missing then."""
        while missing := self.missing():
            if time.monotonic() >= end:
                break
            time.sleep(min(_POLL_SECONDS, max(end - time.monotonic(), 0)))
        return missing

    def version(self) -> str:
        """Return the version of the API server: `v1.20.2`."""
        try:
            return str(json.loads(self._ask("version", "--output=json"))["serverVersion"]["gitVersion"])
        except (UnansweredError, ValueError, KeyError, TypeError):
            return ""

    def _items(self, kind: str) -> list[dict[str, Any]]:
        answer = self._ask("get", kind, f"--namespace={CORE}", "--output=json")
        try:
            items: list[dict[str, Any]] = json.loads(answer)["items"]
        except (ValueError, KeyError, TypeError) as error:
            raise UnansweredError(f"kubectl get {kind} answered nonsense") from error
        return items

    def _ask(self, *words: str) -> str:
        ran = run([*self._command, f"--request-timeout={_CALL_SECONDS}s", *words], timeout=3 * _CALL_SECONDS)
        if ran.returncode != 0:
            raise UnansweredError(clean(how_it_ended(ran), 200))
        return ran.stdout


class UnansweredError(Exception):
    """The API server did not answer; the text says what kubectl said."""


def _nodes(items: list[dict[str, Any]]) -> Iterator[str]:
    if not items:
        yield "there is no node"
    bad = [_name(node) for node in items if not _is(node, "Ready")]
    if bad:
        yield f"{len(bad)} of {len(items)} nodes are not Ready: {some(bad)}"


def _deployments(items: list[dict[str, Any]]) -> Iterator[str]:
    bad = [_name(deployment) for deployment in items if not _is(deployment, "Available")]
    if bad:
        yield f"{len(bad)} of {len(items)} deployments in {CORE} are not available: {some(bad)}"


def _is(item: dict[str, Any], condition: str) -> bool:
    found = item.get("status", {}).get("conditions") or []
    return any(one.get("type") == condition and one.get("status") == "True" for one in found)


def _name(item: dict[str, Any]) -> str:
    return clean(item.get("metadata", {}).get("name", "unnamed"), 80)


def wait(params: dict[str, Any]) -> Part:
    """Wait; see the module's docstring. Returns the output `cluster_version`."""
    kubeconfig, workspace = Path(params["kubeconfig"]), Path(params["workspace"])
    if not kubeconfig.is_file():
        raise InfrastructureError(f"there is no cluster: the kubeconfig {kubeconfig} is gone; clear configure_cluster")
    use_programs_of(kubeconfig.parent)
    cluster = Cluster(kubeconfig, workspace / "kubectl")
    # A clock that every process of the builder shares, and nobody sets.
    end = _begun(workspace) + params["seconds"]
    until = min(end, time.monotonic() + _ONE_LOOK_SECONDS) if params["look_seconds"] else end
    missing = cluster.missing_at(until)
    if not missing:
        return {"outputs": {"cluster_version": cluster.version()}, "tool_seconds": Clock.spent()}
    if until >= end:
        raise InfrastructureError(f"the cluster is not ready after {params['seconds']:.0f} s: {missing}")
    (workspace / PROGRESS_NAME).write_text(f"not ready yet: {missing}\n", encoding="utf-8")
    return {"again_in": params["look_seconds"], "tool_seconds": Clock.spent()}


def _begun(workspace: Path) -> float:
    """Return when the first look began. Of a builder that was started anew since, this is the first."""
    path, now = workspace / BEGUN_NAME, time.monotonic()
    if path.is_file() and (begun := float(path.read_text(encoding="ascii"))) <= now:
        return begun
    path.write_text(str(now), encoding="ascii")
    return now


if __name__ == "__main__":
    run_module(ARGUMENTS, wait)
