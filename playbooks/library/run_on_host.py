#!/usr/bin/python
"""Run a command on a host of the cluster, as root. Its words reach it as they are, whatever is in them.

`what` is what the sentence of a failure begins with. `given` is the command's input, often a script for `sh -s`; it
appears nowhere. With `keep` the standard output is returned as `said`; else it is in the log.
"""

from __future__ import annotations

from typing import Any, Final

from ansible.module_utils import ci_ssh
from ansible.module_utils.ci_stage import Part, run_module
from ansible.module_utils.ci_tools import Clock

ARGUMENTS: Final[dict[str, Any]] = ci_ssh.ARGUMENTS | {
    "what": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str", "required": True},
    "given": {"type": "str", "default": "", "no_log": True},
    "keep": {"type": "bool", "default": False},
}


def run_on_host(params: dict[str, Any]) -> Part:
    """Run it; see the module's docstring."""
    host, what, command = ci_ssh.Host.given(params), params["what"], params["command"]
    said = ""
    if params["keep"]:
        said = host.read(what, command)
    else:
        host.run(what, command, params["given"].encode())
    return {"said": said.strip(), "tool_seconds": Clock.spent()}


if __name__ == "__main__":
    run_module(ARGUMENTS, run_on_host)
