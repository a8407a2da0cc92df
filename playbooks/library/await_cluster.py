#!/usr/bin/python
"""Wait until a cluster is really ready: its API answers, its nodes are Ready, its own deployments are available.

What is missing is said in the message of the failure. kubectl does the asking.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_stage import InfrastructureError, Part, clean, run_module, some
from ansible.module_utils.ci_tools import Clock, how_it_ended, run

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGUMENTS: Final[dict[str, Any]] = {
    "kubeconfig": {"type": "path", "required": True},
    "seconds": {"type": "float", "required": True},
    "workspace": {"type": "path", "required": True},
}
# Kubernetes' own; OpenShift's are in many namespaces, and the suite itself waits for what it needs of them.
CORE: Final = "kube-system"
_POLL_SECONDS: Final = 2.0
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
    kubeconfig = Path(params["kubeconfig"])
    if not kubeconfig.is_file():
        raise InfrastructureError(f"the kubeconfig {kubeconfig} does not exist")
    cluster = Cluster(kubeconfig, Path(params["workspace"]) / "kubectl")
    end = time.monotonic() + params["seconds"]
    while missing := cluster.missing():
        if time.monotonic() >= end:
            raise InfrastructureError(f"the cluster is not ready after {params['seconds']:.0f} s: {missing}")
        time.sleep(min(_POLL_SECONDS, max(end - time.monotonic(), 0)))
    return {"outputs": {"cluster_version": cluster.version()}, "tool_seconds": Clock.spent()}


if __name__ == "__main__":
    run_module(ARGUMENTS, wait)
