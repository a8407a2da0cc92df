"""Stacks of real servers: up, down, trouble in between."""

import json
import os
import signal
import socket
import stat
import subprocess
import time
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest

from ci_pipeline import process_table, stack
from ci_pipeline.errors import StackError
from ci_pipeline.stack import successor
from ci_pipeline.stack.components import Program
from ci_pipeline.stack.handle import locate
from ci_pipeline.stack.supervisor import Supervisor, config

from .conftest import command_of, listening, processes_of


def ports_of(state: Path) -> dict[str, int]:
    """Return the ports a stack has chosen."""
    ports: dict[str, int] = json.loads((state / "stack.json").read_text())["ports"]
    return ports


def component(state: Path, name: str) -> stack.ComponentStatus:
    """Return the status of one component."""
    return next(one for one in stack.status(state=state).components if one.name == name)


def wait_until_gone(pid: int) -> None:
    """Wait for the end of a process that is not our child, or is a zombie of another."""
    for process in process_table.everyone():
        if process.pid == pid:
            process.wait(timeout=10)


def test_a_port_in_use_is_named_and_left_to_its_owner(state: Path) -> None:
    """A kept port that a stranger has meanwhile: a sentence with the port, the stranger and the way out."""
    stack.up(state=state, wanted=["artifacts"])
    stack.down(state=state)
    before = ports_of(state)
    with socket.create_server(("127.0.0.1", before["artifacts"])) as owner:
        with pytest.raises(StackError, match=rf"port {before['artifacts']} \(artifacts\) is in use by .*--new-ports"):
            stack.up(state=state, wanted=["artifacts"])
        stack.up(state=state, wanted=["artifacts"], new_ports=True)
        after = ports_of(state)

        assert owner.fileno() >= 0
        assert component(state, "artifacts").healthy
    assert after["artifacts"] != before["artifacts"]
    assert {**after, "artifacts": 0} == {**before, "artifacts": 0}


def test_ports_do_not_change_under_a_running_stack(state: Path) -> None:
    """--new-ports needs a stack that is down."""
    stack.up(state=state, wanted=["artifacts"])
    with pytest.raises(StackError, match=r"run `ci-pipeline down`, then `ci-pipeline up --new-ports`"):
        stack.up(state=state, wanted=["artifacts"], new_ports=True)


def test_a_component_that_cannot_start_is_reported_with_its_log(state: Path) -> None:
    """`up` names the log instead of waiting for ever. It is tried again, and `status` says what to do."""
    stack.up(state=state, wanted=["artifacts"])
    (state / "rabbitmq" / "rabbitmq.conf").write_text("no such setting\n")
    with pytest.raises(StackError, match=r"rabbitmq does not start .*rabbitmq\.log"):
        stack.up(state=state, wanted=["rabbitmq"])
    found = component(state, "rabbitmq")

    assert found.state in {"dead", "starting"}
    assert not found.healthy
    assert str(found.log) in found.advice
    assert component(state, "artifacts").healthy


def test_a_component_that_hangs_is_not_called_healthy(state: Path) -> None:
    """A process that is there but does not answer is told apart from one that works."""
    stack.up(state=state, wanted=["artifacts"])
    pid = component(state, "artifacts").pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    found = component(state, "artifacts")
    os.kill(pid, signal.SIGCONT)

    assert (found.healthy, found.detail, found.pid) == (False, "does not answer", pid)
    assert str(found.log) in found.advice


def test_a_component_that_was_killed_comes_back(state: Path) -> None:
    """The process manager restarts what dies."""
    stack.up(state=state, wanted=["artifacts"])
    # Dying within its first second would count as not having started.
    deadline = time.monotonic() + 20
    while (found := component(state, "artifacts")).uptime in (None, 0, 1) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found.pid
    os.kill(found.pid, signal.SIGKILL)
    while (again := component(state, "artifacts")).pid in (None, found.pid) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert again.pid not in (None, found.pid)


def test_up_up_down_leaves_no_process(state: Path) -> None:
    """The second `up` starts nothing; after `down` neither a process nor an open port is left."""
    first = stack.up(state=state, wanted=stack.SERVERS)
    ports = ports_of(state)
    pids = {one.pid for one in processes_of(state)}
    second = stack.up(state=state, wanted=stack.SERVERS)

    assert set(first.started) == set(stack.SERVERS)
    assert second.already_up
    assert second.seconds < 3
    assert {one.pid for one in processes_of(state)} == pids

    stopped = stack.down(state=state)

    assert set(stopped.stopped) == set(stack.SERVERS)
    assert not processes_of(state)
    assert not [port for port in ports.values() if listening(port)]
    assert stack.down(state=state).already_down


def test_a_killed_process_manager_is_recovered_from(state: Path) -> None:
    """What it leaves running is found and ended by the next `up`; what was committed is still there."""
    url = stack.up(state=state, wanted=["postgres"]).variables["CI_PIPELINE_DATABASE__URL"].replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    manager = int((state / "supervisord.pid").read_text())
    os.kill(manager, signal.SIGKILL)
    wait_until_gone(manager)
    wreck = stack.status(state=state)
    again = stack.up(state=state, wanted=["postgres"])
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM kept")
        kept = cursor.fetchall()

    assert not wreck.running
    assert wreck.leftovers > 0
    assert again.started == ("postgres",)
    assert "a crash had left behind" in again.notes[0]
    assert kept == [(42,)]


def test_a_reboot_is_recovered_from(state: Path) -> None:
    """Stale pid files and a stale socket, one pid being a stranger's by now, do not keep the stack down."""
    stack.up(state=state, wanted=["postgres"])
    for process in processes_of(state):
        process.kill()
        process.wait(timeout=10)
    lock = state / "postgres" / "data" / "postmaster.pid"
    lines = lock.read_text().split("\n")
    sleeper = subprocess.Popen(["sleep", "300"], user=lock.stat().st_uid)
    try:
        lock.write_text("\n".join([str(sleeper.pid), *lines[1:]]))
        os.utime(lock, (time.time() - 3600, time.time() - 3600))
        again = stack.up(state=state, wanted=["postgres"])

        assert again.started == ("postgres",)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_down_ends_orphans_even_those_without_an_environment(state: Path) -> None:
    """A program that daemonizes and clears its environment has no parent and no marker; it is found all the same."""
    layout = locate(state)
    layout.prepare()
    script = state / "daemonize"
    script.write_text("(setsid env -i sleep 300 & echo $! >daemon)\nexec sleep 300\n")
    manager = Supervisor(layout)
    manager.start(config(layout, [Program(name="parent", command=("/bin/sh", str(script)), folder=str(state))]))
    manager.start_program("parent")
    deadline = time.monotonic() + 10
    while not (state / "daemon").exists() or not (state / "daemon").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    daemon = psutil.Process(int((state / "daemon").read_text()))
    adopted = daemon.ppid() == manager.pid()
    stopped = stack.down(state=state)

    assert adopted
    assert stopped.leftovers == 1
    assert not daemon.is_running()


def test_what_a_killed_component_has_left_ends_before_it_starts_again(state: Path) -> None:
    """Its workers would wait for ever, with its connections open. Those of another component are left alone."""
    layout = locate(state)
    layout.prepare()
    script = state / "component"
    script.write_text("sleep 300 &\necho $! >>$1\nexec sleep 300\n")
    names = ("killed", "other")
    command = {name: successor.command_of(("/bin/sh", str(script), str(state / name))) for name in names}
    programs = [Program(name=name, command=command[name], folder=str(layout.project)) for name in names]
    manager = Supervisor(layout)
    manager.start(config(layout, programs))
    for name in names:
        manager.start_program(name)
    first, other = (worker(state / name, 1) for name in names)
    os.kill(manager.processes()["killed"].pid, signal.SIGKILL)
    second = worker(state / "killed", 2)
    gone, _ = psutil.wait_procs([first], timeout=10)

    assert gone == [first]
    assert second.is_running()
    assert other.is_running()


def worker(told: Path, start: int) -> psutil.Process:
    """Return the worker that a component began in one of its starts, counted from 1."""
    deadline = time.monotonic() + 30
    while not told.exists() or len(told.read_text().split()) < start:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return psutil.Process(int(told.read_text().split()[start - 1]))


def test_down_spares_strangers(state: Path, stranger: subprocess.Popen[bytes]) -> None:
    """A look-alike, and a process that merely sourced stack.env, go on living."""
    result = stack.up(state=state, wanted=["artifacts"])
    sourced = subprocess.Popen(["sleep", "300"], env={**os.environ, **result.variables})
    try:
        stack.down(state=state)

        assert stranger.poll() is None
        assert sourced.poll() is None
    finally:
        sourced.kill()
        sourced.wait()


def test_two_stacks_do_not_disturb_each_other(state: Path, tmp_path: Path) -> None:
    """Own ports, own data; the end of one is nothing to the other."""
    other = tmp_path / "o"
    try:
        stack.up(state=state, wanted=stack.SERVERS)
        stack.up(state=other, wanted=stack.SERVERS)
        both = set(ports_of(state).values()) & set(ports_of(other).values())
        stack.down(state=other)
        left = [component(state, name).healthy for name in stack.SERVERS]
    finally:
        stack.down(state=other)

    assert not both
    assert all(left)
    assert not processes_of(other)


def test_hooks_run_when_servers_answer_and_once(state: Path) -> None:
    """Queues are declared before anything publishes; a stack that is up already is not prepared again."""
    calls = []
    for _ in range(2):
        stack.up(
            state=state, wanted=["postgres"], on_ready=[lambda env: calls.append(env["CI_PIPELINE_DATABASE__URL"])]
        )

    assert len(calls) == 1
    assert calls[0].startswith("postgresql+psycopg2://")


def test_secrets_are_private(servers: stack.UpResult) -> None:
    """No other account can read a secret in a file, and nobody sees one in `ps`."""
    secrets = json.loads((servers.state / "secrets.json").read_text()).values()
    files = [path for path in servers.state.rglob("*") if path.is_file() and "mnesia" not in path.parts]
    holding = [path for path in files if any(secret in path.read_text(errors="replace") for secret in secrets)]
    commands = " ".join(" ".join(command_of(process)) for process in processes_of(servers.state))

    assert len(holding) >= 4
    assert not [path for path in holding if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not [path for path in holding if path.parent.name == "logs"]
    assert not [secret for secret in secrets if secret in commands]
    assert not [secret for secret in secrets if secret in repr(servers)]


def test_servers_listen_on_loopback_only(servers: stack.UpResult) -> None:
    """No port of the stack is reachable from outside, and none is a default one."""
    pids = {process.pid for process in processes_of(servers.state)}
    found = [one for one in psutil.net_connections("inet") if one.status == psutil.CONN_LISTEN and one.pid in pids]

    assert found
    assert {one.laddr.ip for one in found} <= {"127.0.0.1", "::1"}
    assert {one.laddr.port for one in found} <= set(ports_of(servers.state).values())


def test_the_broker_wants_the_password(servers: stack.UpResult) -> None:
    """Another local user cannot get in as guest."""
    pika = pytest.importorskip("pika")
    port = ports_of(servers.state)["rabbitmq"]
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(f"amqp://guest:guest@127.0.0.1:{port}/ci_pipeline"))


def test_the_database_wants_the_password_and_keeps_its_promises(servers: stack.UpResult) -> None:
    """No trust for local users; what is committed is on disk."""
    url = servers.variables["CI_PIPELINE_DATABASE__URL"].replace("+psycopg2", "")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(url.replace("ci_pipeline:", "ci_pipeline:not-"))
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit'), to_regclass('outbox')")
        answer = cursor.fetchone()
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        superuser = cursor.fetchone()

    assert answer == ("on", "on", "outbox")
    assert superuser == (False,)
