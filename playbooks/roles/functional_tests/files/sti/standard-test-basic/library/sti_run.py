#!/usr/bin/python
"""Run the tests of a Standard Test Interface play and leave results.yml, test.log and a log of each in `artifacts`.

`tests` is a list of `{name: {dir, run}}` (dir defaults to the name, run to ./runtest.sh) or of names: a script, or a
folder with a runtest.sh. All tests run, whatever the ones before did; the task fails at the end when one did not pass.
Runs in the sandbox: a test may do there what it likes.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def describe(item: Any) -> tuple[str, str, str]:
    """Return a test's name, folder and shell command."""
    if isinstance(item, dict):
        name, details = next(iter(item.items()))
        details = details or {}
        return str(name), str(details.get("dir", name)), str(details.get("run", "./runtest.sh"))
    if Path(item).is_dir():
        return str(item), str(item), "./runtest.sh"
    return str(item), ".", f"./{item}"


def run_test(item: Any, artifacts: Path) -> dict[str, Any]:
    """Run one test and return its row of results.yml. A test that cannot be started is an error."""
    name, folder, command = describe(item)
    log = artifacts / (re.sub(r"[^A-Za-z0-9._-]", "_", name) + ".log")
    with log.open("wb") as output:
        try:
            code = subprocess.call(["/bin/sh", "-c", command], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
            result = "pass" if code == 0 else "fail"
        except OSError as error:
            output.write(f"{folder}: {error.strerror}\n".encode())
            result = "error"
    with (artifacts / "test.log").open("a", encoding="utf-8") as summary:
        summary.write(f"{result.upper()} {name}\n")
    return {"test": name, "result": result, "logs": [log.name]}


def main() -> None:
    """Run all tests."""
    arguments = {
        "tests": {"type": "list", "elements": "raw", "required": True},
        "artifacts": {"type": "path", "required": True},
    }
    module = AnsibleModule(argument_spec=arguments)
    artifacts = Path(module.params["artifacts"])
    artifacts.mkdir(parents=True, exist_ok=True)
    rows = [run_test(item, artifacts) for item in module.params["tests"]]
    # JSON is YAML, and needs no library here.
    (artifacts / "results.yml").write_text(json.dumps({"results": rows}, indent=1) + "\n", encoding="utf-8")
    failing = [row["test"] for row in rows if row["result"] != "pass"]
    if failing:
        module.fail_json(msg="did not pass: " + ", ".join(failing), results=rows)
    module.exit_json(changed=True, results=rows)


if __name__ == "__main__":
    main()
