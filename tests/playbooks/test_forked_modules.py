"""A module whose builder is this machine runs in a fork of Ansible's worker; every other one as Ansible runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.playbooks.stage_runs import PLAYBOOKS

_CONFIG: Final = """
[defaults]
inventory = hosts.yml
library = library:others
module_utils = module_utils
action_plugins = action_plugins
callback_plugins = callback_plugins
stdout_callback = default
[connection]
pipelining = true
"""
_UTIL: Final = """
import gc
def told():
    command = open("/proc/self/cmdline", "rb").read().split(b"\\0")
    return {"forked": any(b"ansible-playbook" in word for word in command), "frozen": gc.get_freeze_count()}
"""
_MODULE: Final = """
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ci_told import told
import os, signal, sys
def main():
    text = {"type": "str", "default": ""}
    module = AnsibleModule(argument_spec={"word": text, "does": text})
    exec(module.params["does"])
    module.exit_json(changed=True, word=module.params["word"], seen=os.environ.get("SEEN", ""), **told())
if __name__ == "__main__":
    main()
"""
_HOST: Final = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
_BREAKS_OFF: Final = {
    "exception": ("raise ValueError('no such thing')", "no such thing"),
    "exit": ("sys.stderr.write('last words'); sys.exit(3)", "last words"),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", "Killed"),
    "silence": ("os.close(1); sys.exit(0)", "deserialization failed"),
    "failure": ("module.fail_json(msg='it said no')", "it said no"),
}
_ELSEWHERE: Final = {
    "of_strangers": {"stranger": {}},
    "with_an_environment": {"tell": {}, "environment": {"SEEN": "another"}},
    "another_python": {"tell": {}, "vars": {"ansible_python_interpreter": "/usr/bin/python3"}},
    "in_the_background": {"tell": {}, "async": 30, "poll": 1},
}
_TASKS: Final[dict[str, dict[str, Any]]] = {
    **{name: {"tell": {"does": does}} for name, (does, _) in _BREAKS_OFF.items()},
    **_ELSEWHERE,
    "unknown_argument": {"tell": {"no_such": 1}},
    "noise": {"tell": {"does": "os.system('echo of a tool; echo of a tool >&2')", "word": "there"}},
    # After all that may have harmed the worker or Ansible.
    "last": {"tell": {"word": "äöü\u2028{{ 1 + 1 }}"}},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each task registers, in a playbook with a module of its own, `tell`, and one of strangers, `stranger`."""
    folder = tmp_path_factory.mktemp("playbooks")
    for plugins in ("action_plugins", "callback_plugins"):
        shutil.copytree(PLAYBOOKS / plugins, folder / plugins)
    tasks = [{**task, "register": f"told_{name}", "ignore_errors": True} for name, task in _TASKS.items()]
    answers = {name: f"{{{{ told_{name} }}}}" for name in _TASKS}
    answer = {
        "copy": {"content": "{{ answers | to_json }}", "dest": str(folder / "told")},
        "vars": {"answers": answers},
    }
    files = {
        "ansible.cfg": _CONFIG,
        "library/tell.py": _MODULE,
        "others/stranger.py": _MODULE,
        "module_utils/ci_told.py": _UTIL,
        "hosts.yml": json.dumps({"all": {"hosts": {"here": _HOST}}}),
        "play.yml": json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [*tasks, answer]}]),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    _play(folder)
    answered: dict[str, dict[str, Any]] = json.loads((folder / "told").read_text(encoding="utf-8"))
    return answered


def _play(folder: Path) -> None:
    ended = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "play.yml"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "SEEN": "passed on"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("how", _BREAKS_OFF)
def test_module_that_breaks_off_fails_its_task_and_says_why(told: dict[str, dict[str, Any]], how: str) -> None:
    """Whether by an exception, an exit, a signal, without a word or by failing as modules do."""
    assert told[how]["failed"]
    assert _BREAKS_OFF[how][1] in json.dumps(told[how])


def test_argument_that_is_not_known_is_refused(told: dict[str, dict[str, Any]]) -> None:
    """As Ansible does everywhere."""
    assert told["unknown_argument"]["failed"]
    assert "no_such" in told["unknown_argument"]["msg"]


def test_what_a_module_starts_may_write_to_its_output(told: dict[str, dict[str, Any]]) -> None:
    """The result is found among it."""
    assert told["noise"]["word"] == "there"


def test_module_is_forked_with_the_environment_of_the_playbook(told: dict[str, dict[str, Any]]) -> None:
    """Its arguments are those Ansible has made of the task; what went wrong before it left no trace."""
    last = told["last"]
    assert (last["forked"], last["word"], last["seen"]) == (True, "äöü\u20282", "passed on")


def test_what_ansible_has_loaded_is_frozen_before_it_forks(told: dict[str, dict[str, Any]]) -> None:
    """All of it: a hundred thousand objects and more."""
    assert told["last"]["frozen"] > 50_000


@pytest.mark.parametrize("task", _ELSEWHERE)
def test_anything_else_runs_as_ansible_runs_it(told: dict[str, dict[str, Any]], task: str) -> None:
    """A fork of the worker would be something else than what was asked for."""
    assert told[task].get("failed", False) is False
    assert told[task]["forked"] is False
