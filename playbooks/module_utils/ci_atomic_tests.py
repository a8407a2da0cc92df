"""The package's own tests of a booted host: the plays of tests/tests*.yml tagged `atomic`, each task as a test.

The playbooks are package code, so Ansible runs in the sandbox, which has no network: it gets to the host through a
socket in a shared folder, with a key for this one machine. The guest has no Python: tasks are `raw`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import selectors
import shutil
import socket
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_host_checks import SSH_OPTIONS
from ansible.module_utils.ci_junit import read_junit
from ansible.module_utils.ci_reruns import Source
from ansible.module_utils.ci_results import regular_files
from ansible.module_utils.ci_sandbox import Sandbox, require
from ansible.module_utils.ci_stage import PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ansible.module_utils.ci_host_checks import Ssh
    from ansible.module_utils.ci_reruns import Attempt, Reruns

Test = dict[str, Any]

_VM: Final = "/vm"
_SOURCE: Final = "/source"
_JUNIT: Final = "/artifacts"
_PLAYBOOK: Final = re.compile(r"tests[A-Za-z0-9._+-]*\.yml")
_SAID: Final = re.compile(r"^(?:\[ERROR\]|ERROR!|fatal): *(.+)$", re.MULTILINE)
_RECAP: Final = re.compile(r"^\S+\s+: ok=\d+", re.MULTILINE)
_CHUNK: Final = 1 << 16
_PROXY: Final = """\
import os, selectors, socket
peer = socket.socket(socket.AF_UNIX)
peer.connect("/vm/ssh")
ready = selectors.DefaultSelector()
ready.register(0, selectors.EVENT_READ)
ready.register(peer, selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        data = os.read(0, 65536) if key.fd == 0 else peer.recv(65536)
        if not data:
            raise SystemExit
        if key.fd == 0:
            peer.sendall(data)
        else:
            os.write(1, data)
"""


def playbooks(source: Path) -> list[str]:
    """Return the names of the package's test playbooks, where folder and files are real."""
    folder = source / "tests"
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if _is_playbook(path))


def _is_playbook(path: Path) -> bool:
    return bool(_PLAYBOOK.fullmatch(path.name)) and path.is_file() and not path.is_symlink()


@contextlib.contextmanager
def atomic_runs(  # noqa: PLR0913 - a machine, a package and what its tests may use
    *, ssh: Ssh, source: Path, workspace: Path, limits: Mapping[str, Any], roles: Mapping[str, str], reruns: Reruns
) -> Iterator[dict[str, Callable[[Attempt], list[Test]]]]:
    """Give for the block, by name, what runs the atomic plays of a playbook against the host; each task is a test.

    `roles` are the standard test roles, text by path: Ansible looks for those of every play, the skipped ones' too.
    """
    names = playbooks(source)
    if not names:
        yield {}
        return
    vm = workspace / "vm"
    vm.mkdir()
    shutil.copyfile(ssh.key, vm / "key")
    (vm / "key").chmod(0o600)
    (vm / "proxy.py").write_text(_PROXY, encoding="ascii")
    (vm / "inventory").write_text(_inventory(ssh.user), encoding="utf-8")
    for name, text in roles.items():
        (vm / "roles" / name).parent.mkdir(parents=True, exist_ok=True)
        (vm / "roles" / name).write_text(text, encoding="utf-8")
    sandbox = _sandbox(workspace, limits, vm)
    kept = Source(source, workspace, reruns)
    with _relay(vm / "ssh", (ssh.address, ssh.port)):
        yield {name: partial(_run, name, sandbox, kept) for name in names}


def _sandbox(workspace: Path, limits: Mapping[str, Any], vm: Path) -> Sandbox:
    return Sandbox(
        workspace,
        limits,
        writable={_VM: vm},
        readable={prefix: Path(prefix) for prefix in {sys.prefix, sys.base_prefix} if not prefix.startswith("/usr")},
        environment=_environment(),
        folder=f"{_SOURCE}/tests",
    )


def _inventory(user: str) -> str:
    options = [*SSH_OPTIONS, "-o", f"'ProxyCommand={sys.executable} -I {_VM}/proxy.py'"]
    variables = {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_user": user,
        "ansible_become": "false" if user == "root" else "true",
        "ansible_ssh_private_key_file": f"{_VM}/key",
        "ansible_ssh_transfer_method": "piped",
        "ansible_ssh_common_args": " ".join(options),
    }
    return "[atomic]\nlocalhost " + " ".join(f'{name}="{value}"' for name, value in variables.items()) + "\n"


def _run(name: str, sandbox: Sandbox, source: Source, attempt: Attempt) -> list[Test]:
    label = attempt.label(name.removesuffix(".yml"))
    artifacts = sandbox.workspace / "atomic" / label
    artifacts.mkdir(parents=True)
    place = dataclasses.replace(
        sandbox,
        limits={**sandbox.limits, "seconds": attempt.seconds},
        writable={**sandbox.writable, _SOURCE: source.of(attempt, label), _JUNIT: artifacts},
    )
    program = Path(sys.prefix) / "bin" / "ansible-playbook"
    command = [str(program) if program.is_file() else require("ansible-playbook"), "--tags", "atomic"]
    log = sandbox.workspace / f"{attempt.label(name)}.atomic.log"
    ran = place.run([*command, "--inventory", f"{_VM}/inventory", name], log)
    tests = _reported(artifacts)
    if ran.timed_out:
        return [*tests, _error(name, "the test playbook was stopped: it took longer than the stage may")]
    if ran.returncode != 0 and all(test["outcome"] in {"passed", "skipped"} for test in tests):
        said = next(iter(_SAID.findall(ran.stdout)), "it said nothing")
        return [*tests, _error(name, clean(said, 300))]
    return tests


def _environment() -> dict[str, str]:
    return {
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit",
        "ANSIBLE_HOME": "/tmp/ansible",  # noqa: S108 - the sandbox's own /tmp
        "ANSIBLE_LOCAL_TEMP": "/tmp/ansible/tmp",  # noqa: S108
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_ROLES_PATH": f"{_VM}/roles",
        "ANSIBLE_SSH_RETRIES": "0",
        "JUNIT_HIDE_TASK_ARGUMENTS": "1",
        "JUNIT_OUTPUT_DIR": _JUNIT,
        "TEST_ARTIFACTS": _JUNIT,
        "TEST_SUBJECTS": "localhost",
    }


def _reported(folder: Path) -> list[Test]:
    tests: list[Test] = []
    for path in regular_files(folder):
        if path.suffix == ".xml":
            try:
                tests += read_junit(path).tests
            except PackageError as error:
                tests.append(_error(path.name, str(error)))
    return [test | {"name": test["name"].partition(": ")[2] or test["name"]} for test in tests]


def _error(name: str, message: str) -> Test:
    return {"name": clean(name, 80), "outcome": "error", "seconds": 0.0, "message": message}


@contextlib.contextmanager
def _relay(path: Path, host: tuple[str, int]) -> Iterator[None]:
    """Pass connections to the socket at `path` on to the host for the block."""
    with socket.socket(socket.AF_UNIX) as server:
        _bind(server, path)
        server.listen()
        threading.Thread(target=_accept, args=(server, host), daemon=True).start()
        yield


def _bind(server: socket.socket, path: Path) -> None:
    """Bind to a path of any length: the address of a Unix socket holds 108 bytes, and a workspace may lie deep."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _accept(server: socket.socket, host: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):  # the block ended and closed the socket
        while True:
            client, _ = server.accept()
            threading.Thread(target=_pass_on, args=(client, host), daemon=True).start()


def _pass_on(client: socket.socket, address: tuple[str, int]) -> None:
    with contextlib.suppress(OSError), client, socket.create_connection(address) as host:
        other = {client: host, host: client}
        with selectors.DefaultSelector() as ready:
            for one in other:
                ready.register(one, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    one = client if key.fileobj is client else host
                    data = one.recv(_CHUNK)
                    if not data:
                        return
                    other[one].sendall(data)
