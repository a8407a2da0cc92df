"""For the tests of functional tests: Standard Test Interface plays, as a package may have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

DEMO = Path(__file__).resolve().parents[2] / "demo" / "packages"
PLAY = """\
---
- hosts: localhost
  gather_facts: false
  tags: [{tag}]
{body}
"""


def play(body: str, tag: str = "classic") -> str:
    """Return a playbook of one play."""
    return PLAY.format(tag=tag, body="\n".join(f"  {line}" for line in body.strip().splitlines()))


def basic(**tests: str) -> str:
    """Return a playbook that runs these shell commands as tests of standard-test-basic."""
    rows = [{name: {"dir": ".", "run": command}} for name, command in tests.items()]
    return play(f"roles:\n- role: standard-test-basic\n  tests: {json.dumps(rows)}")


def shell(command: str) -> str:
    """Return a playbook that runs one shell command, without any role."""
    return play(f"tasks:\n- ansible.builtin.raw: {json.dumps(command)}")


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    """Return outcome by test name."""
    return {test["name"]: test["outcome"] for test in result["tests"]}


class Run(Protocol):
    """Run the functional tests of the greeter, whose tests these files are, and return the result."""

    def __call__(self, tests: dict[str, str], /, **request: Any) -> dict[str, Any]:
        """Keys given override the request."""
