"""The sandbox: the one way package code (a spec, a build, a test) runs on a builder.

Bubblewrap gives it no network, its own processes, a read-only /usr, a private /tmp and home, only the folders named
here, and only the system calls that builds make (ci_seccomp); ci_bounds limits what all of it uses together. As root
the program inside gets a user id of its own, one that owns nothing else on the host, so limits on processes count for
this run alone and files of root stay unreadable; without root a user namespace does the same with the caller's id.
Folders appear under fixed paths inside, so that it works wherever the workspace lies (below /root
too).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ansible.module_utils import ci_seccomp
from ansible.module_utils.ci_bounds import Bounds
from ansible.module_utils.ci_space import explains
from ansible.module_utils.ci_stage import DiskFullError, InfrastructureError, OverrunError, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

HOME: Final = "/builddir"
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
# systemd's range for dynamic users: Debian and Fedora give these to no account.
_FIRST_UID: Final = 61184
_UIDS: Final = 4336
_USER_NS_UID: Final = 1000
# What is shown of /etc.
ETC: Final = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "rpm", "xdg")
_LOG_TAIL: Final = 64 * 1024
_OUTPUT_TAIL: Final = 4 << 20  # of a host of very many packages, their names
_LAST_WORDS: Final = 8 * 1024
_LAST_SECONDS: Final = 5
ISOLATE: Final = ("pid", "net", "ipc", "uts", "cgroup-try")
_ROOT_CAPABILITIES: Final = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")  # only until setpriv has dropped to the user


@dataclass(frozen=True)
class Finished:
    """How a command in the sandbox ended. `returncode` as subprocess has it; `timed_out`: its wall time ran out."""

    returncode: int
    timed_out: bool
    stdout: str
    stderr: str


@dataclass
class Sandbox:
    """What one run in the sandbox may see and use.

    `writable` and `readable` map paths inside to folders outside; `limits` has `seconds`, `memory_mb`, `disk_mb`,
    `processes` as in the request. `workspace` picks the user id. `extra` are bwrap arguments, for what the two maps
    cannot say.
    """

    workspace: Path
    limits: Mapping[str, Any]
    writable: Mapping[str, Path] = field(default_factory=dict)
    readable: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = HOME
    extra: Sequence[str] = ()
    looks_like_root: ClassVar[bool] = False

    def run(self, command: Sequence[str], log: Path | None = None) -> Finished:
        """Run the command and wait; its output goes to `log` when given, else it is returned (its last 4 MB).

        Raises InfrastructureError when a tool is not installed, the sandbox could not be made, or the command failed
        while the disk was full or the builder out of memory, and OverrunError when it used more than it may: a failure
        that is returned is the command's own.
        """
        for tool in ("prlimit", "setpriv", command[0]):
            require(tool, _PATH)
        killed_before = memory_kills()
        scratch = log or self.workspace / ".sandbox.out"
        errors = scratch if log else self.workspace / ".sandbox.err"
        bounds = Bounds(self.limits, self.writable.values(), {scratch, errors})
        for path in (scratch, errors):
            path.unlink(missing_ok=True)
        with self._owned(), bounds.made(), scratch.open("ab") as out, errors.open("ab") as err:
            code, timed_out, status = self._wait(command, (out.fileno(), err.fileno()), bounds)
        said = tail(scratch, _LOG_TAIL if log else _OUTPUT_TAIL)
        finished = Finished(code, timed_out, said, "" if log else tail(errors))
        if not log:
            scratch.unlink()
            errors.unlink()
        if not timed_out:
            self._judge(finished, bounds, Path(command[0]).name, status, memory_kills() - killed_before)
        return finished

    def _judge(self, finished: Finished, bounds: Bounds, program: str, status: str, kills: int) -> None:
        """Raise OverrunError when the command used too much, InfrastructureError when it was not it that failed."""
        said = finished.stdout[-_LAST_WORDS:] + finished.stderr[-_LAST_WORDS:]
        if overrun := bounds.overrun(finished.returncode, said, self.cpu_seconds()):
            raise OverrunError(f"{program} and what it started {overrun}")
        if finished.returncode != 0:
            self._acquit(said, status, starved=bounds.starved(kills))

    def _acquit(self, said: str, status: str, *, starved: bool) -> None:
        """Raise InfrastructureError when it was not the command that failed."""
        folders = [self.workspace, *self.writable.values()]
        if short := explains(folders, said, float(self.limits["free_mb"])):
            raise DiskFullError(short, last_line(said))
        if starved:
            raise InfrastructureError(
                "the builder ran out of memory, and its kernel killed a process; let it run fewer stages at a time"
            )
        # bubblewrap writes the command's exit code only if it got as far as starting it.
        if "exit-code" not in status:
            raise InfrastructureError(f"the sandbox could not be made, or was killed: {last_line(said)}")

    def arguments(self, *, one_by_one: bool) -> list[str]:
        """Return the command line up to the command itself; `one_by_one`: nothing limits the processes together."""
        inside = [*self._namespaces(), *self._files(), *self._environment()]
        return [require("bwrap"), *inside, "--", *self._limited(one_by_one=one_by_one)]

    @property
    def uid(self) -> int:
        """The user and group id outside: one of a range that no account has, the same for all of one workspace."""
        return _FIRST_UID + zlib.crc32(str(self.workspace).encode()) % _UIDS if os.geteuid() == 0 else os.geteuid()

    @property
    def before(self) -> list[str]:
        """The words before bubblewrap's: a program that becomes it."""
        return []

    def cpu_seconds(self) -> int:
        """Return the CPU time one process may use: what all cores can do in the wall time that is limited."""
        return int(self.limits["seconds"]) * (os.cpu_count() or 1)

    def _namespaces(self) -> list[str]:
        base = ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "builder", "--cap-drop", "ALL"]
        base += [f"--unshare-{name}" for name in ISOLATE]
        if os.geteuid() == 0:
            return base + [word for name in _ROOT_CAPABILITIES for word in ("--cap-add", name)]
        return [*base, "--unshare-user", "--uid", str(_USER_NS_UID), "--gid", str(_USER_NS_UID)]

    def _files(self) -> list[str]:
        words = [word for path in ("/etc", "/opt", "/var") for word in shared_folder(path)]
        words += ["--proc", "/proc", "--dev", "/dev", "--ro-bind", "/usr", "/usr"]
        # They are memory, and counted as such: none may take all of it.
        size = str((int(self.limits["memory_mb"]) << 20) // 2)
        for folder in (HOME, "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108
            words += ["--perms", "1777", "--size", size, "--tmpfs", folder]
        for name in ("bin", "sbin", "lib", "lib64"):
            words += _like_host(f"/{name}")
        for name in ETC:
            words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        for name, path in self._accounts().items():
            words += ["--ro-bind", str(path), f"/etc/{name}"]
        words += self.extra
        for option, folders in (("--ro-bind", self.readable), ("--bind", self.writable)):
            for inside, outside in folders.items():
                words += [*_parents(inside), option, str(outside), inside]
        return [*words, "--chdir", self.folder]

    def _accounts(self) -> dict[str, Path]:
        uid = self.uid if os.geteuid() == 0 else _USER_NS_UID
        texts = {
            "passwd": f"root:x:0:0::/:/usr/sbin/nologin\nbuilder:x:{uid}:{uid}::{HOME}:/bin/sh\n",
            "group": f"root:x:0:\nbuilder:x:{uid}:\n",
            "hosts": "127.0.0.1 localhost builder\n",
            "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        }
        folder = self.workspace / ".sandbox.etc"
        folder.mkdir(exist_ok=True)
        paths = {name: folder / name for name in texts}
        for name, path in paths.items():
            path.write_text(texts[name], encoding="ascii")
            path.chmod(0o644)
        return paths

    def _environment(self) -> list[str]:
        fixed = {
            "PATH": _PATH,
            "HOME": HOME,
            "LANG": "C.UTF-8",
            "USER": "builder",
            "TZ": "UTC",
        }
        return [word for name, value in {**fixed, **self.environment}.items() for word in ("--setenv", name, value)]

    def _limited(self, *, one_by_one: bool) -> list[str]:
        words = ["prlimit", *self._rlimits(), "--nofile=4096"]
        if one_by_one:
            # Not the address space: Go, Java and sanitizers reserve far more of it than they use.
            words += [f"--data={int(self.limits['memory_mb']) << 20}", f"--nproc={int(self.limits['processes'])}"]
        if os.geteuid() != 0:
            return [*words, "--"]
        drop = ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        return [*words, "--", "setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), *drop, "--"]

    def _rlimits(self) -> list[str]:
        # The soft limit of time first: its signal says what it is.
        cpu = self.cpu_seconds()
        return [f"--cpu={cpu}:{cpu + _LAST_SECONDS}", f"--fsize={int(self.limits['disk_mb']) << 20}", "--core=0"]

    @contextlib.contextmanager
    def _owned(self) -> Iterator[None]:
        """Give the writable folders to the user inside, and take them back, so that nothing outside stays theirs."""
        chown_trees(self.writable.values(), self.uid)
        try:
            yield
        finally:
            chown_trees(self.writable.values(), os.geteuid())

    def _wait(self, command: Sequence[str], output: tuple[int, int], bounds: Bounds) -> tuple[int, bool, str]:
        """Run the command; return its exit code, whether its time ran out, and what bubblewrap says of it."""
        with (
            os.fdopen(os.memfd_create("bwrap-status"), "rb") as status,
            ci_seccomp.opened(root=self.looks_like_root) as rules,
        ):
            bwrap, *arguments = self.arguments(one_by_one=not bounds.are_common)
            files = ["--json-status-fd", str(status.fileno()), "--seccomp", str(rules)]
            process = subprocess.Popen(
                bounds.joined_by([*self.before, bwrap, *files, *arguments, *command]),
                stdin=subprocess.DEVNULL,
                stdout=output[0],
                stderr=output[1],
                pass_fds=[status.fileno(), rules],
                start_new_session=True,
            )
            timed_out = False
            with bounds.watching(process):
                try:
                    process.wait(timeout=float(self.limits["seconds"]))
                except subprocess.TimeoutExpired:
                    timed_out = True
                finally:
                    # Killing bwrap ends the first process of its namespace, and with it everything inside.
                    process.kill()
                    process.wait()
            status.seek(0)
            return process.returncode, timed_out, status.read().decode()


def shared_folder(inside: str) -> list[str]:
    """Return arguments that make a folder all may enter: those bwrap makes by itself are for their owner alone."""
    return ["--perms", "0755", "--dir", inside]


def _parents(inside: str) -> list[str]:
    above = [str(path) for path in reversed(Path(inside).parents)][1:]
    return [word for path in above if not path.startswith("/usr") for word in shared_folder(path)]


def _like_host(path: str) -> list[str]:
    """Return arguments that make /bin and its like a symlink into /usr or a folder, as on this host."""
    host = Path(path)
    if host.is_symlink():
        return ["--symlink", str(host.readlink()), path]
    return ["--ro-bind", path, path] if host.is_dir() else []


def chown_trees(folders: Iterable[Path], uid: int) -> None:
    """Give whole trees, however deep, to a user and group, without following symlinks. Nothing to do without root."""
    named = [str(folder) for folder in folders]
    if os.geteuid() != 0 or not named:
        return
    ran = subprocess.run(
        [require("chown", _PATH), "--no-dereference", "--recursive", f"{uid}:{uid}", "--", *named],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if ran.returncode != 0:
        raise InfrastructureError(f"the folders of a sandbox cannot change hands: {last_line(ran.stderr)}")


def require(tool: str, path: str | None = None) -> str:
    """Return where the tool is; raise InfrastructureError, naming it, when it is not installed (in PATH or `path`)."""
    found = shutil.which(tool, path=path)
    if found is None:
        raise InfrastructureError(f"{tool} is not installed on this builder; install it")
    return found


def memory_kills() -> int:
    """Return how many processes the builder's kernel has killed for want of memory since it started."""
    counters = dict(line.split() for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines())
    return int(counters.get("oom_kill", 0))


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line for line in text.splitlines() if line.strip()]
    return clean(lines[-1], 300) if lines else "it said nothing"


def tail(path: Path, size: int = _LOG_TAIL) -> str:
    """Return the last `size` bytes of a file as text."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode("utf-8", "replace")
