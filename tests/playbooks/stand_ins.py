"""Stand-ins: a kubectl that says what lies in files, so that a cluster is in any state a test wants."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

KUBECTL: Final = """#!/bin/sh
# A stand-in for kubectl: it says what lies in files.
for word; do
    case $word in
        /readyz) test -e {folder}/ready && exit || {{ echo "connection refused" >&2; exit 1; }} ;;
        nodes,*) echo "what there is"; exit ;;
        nodes | deployments | version) cat {folder}/$word; exit ;;
    esac
done
exit 9
"""


def items(**conditions: tuple[str, str]) -> str:
    """Return objects as kubectl lists them: a name, and one condition with its status."""
    named = [
        {"metadata": {"name": name}, "status": {"conditions": [{"type": condition, "status": status}]}}
        for name, (condition, status) in conditions.items()
    ]
    return json.dumps({"items": named})


def stand_in_for_kubectl(folder: Path) -> None:
    """Put a kubectl into a folder, and files that make it speak of a cluster that is ready."""
    folder.mkdir()
    kubectl = folder / "kubectl"
    kubectl.write_text(KUBECTL.format(folder=folder), encoding="ascii")
    kubectl.chmod(0o755)
    (folder / "ready").touch()
    (folder / "nodes").write_text(items(one=("Ready", "True"), two=("Ready", "True")), encoding="ascii")
    (folder / "deployments").write_text(items(coredns=("Available", "True")), encoding="ascii")
    (folder / "version").write_text('{"serverVersion": {"gitVersion": "v1.30.2"}}', encoding="ascii")
