"""Package code that tries every way out, wherever package code runs: none leads anywhere."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
from ansible.module_utils.ci_rootbox import RootSandbox

from tests.hostile import escapes
from tests.hostile.specs import spec
from tests.playbooks.stage_runs import LIMITS
from tests.playbooks.sti import play, shell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.builder import Builder

pytestmark = pytest.mark.timeout(1200)

PROBES: Final = "probes.sh"
# A program that leaves its parents: it must end with the build. Its argument is this builder's alone.
SLEEP: Final = "sleep 9{worker}"
DAEMON: Final = f"setsid sh -c '{SLEEP} & exec {SLEEP}' >/dev/null 2>&1 &"
RUN: Final = f"sh %{{_sourcedir}}/{PROBES}"
# While the spec is read: from the shell, and from Lua, which is rpm's own process.
MACRO: Final = f"%{{error:shell: %({DAEMON} {RUN}) Lua: %{{lua: print(io.popen('sh probes.sh'):read('a'))}}}}"
NOTHING: Final = escapes.nothing(escapes.ALL)

# Of a playbook, what would act outside: each has to fail.
TASKS: Final[dict[str, dict[str, Any]]] = {
    "lookup of a file": {"debug": {"msg": "{{ lookup('file', '{state}/secret') }}"}},
    "lookup of hashes": {"debug": {"msg": "{{ lookup('file', '/etc/shadow') }}"}},
    "lookup through a pipe": {"debug": {"msg": "{{ lookup('pipe', 'cat {state}/secret') }}"}},
    "lookup of the environment": {"assert": {"that": "lookup('env', 'WORKER_SECRET')"}},
    "delegate_to": {"command": "cat {state}/secret", "delegate_to": "127.0.0.1"},
    "local_action": {"local_action": "command cat {state}/secret"},
    "another connection": {"command": "cat {state}/secret", "vars": {"ansible_connection": "ssh"}},
    "another host": {"command": "cat {state}/secret", "delegate_to": "added"},
    "become": {"command": "cat {state}/secret", "become": True},
    "fetch": {"fetch": {"src": "{state}/secret", "dest": "/artifacts/"}},
    "copy": {"copy": {"content": "got out", "dest": "{state}/written"}},
}


def test_every_way_leads_out_where_nothing_holds_it(open_builder: Builder, tmp_path: Path) -> None:
    """Else a probe that finds nothing would prove nothing."""
    if os.geteuid() != 0:
        pytest.skip("some of the ways are root's alone")
    ways = {name: way for name, way in escapes.ALL.items() if name not in escapes.LASTING}
    probes = tmp_path / PROBES
    probes.write_text(escapes.script(ways, open_builder.places))
    ran = subprocess.run(["sh", probes], capture_output=True, text=True, check=True)
    found = [name for name in ways if f"{name}: " not in ran.stdout]

    assert found == []
    assert open_builder.canary in ran.stdout
    assert len(open_builder.harm()) == 7


def test_a_build_gets_nowhere(builder: Builder) -> None:
    """Neither do the macros that are run before it, nor what they leave running."""
    probes = escapes.script(escapes.ALL, builder.places)
    read = builder.build_files({"hello.spec": builder.filled(spec(preamble=MACRO)), PROBES: probes})
    build = f"{DAEMON}\nsh %{{_sourcedir}}/{PROBES}\nexit 1"
    built = builder.build_files({"hello.spec": builder.filled(spec(build=build)), PROBES: probes})

    assert read.told[:2] == built.told[:2] == ("FAILURE", "package")
    assert f"hello.spec is not a valid spec: shell: {NOTHING} Lua: {NOTHING}" in read.told[2]
    assert built.told[2] == f"%build failed: {NOTHING}"
    assert builder.harm() == []
    assert builder.filled(SLEEP) not in command_lines()
    assert builder.build_harmless().told == ("SUCCESS", "", "")


def test_a_scriptlet_that_leaves_its_chroot_gets_nowhere(tmp_path: Path, builder: Builder) -> None:
    """It is root in its sandbox, with what rpm needs to give files to their owners; no more."""
    (tmp_path / PROBES).write_text(escapes.script(escapes.OF_ROOT, builder.places))
    sandbox = RootSandbox(tmp_path, LIMITS, readable={f"/{PROBES}": tmp_path / PROBES})

    assert sandbox.run(["sh", f"/{PROBES}"]).stdout.strip() == escapes.nothing(escapes.OF_ROOT)
    assert builder.harm() == []


def command_lines() -> str:
    """Return the command lines of all processes there are."""
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_the_tests_of_a_package_get_nowhere(builder: Builder, package: Path) -> None:
    """Whatever means of Ansible they use: their localhost is the sandbox, and so is whoever they delegate to."""
    probes = escapes.script(escapes.ALL, builder.places)
    ended = builder.run_tests(
        package,
        {
            "tests/tests.yml": play(f"tasks: {json.dumps(_tasks(builder))}"),
            f"tests/{PROBES}": probes,
            **_own_ansible(),
        },
    )

    log = (ended.workspace / "tests.ansible.log").read_text()

    assert ended.told == ("UNSTABLE", "", "1 of 1 functional test failed: tests.yml")
    assert f"the callback: {NOTHING}" in log
    assert "nothing led out" in log
    assert builder.harm() == []
    assert builder.filled(SLEEP) not in command_lines()
    assert builder.run_tests(package, {"tests/tests.yml": shell("true")}).told == ("SUCCESS", "", "")


def _tasks(builder: Builder) -> list[dict[str, Any]]:
    """Return tasks that try all of TASKS, and a last one that names those which did not fail."""
    tasks: list[dict[str, Any]] = [{"add_host": {"name": "added", "ansible_connection": "local"}}]
    for number, (name, task) in enumerate(TASKS.items()):
        tasks.append(
            {"name": name, **task, "register": f"way_{number}", "ignore_errors": True, "ignore_unreachable": True}
        )
    failed = [f"way_{number} is failed or way_{number} is unreachable" for number in range(len(TASKS))]
    tasks.append({"assert": {"that": failed, "fail_msg": "something led out"}})
    tasks += [{"shell": DAEMON}, {"fail": {"msg": "nothing led out"}}]
    return json.loads(builder.filled(json.dumps(tasks)))


def _own_ansible() -> dict[str, str]:
    """Return an ansible.cfg of the package, whose callback plugin runs the probes inside of Ansible itself."""
    callback = f"""\
import subprocess
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "evil"
    def v2_playbook_on_stats(self, stats):
        print("the callback:", subprocess.run(["sh", "{PROBES}"], capture_output=True, text=True).stdout)
"""
    settings = "[defaults]\ncallback_plugins = callbacks\ncallbacks_enabled = evil\n"
    return {"tests/ansible.cfg": settings, "tests/callbacks/evil.py": callback}
