"""Where the local stack keeps its files, and how private ones are written.

Everything lives below one state folder, so that it can be thrown away as a whole and two stacks never meet.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from ci_pipeline.errors import StackError

# A path ends up in a supervisor configuration, a shell-like env file and an Erlang term; none of these quotes alike.
_UNUSABLE = "\"'\\$%`\n\r\t,;#{}[]"
# sun_path holds 108 bytes, and supervisor binds "<socket>.<pid>" before it renames.
_LONGEST_SOCKET = 98


@dataclass(frozen=True)
class Layout:
    """Paths of one stack.

    Attributes:
        state: absolute folder of the stack's own files.
        project: absolute folder that holds `dags/` and `plugins/`.
    """

    state: Path
    project: Path

    @property
    def record(self) -> Path:
        """Ports and versions (JSON)."""
        return self.state / "stack.json"

    @property
    def secrets(self) -> Path:
        """Generated secrets (JSON)."""
        return self.state / "secrets.json"

    @property
    def env(self) -> Path:
        """What an Airflow component or the CLI needs, `KEY='value'` per line."""
        return self.state / "stack.env"

    @property
    def supervisor_config(self) -> Path:
        """Configuration of the process manager."""
        return self.state / "supervisord.conf"

    @property
    def supervisor_socket(self) -> Path:
        """Unix socket of the process manager."""
        return self.state / "supervisor.sock"

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops the stack."""
        return self.state / "lock"

    @property
    def logs(self) -> Path:
        """A log per component."""
        return self.state / "logs"

    @property
    def postgres(self) -> Path:
        """Folder of the PostgreSQL cluster."""
        return self.state / "postgres"

    @property
    def rabbitmq(self) -> Path:
        """Home of the RabbitMQ node."""
        return self.state / "rabbitmq"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.state / "airflow"

    @property
    def artifacts(self) -> Path:
        """What the artifacts server publishes."""
        return self.state / "artifacts"

    def log_of(self, component: str) -> Path:
        """Return the log of a component."""
        return self.logs / f"{component}.log"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            StackError: the path cannot be used, or the folder is somebody else's.
        """
        _refuse_odd(self.state)
        _refuse_odd(self.project)
        if len(os.fsencode(self.supervisor_socket)) > _LONGEST_SOCKET:
            msg = f"the state folder's path is too long for a Unix socket: {self.state}; choose a shorter one"
            raise StackError(msg)
        # Others may pass through, not look: PostgreSQL's account and sandboxes reach their own folders below it.
        _make(self.state, 0o711)
        for folder in (self.logs, self.rabbitmq, self.airflow):
            _make(folder, 0o700)
        _make(self.artifacts, 0o755)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once; nobody but its owner can read it at any moment."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _make(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            msg = f"{folder} belongs to another user; run as that user, or choose another state folder"
            raise StackError(msg)
        folder.chmod(mode)
    except OSError as error:
        msg = f"cannot make the state folder {folder}: {error.strerror}; choose another one"
        raise StackError(msg) from error


def _refuse_odd(path: Path) -> None:
    odd = sorted(set(str(path)) & set(_UNUSABLE))
    if odd:
        msg = (
            f"the path {str(path)!r} holds {' '.join(map(repr, odd))}; move the project or choose another state folder"
        )
        raise StackError(msg)
