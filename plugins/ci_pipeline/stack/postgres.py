"""A private PostgreSQL cluster with two databases: Airflow's and ours.

PostgreSQL refuses to run as root. As root the cluster belongs to the `postgres` account (else `nobody`); where that
account cannot reach the state folder (a clone below /root), it gets the one capability that lets it pass, nothing more.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import sql

from ci_pipeline.errors import StackError
from ci_pipeline.stack import tools
from ci_pipeline.stack.components import Program
from ci_pipeline.stack.layout import Layout, write_private
from ci_pipeline.stack.ports import LOOPBACK, answers
from ci_pipeline.stack.record import Secrets

AIRFLOW_DATABASE = "airflow"
PIPELINE_DATABASE = "ci_pipeline"
ROLE = "ci_pipeline"
_SUPERUSER = "postgres"
_PLACES = "/usr/lib/postgresql/*/bin/"
# psutil derives start times from the boot time, to the hundredth of a second; file times are coarser.
_CLOCK_SLACK = 2
# Reading past a folder's mode is enough; a container often drops that capability and keeps the broader one.
_WAYS_IN = ((), ("dac_read_search",), ("dac_override",))


def url(port: int, secrets: Secrets, database: str) -> str:
    """Return the SQLAlchemy URL of a database."""
    return f"postgresql+psycopg2://{ROLE}:{secrets.postgres}@{LOOPBACK}:{port}/{database}"


def program(layout: Layout, port: int) -> Program:
    """Return how the server is run."""
    settings = {
        "listen_addresses": LOOPBACK,
        "port": str(port),
        # TCP with a password only: a socket's path would limit the depth of the state folder.
        "unix_socket_directories": "",
        "max_connections": "200",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    server = tools.find("postgres", _PLACES + "postgres")
    return Program(
        name="postgres",
        command=(*_as_account(layout), server, "-D", str(_data(layout)), *options),
        folder=str(layout.state),
        # A fast shutdown: sessions are ended, everything is on disk. Its children must not get the signal.
        stop_signal="INT",
        stop_seconds=30,
        signal_group=False,
    )


def initialise(layout: Layout, secrets: Secrets) -> None:
    """Make the cluster if there is none.

    Raises:
        StackError: initdb is missing or fails.
    """
    if _data(layout).exists():
        return
    initdb = tools.find("initdb", _PLACES + "initdb")
    account = _as_account(layout)
    password, draft = layout.postgres / "password", layout.postgres / "draft"
    # An initdb that was interrupted leaves half a cluster; only a finished one gets its name.
    shutil.rmtree(draft, ignore_errors=True)
    write_private(password, secrets.postgres_superuser)
    _give_away(password)
    try:
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
        command = [*account, initdb, "-D", str(draft), "-U", _SUPERUSER, f"--pwfile={password}", *options]
        _run(command, layout)
    finally:
        password.unlink(missing_ok=True)
    draft.rename(_data(layout))


def forget_stale_pid(layout: Layout) -> None:
    """Remove the lock file of a server that a reboot ended, if its pid is a stranger's now.

    PostgreSQL would take that stranger for itself and refuse to start. In every other case it judges better than we
    do: the file also leads it to sessions of a killed server that still hold the data.
    """
    lock = _data(layout) / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
        if psutil.Process(pid).create_time() > lock.stat().st_mtime + _CLOCK_SLACK:
            lock.unlink()
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return


def is_ready(port: int, secrets: Secrets, database: str = "postgres") -> bool:
    """Tell whether the server answers a query."""
    if not answers(port):
        return False
    try:
        with closing(_connect(port, secrets, database)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.OperationalError:
        return False
    return True


def create_databases(port: int, secrets: Secrets) -> None:
    """Create the role and the databases that do not exist yet."""
    with closing(_connect(port, secrets, "postgres")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
        if cursor.fetchone() is None:
            create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            cursor.execute(create.format(sql.Identifier(ROLE), sql.Literal(secrets.postgres)))
        for name in (AIRFLOW_DATABASE, PIPELINE_DATABASE):
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                create = sql.SQL("CREATE DATABASE {} OWNER {}")
                cursor.execute(create.format(sql.Identifier(name), sql.Identifier(ROLE)))


def _connect(port: int, secrets: Secrets, database: str) -> "psycopg2.extensions.connection":
    return psycopg2.connect(
        host=LOOPBACK,
        port=port,
        dbname=database,
        user=_SUPERUSER,
        password=secrets.postgres_superuser,
        connect_timeout=3,
        options="-c statement_timeout=5000",
    )


def _data(layout: Layout) -> Path:
    return layout.postgres / "data"


def _as_account(layout: Layout) -> tuple[str, ...]:
    """Return the words that run a command as the cluster's account; none unless we are root."""
    layout.postgres.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() != 0:
        return ()
    _give_away(layout.postgres)
    setpriv = tools.find("setpriv")
    for capabilities in _WAYS_IN:
        words = _drop_to_account(setpriv, capabilities)
        if _can_write(words, layout.postgres):
            return words
    msg = f"PostgreSQL's account {_account().pw_name} cannot reach {layout.postgres}; choose another state folder"
    raise StackError(msg)


def _drop_to_account(setpriv: str, capabilities: Sequence[str]) -> tuple[str, ...]:
    account = _account()
    words = (setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
    kept = ",".join(f"+{name}" for name in capabilities)
    return (*words, f"--inh-caps={kept}", f"--ambient-caps={kept}") if kept else words


def _can_write(words: Sequence[str], folder: Path) -> bool:
    probe = folder / "reachable"
    tried = subprocess.run([*words, "touch", str(probe)], capture_output=True, check=False, cwd="/")  # noqa: S603
    probe.unlink(missing_ok=True)
    return tried.returncode == 0


def _account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    msg = "PostgreSQL does not run as root and there is neither an account postgres nor nobody; run `make setup`"
    raise StackError(msg)


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        account = _account()
        os.chown(path, account.pw_uid, account.pw_gid)


def _run(command: Sequence[str], layout: Layout) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")  # noqa: S603
    layout.log_of("postgres").write_text(done.stdout + done.stderr)
    if done.returncode:
        msg = f"the PostgreSQL cluster could not be made; see {layout.log_of('postgres')}"
        raise StackError(msg)
