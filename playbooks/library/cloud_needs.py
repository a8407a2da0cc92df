#!/usr/bin/python
"""Look whether the collection and the Python packages that a provider of hosts works with are installed.

They are an extra of the pipeline's, `cloud`: they are large, and most pipelines lend no hosts of clouds.
`paths` are where Ansible looks for collections besides its own Python.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from ansible.module_utils.ci_stage import InfrastructureError, Part, run_module

ARGUMENTS: Final[dict[str, Any]] = {
    "provider": {"type": "str", "required": True},
    "collection": {"type": "str", "required": True},
    "packages": {"type": "list", "elements": "str", "required": True},
    "paths": {"type": "list", "elements": "str", "default": []},
}


def look(params: dict[str, Any]) -> Part:
    """Look for them. Raises InfrastructureError that says what is missing and how to install it."""
    missing = [name for name in params["packages"] if find_spec(name) is None]
    if not _has_collection(params["collection"], [*params["paths"], *sys.path]):
        missing.append(f"the collection {params['collection']}")
    if missing:
        what = " and ".join(missing)
        raise InfrastructureError(
            f"provider {params['provider']} needs {what}: install the extra `cloud` where the playbook runs "
            "(uv sync --extra cloud, or pip install 'ci-pipeline[cloud]')"
        )
    return {}


def _has_collection(name: str, paths: list[str]) -> bool:
    inside = Path("ansible_collections", *name.split("."), "MANIFEST.json")
    return any((Path(path).expanduser() / inside).is_file() for path in paths)


if __name__ == "__main__":
    run_module(ARGUMENTS, look)
