#!/usr/bin/python
"""Send a file to a host of the cluster that has no scp: over SSH, checked by its sha256 on both sides.

It gets its name when it is whole; a transfer that breaks off leaves what was there before.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

from ansible.module_utils import ci_ssh
from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module
from ansible.module_utils.ci_tools import Clock

ARGUMENTS: Final[dict[str, Any]] = ci_ssh.ARGUMENTS | {
    "path": {"type": "path", "required": True},
    "to": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
}
# Its arguments: the name, the mode, the sha256. No shell has to be asked for pipefail.
_RECEIVE: Final = """
set -eu
mkdir -p "$(dirname "$1")"
trap 'rm -f "$1.new"' EXIT
cat >"$1.new"
found=$(sha256sum <"$1.new")
found=${found%% *}
if [ "$found" != "$3" ]; then
    echo "what arrived has sha256 $found instead of $3" >&2
    exit 1
fi
chmod "$2" "$1.new"
mv -f "$1.new" "$1"
"""


def send(params: dict[str, Any]) -> Part:
    """Send it; see the module's docstring."""
    path, host = Path(params["path"]), ci_ssh.Host.given(params)
    if not path.is_file():
        raise InfrastructureError(f"{path}, which is to be sent to {host.name}, does not exist")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    command = ["sh", "-c", _RECEIVE, "sh", params["to"], params["mode"], digest]
    host.run(f"sending {path.name}", command, path)
    return {"tool_seconds": Clock.spent()}


if __name__ == "__main__":
    run_module(ARGUMENTS, send)
