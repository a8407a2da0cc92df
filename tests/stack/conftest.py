"""Stacks of real servers, each in a folder of its own, and a look at the machine that does not go through our code."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ci_pipeline import process_table, stack


def processes_of(state: Path) -> list[psutil.Process]:
    """Return the processes that mention the state folder in their command line or environment."""
    found = []
    for process in process_table.everyone():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if process.pid != psutil.Process().pid and any(str(state) in word for word in words):
            found.append(process)
    return found


def command_of(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing when it is gone meanwhile, as servers' helpers are soon."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def listening(port: int) -> bool:
    """Tell whether a loopback port accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Return a state folder; whatever runs there is gone afterwards."""
    folder = tmp_path / "s"
    yield folder
    stack.down(state=folder)
    left = processes_of(folder)

    assert not left


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.UpResult]:
    """Return a stack of servers shared by the tests of a module, which leave it as it is."""
    folder = tmp_path_factory.mktemp("servers") / "s"
    yield stack.up(state=folder, wanted=stack.SERVERS)
    stack.down(state=folder)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that is not the stack's, though it looks like one of its servers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path), "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.kill()
    process.wait()
