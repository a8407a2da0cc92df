#!/usr/bin/python
"""Run a package's functional tests: the `classic` plays of tests/tests*.yml (Standard Test Interface), in the sandbox.

A test sees the candidate installed: its files lie over the builder's /usr, and alone under $TEST_ROOT. $TEST_SUBJECTS
holds the paths of the run's RPM files, $TEST_ARTIFACTS the folder for results.yml, JUnit files, logs, and the workdirs
of tmt's plans (execute/results.yaml). The play runs on localhost inside the sandbox, without network and without root.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_junit import TESTS_LIMIT, Test, read_junit
from ansible.module_utils.ci_reruns import Attempt, Reruns, Source, run_all
from ansible.module_utils.ci_results import read_results_yml, regular_files, verdict
from ansible.module_utils.ci_sandbox import Finished, Sandbox, require
from ansible.module_utils.ci_stage import PackageError, Part, clean, run_module
from ansible.module_utils.ci_testroot import PACKAGES, ROOT, binary_rpms, over_host, unpack
from ansible.module_utils.ci_tmt import find_plans, read_tmt_results

if TYPE_CHECKING:
    from collections.abc import Sequence

ARGUMENTS: Final[dict[str, Any]] = {
    "source": {"type": "path", "required": True},
    "package_repo": {"type": "path", "required": True},
    "roles": {"type": "dict", "required": True},
    "workspace": {"type": "path", "required": True},
    "quarantine": {"type": "list", "elements": "dict", "default": []},
    "reruns": {"type": "dict", "default": {}},
    "began": {"type": "float", "required": True},
    "limits": {"type": "dict", "required": True},
}
NONE: Final = "the package has no functional tests (no tests/tests*.yml)"
NONE_TAGGED: Final = "the package has no functional tests (no play tagged classic in tests/tests*.yml)"
_ARTIFACTS: Final = "/artifacts"
_ROLES: Final = "/sti/roles"
_SOURCE: Final = "/source"
_INVENTORY: Final = "/sti/inventory"
_RECAP: Final = re.compile(r"^\S+\s+: ok=(\d+)\s+changed=\d+\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
_SAID: Final = re.compile(r"^(?:\[ERROR\]|ERROR!|fatal): *(.+)$", re.MULTILINE)
_PATH_LIMIT: Final = 2000
_KINDS: Final = {".xml": "junit", ".yml": "report", ".yaml": "report", ".log": "log", ".txt": "log"}


def run_tests(params: dict[str, Any]) -> Part:
    """Run all test playbooks; see the module's docstring."""
    playbooks = find_playbooks(Path(params["source"]))
    if not playbooks:
        return {"status": "SKIPPED", "reason": NONE, "outputs": {"total": 0, "failed": 0}}
    workspace, reruns = Path(params["workspace"]), Reruns.of(params)
    sandbox, source = prepare(params, workspace), Source(Path(params["source"]), workspace, reruns)
    runs = {name: partial(run_playbook, name, sandbox, source) for name in playbooks}
    try:
        tests, remarks = run_all(runs, reruns)
    except PackageError as error:
        error.part["artifacts"] = _artifacts(workspace)
        raise
    artifacts = _artifacts(workspace)
    if not tests:
        return {
            "status": "SKIPPED",
            "reason": NONE_TAGGED,
            "outputs": {"total": 0, "failed": 0},
            "artifacts": artifacts,
        }
    part = verdict(tests, "functional", params["quarantine"], remarks)
    if part["outputs"]["total"] == 0:
        part |= {"status": "SKIPPED", "reason": f"all {len(tests)} functional tests were skipped"}
    del part["outputs"]["skipped"]
    return part | {"artifacts": artifacts}


def find_playbooks(source: Path) -> list[str]:
    """Return the names of tests/tests*.yml, where both the folder and the files are real."""
    folder = source / "tests"
    if folder.is_symlink() or not folder.is_dir():
        return []
    found = sorted(path for path in folder.glob("tests*.yml") if path.is_file() and not path.is_symlink())
    return [path.name for path in found if re.fullmatch(r"[A-Za-z0-9._+-]+", path.name)]


def prepare(params: dict[str, Any], workspace: Path) -> Sandbox:
    """Return the sandbox all playbooks run in."""
    repo, limits = Path(params["package_repo"]), params["limits"]
    names = binary_rpms(repo)
    root = unpack(names, repo, workspace, limits)
    artifacts, sti = workspace / "artifacts", workspace / "sti"
    artifacts.mkdir()
    _write_roles(sti, params["roles"])
    return Sandbox(
        workspace,
        limits,
        writable={_SOURCE: Path(params["source"]), _ARTIFACTS: artifacts},
        readable={PACKAGES: repo, ROOT: root, "/sti": sti, **_python()},
        environment=_environment(names, root),
        folder=f"{_SOURCE}/tests",
        extra=over_host(root, workspace),
    )


def _write_roles(sti: Path, roles: dict[str, str]) -> None:
    for name, text in roles.items():
        path = sti / "roles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    line = f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    (sti / "inventory").write_text(f"[classic]\n{line}", encoding="utf-8")


def _python() -> dict[str, Path]:
    """Return the folders of the Python that Ansible runs in, unless it is the system's."""
    prefixes = {sys.prefix, sys.base_prefix}
    return {prefix: Path(prefix) for prefix in sorted(prefixes) if not prefix.startswith("/usr")}


def _environment(names: Sequence[str], root: Path) -> dict[str, str]:
    environment = {
        "ANSIBLE_HOME": "/tmp/ansible",  # noqa: S108
        "ANSIBLE_LOCAL_TEMP": "/tmp/ansible/tmp",  # noqa: S108
        "ANSIBLE_REMOTE_TMP": "/tmp/ansible/tmp",  # noqa: S108
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_ROLES_PATH": _ROLES,
        "TEST_ROOT": ROOT,
        "TEST_SUBJECTS": " ".join(f"{PACKAGES}/{name}" for name in names),
    }
    # The builder's linker does not look where Fedora's packages put their libraries.
    return environment | ({"LD_LIBRARY_PATH": "/usr/lib64"} if (root / "usr" / "lib64").is_dir() else {})


def run_playbook(name: str, sandbox: Sandbox, source: Source, attempt: Attempt) -> list[Test]:
    """Run one playbook and return its tests; none when no play of it is tagged classic.

    Raises PackageError when Ansible cannot even start it.
    """
    label = attempt.label(name.removesuffix(".yml"))
    artifacts, inside = sandbox.writable[_ARTIFACTS] / label, f"{_ARTIFACTS}/{label}"
    try:
        artifacts.mkdir()
    except FileExistsError as error:
        raise PackageError(f"the tests left {label} where the results of others belong") from error
    folder = source.of(attempt, label)
    place = dataclasses.replace(
        sandbox,
        limits={**sandbox.limits, "seconds": attempt.seconds},
        writable={**sandbox.writable, _SOURCE: folder},
        environment={**sandbox.environment, "TEST_ARTIFACTS": inside},
    )
    ran = place.run(_command(name, folder, inside), sandbox.workspace / f"{label}.ansible.log")
    return judge(name, ran, _reported(artifacts))


def _command(name: str, source: Path, artifacts: str) -> list[str]:
    own = source / "tests" / "inventory"
    inventory = "inventory" if own.exists() and not own.is_symlink() else _INVENTORY
    program = Path(sys.prefix) / "bin" / "ansible-playbook"
    command = [str(program) if program.is_file() else require("ansible-playbook"), "--tags", "classic"]
    return [*command, "--inventory", inventory, "--extra-vars", json.dumps({"artifacts": artifacts}), name]


def _reported(folder: Path) -> list[Test]:
    """Return the tests in the result files of one playbook. An unreadable file is an error of its own."""
    # The tests may have put a link in its place.
    if folder.is_symlink():
        return []
    plans, tests = _of_tmt(folder)
    for path in regular_files(folder):
        # A plan's JUnit file has the tests of its results.yaml once more.
        if not plans.isdisjoint(path.parents):
            continue
        if len(tests) > TESTS_LIMIT:
            break
        try:
            if path == folder / "results.yml":
                tests += read_results_yml(path)
            elif path.suffix == ".xml":
                found = read_junit(path)
                tests += found.tests + ([_error(path.name, found.claim)] if found.claim else [])
        except PackageError as error:
            tests.append(_error(clean(path.name, 80), str(error)))
    return tests


def _of_tmt(folder: Path) -> tuple[set[Path], list[Test]]:
    """Return the plans whose results tmt left, and their tests."""
    plans: list[Path] = []
    tests: list[Test] = []
    try:
        plans = find_plans(folder)
        for plan in plans:
            if len(tests) <= TESTS_LIMIT:
                tests += read_tmt_results(plan)
    except (OSError, PackageError) as error:
        tests.append(_error("results.yaml", clean(error, 300)))
    return set(plans), tests


def _error(name: str, message: str) -> Test:
    return {"name": name, "outcome": "error", "seconds": 0.0, "message": message}


def judge(name: str, ran: Finished, tests: list[Test]) -> list[Test]:
    """Return the tests, with one named after the playbook when its exit code says what no result file does."""
    said = clean(next(iter(_SAID.findall(ran.stdout)), "it said nothing"), 300)
    if ran.timed_out:
        return [*tests, _error(name, "the test playbook was stopped: it took longer than the stage may")]
    recap = _RECAP.findall(ran.stdout)
    if ran.returncode != 0 and not tests and not recap:
        raise PackageError(f"tests/{name} cannot be run by Ansible: {said}")
    if ran.returncode != 0 and all(test["outcome"] in {"passed", "skipped"} for test in tests):
        return [*tests, {"name": name, "outcome": "failed", "seconds": 0.0, "message": said}]
    if not tests:
        ran_something = any(int(ok) for ok, _, _ in recap)
        return [{"name": name, "outcome": "passed", "seconds": 0.0, "message": ""}] if ran_something else []
    return tests


def _artifacts(workspace: Path) -> list[dict[str, str]]:
    """Return what the tests left, and Ansible's own logs."""
    found = [{"path": str(path), "kind": "log"} for path in sorted(workspace.glob("*.ansible.log"))]
    root = workspace / "artifacts"
    kept = [path for path in regular_files(root) if path.suffix in _KINDS and _can_be_named(path)]
    return found + [
        {"path": str(path), "kind": _KINDS[path.suffix], "name": str(path.relative_to(root))} for path in kept
    ]


def _can_be_named(path: Path) -> bool:
    """Tell whether a result can name the file: not when its name is no text, or longer than a path of ours gets."""
    name = os.fsencode(path)
    return len(name) <= _PATH_LIMIT and name.decode(errors="replace") == str(path)


if __name__ == "__main__":
    run_module(ARGUMENTS, run_tests)
