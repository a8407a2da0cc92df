"""Run the pipeline's modules in a fork of Ansible's worker where the builder is this machine.

Ansible packs a module with all it imports for each task, and starts a Python for it that compiles every line of that
again: a third of a second, two dozen times a change. The worker has nearly all of it loaded. On another builder, by
another Python or user, and for all other modules, Ansible's way is taken. The name is that of the plugin Ansible runs
every module with.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import ansible.module_utils
import ansible.modules
from ansible.executor.module_common import _BuiltModule
from ansible.module_utils._internal._ansiballz import _loader
from ansible.module_utils.common.json import Direction, get_module_encoder
from ansible.plugins.action import ActionBase
from ansible.utils.vars import merge_hash

_PLAYBOOKS: Final = Path(__file__).resolve().parents[1]
_LIBRARY: Final = _PLAYBOOKS / "library"
# How Ansible writes the arguments of a module that says nothing of it.
_PROFILE: Final = "legacy"


class ActionModule(ActionBase):
    """Runs a module as Ansible does, but for two steps: how it is made ready, and how it is started."""

    _supports_check_mode = True
    _supports_async = True
    _forked = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the task's module."""
        in_background = self._task.async_val and not self._connection.has_native_async
        began = super().run(tmp, task_vars)
        return merge_hash(began, self._execute_module(task_vars=task_vars, wrap_async=in_background))

    def _configure_module(
        self, module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]
    ) -> tuple[_BuiltModule, str]:
        """Return the arguments alone where the module is started here."""
        module = _LIBRARY / f"{module_name}.py"
        if not (module.is_file() and self._is_at_home(task_vars)):
            return super()._configure_module(module_name, module_args, task_vars)
        self._forked = module_name
        encoder = get_module_encoder(_PROFILE, Direction.CONTROLLER_TO_MODULE)
        told = json.dumps({"ANSIBLE_MODULE_ARGS": module_args}, cls=encoder).encode()
        python = f"#!{sys.executable}"
        built = _BuiltModule(b_module_data=told, module_style="new", shebang=python, serialization_profile=_PROFILE)
        return built, str(module)

    def _is_at_home(self, task_vars: dict[str, Any]) -> bool:
        """Tell whether a fork of this process is what Ansible would start."""
        task = self._task
        differs = self._connection.become or task.async_val or task.delegate_to or any(task.environment or ())
        python = self._templar.template(task_vars.get("ansible_python_interpreter"))
        is_here = self._connection.transport == "local" and python == sys.executable
        return is_here and not differs and bool(self._is_pipelining_enabled("new"))

    def _low_level_execute_command(self, cmd: str, *args: Any, **options: Any) -> dict[str, Any]:
        """Run a command; where it is the module's start, fork instead."""
        if not self._forked or not options.get("in_data"):
            return super()._low_level_execute_command(cmd, *args, **options)
        return _forked(self._forked, options["in_data"])


def _forked(module: str, arguments: bytes) -> dict[str, Any]:
    """Run a module in a process of its own; return what a command's end looks like to Ansible."""
    # In memory: it need not be read while it is written, and the disk may be full.
    said = {name: os.memfd_create(name) for name in ("stdout", "stderr")}
    process = multiprocessing.get_context("fork").Process(target=_run, args=(module, arguments, *said.values()))
    process.start()
    process.join()
    ended: dict[str, Any] = {"rc": process.exitcode, **{name: _read(file) for name, file in said.items()}}
    if process.exitcode < 0:
        # As a shell has it, and says it.
        ended["rc"] = 128 - process.exitcode
        ended["stderr"] += f"{signal.strsignal(-process.exitcode)}\n"
    return ended | {f"{name}_lines": ended[name].splitlines() for name in said}


def _read(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode(errors="surrogateescape")


def _run(module: str, arguments: bytes, stdout: int, stderr: int) -> None:
    """Be the module."""
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    # The worker's would end the worker.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    ansible.modules.__path__.insert(0, str(_LIBRARY))
    ansible.module_utils.__path__.insert(0, str(_PLAYBOOKS / "module_utils"))
    _loader.run_module(
        json_params=arguments,
        profile=_PROFILE,
        module_fqn=f"ansible.modules.{module}",
        modlib_path=str(_PLAYBOOKS),
        extensions={},
    )
