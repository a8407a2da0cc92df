"""What the pipeline checks on a booted host, over SSH: that it runs the commit, and has the candidate's files."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_nevra import QUERY, Nevra, parse_query
from ansible.module_utils.ci_sandbox import Sandbox, require
from ansible.module_utils.ci_stage import PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Test = dict[str, Any]

_COMMON: Final = ("-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR")
SSH_OPTIONS: Final = (
    *_COMMON,
    # The host made its key a second ago, behind a port that only this module's machine listens on.
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
)
BOOTED_REV: Final = (
    "for word in $(cat /proc/cmdline); do case $word in ostree=*) target=${word#ostree=};; esac; done; "
    'basename "$(readlink -f "/sysroot$target")"'
)
# Of systemd, or of the small init of the local toolchain's base OS.
_FAILED: Final = (
    "if [ -d /run/systemd/system ]; then "
    "systemctl list-units --state=failed --plain --no-legend | cut -d' ' -f1; exit; fi; "
    'cd /run/services && for one in $(ls | grep -v "[.]log$"); do [ "$(cat $one)" = 0 ] || echo $one; done'
)
_FILES: Final = "[%{FILENAMES}\t%{FILEDIGESTS}\t%{FILEFLAGS:fflags}\n]"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SECONDS: Final = 60
_CONNECT_SECONDS: Final = 20
_LOOK_SECONDS: Final = 0.02
_FIELDS: Final = 3


class CheckError(Exception):
    """A check on the host did not hold. The text is what was found instead."""


@dataclass(frozen=True)
class Ssh:
    """Commands on the booted host, as root: with sudo, where it lets another user in.

    `known_hosts`: a file in which the key of the host has been since it was first reached, unless it is a machine of
    our own. `shared`: the socket of a connection that commands go through while it is there.
    """

    port: int
    key: Path
    address: str = "127.0.0.1"
    user: str = "root"
    known_hosts: Path | None = None
    shared: Path | None = None

    def options(self) -> list[str]:
        """Return ssh's options for this host."""
        if self.known_hosts is None:
            return list(SSH_OPTIONS)
        known = ("-o", "StrictHostKeyChecking=accept-new", "-o", f'UserKnownHostsFile="{self.known_hosts}"')
        return [*_COMMON, *known, "-o", "ConnectTimeout=20"]

    def run(self, command: str, text: str = "", seconds: float = _SECONDS, *, as_root: bool = True) -> str:
        """Run a shell command with `text` as its input; return what it prints.

        Raises CheckError when it fails or hangs.
        """
        if self.user != "root" and as_root:
            command = shlex.join(["sudo", "-n", "sh", "-c", command])
        try:
            ran = subprocess.run(
                [*self.reaching(), command],
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CheckError(f"no answer from the host within {seconds:.0f} seconds") from error
        if ran.returncode != 0:
            raise CheckError(clean(ran.stderr or ran.stdout, 300) or f"it ended with status {ran.returncode}")
        return ran.stdout

    @contextlib.contextmanager
    def one_connection(self) -> Iterator[Ssh]:
        """Yield the same host, reached by one connection for all commands of the block.

        An emulated machine takes longer to greet than to answer. Where the connection is not to be had, or is lost,
        each command makes its own.
        """
        with tempfile.TemporaryDirectory(prefix="ssh-") as folder:
            connection = Path(folder) / "shared"
            together = dataclasses.replace(self, shared=connection)
            keeping = together.reaching("-o", "ControlMaster=yes", "-N")
            quiet = subprocess.DEVNULL
            master = subprocess.Popen(keeping, stdin=quiet, stdout=quiet, stderr=quiet)
            try:
                yield together if _appears(connection, master) else self
            finally:
                master.kill()
                master.wait()

    def reaching(self, *options: str) -> list[str]:
        """Return the words that reach this host: ssh, with more of its options, up to the command."""
        shared = ("-o", f"ControlPath={self.shared}") if self.shared else ()
        place = ("-i", str(self.key), "-p", str(self.port), "-l", self.user, "--", self.address)
        return [require("ssh"), *self.options(), *shared, *options, *place]


def check_host(ssh: Ssh, rev: str) -> list[Test]:
    """Return the checks that hold for every host, each as a test."""
    return [
        check("host: booted from OSTree", lambda: ssh.run("test -e /run/ostree-booted")),
        check("host: runs the composed commit", lambda: _runs(ssh, rev)),
        check("host: /usr is read-only", lambda: _read_only(ssh)),
        check("host: no service failed", lambda: _services(ssh)),
    ]


def check_package(ssh: Ssh, wanted: Nevra, composed: Iterable[Nevra], files: Mapping[str, str]) -> Test:
    """Return the test that the host has this build: in the commit's package list, and each file by its sha256."""
    return check(f"host: has {wanted}", lambda: _has(ssh, wanted, composed, files))


def check(name: str, holds: Callable[[], object]) -> Test:
    """Return the outcome of one check as a test."""
    started = time.monotonic()
    outcome, message = "passed", ""
    try:
        holds()
    except CheckError as error:
        outcome, message = "failed", str(error)
    return {"name": name, "outcome": outcome, "seconds": round(time.monotonic() - started, 3), "message": message}


def booted_rev(ssh: Ssh) -> str:
    """Return the commit the host runs: the name of the deployment its kernel was started with. Raises CheckError."""
    name = ssh.run(BOOTED_REV).strip()
    return name.rpartition(".")[0]


def candidates(
    repo: Path, names: Iterable[str], workspace: Path, limits: Mapping[str, Any]
) -> dict[Nevra, dict[str, str]]:
    """Return the run's packages of these names, each with the sha256 of its files by path.

    Headers are read in the sandbox.
    """
    found: dict[Nevra, dict[str, str]] = {}
    for path in sorted(repo.glob("*.rpm")):
        if path.name.endswith(".src.rpm"):
            continue
        sandbox = Sandbox(workspace, limits, readable={"/packages": repo}, folder="/packages")
        query = ["rpm", "--define", "_dbpath /tmp/rpmdb", "-qp", "--nosignature", "--qf", QUERY + _FILES, path.name]
        ran = sandbox.run(query)
        if ran.returncode != 0 or not ran.stdout:
            raise PackageError(f"{clean(path.name, 80)} cannot be read: {clean(ran.stderr, 200)}")
        header, _, listing = ran.stdout.partition("\n")
        nevra = parse_query(header)[0]
        if nevra.name in names:
            found[nevra] = _digests(listing)
    return found


def _digests(listing: str) -> dict[str, str]:
    rows = [line.split("\t") for line in listing.splitlines()]
    # Folders and links have no digest; a ghost (flag g) is not in the package.
    return {row[0]: row[1] for row in rows if len(row) == _FIELDS and _SHA256.fullmatch(row[1]) and "g" not in row[2]}


def _appears(connection: Path, master: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + _CONNECT_SECONDS
    while not connection.exists() and master.poll() is None and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    return connection.exists()


def _runs(ssh: Ssh, rev: str) -> None:
    found = booted_rev(ssh)
    if found != rev:
        raise CheckError(f"it runs {clean(found, 80) or 'no deployment'} instead of {rev}")


def _read_only(ssh: Ssh) -> None:
    try:
        ssh.run("touch /usr/.written")
    except CheckError as error:
        if "Read-only file system" not in str(error):
            raise
        return
    raise CheckError("a file could be written there")


def _services(ssh: Ssh) -> None:
    failed = ssh.run(_FAILED).split()
    if failed:
        raise CheckError(f"failed: {clean(', '.join(failed), 200)}")


def _has(ssh: Ssh, wanted: Nevra, composed: Iterable[Nevra], files: Mapping[str, str]) -> None:
    there = next((one for one in composed if one.name == wanted.name), None)
    if there != wanted:
        raise CheckError(f"the commit has {there}")
    # /var is the machine's: what a package ships there is not part of a commit.
    listed = {path: digest for path, digest in files.items() if not path.startswith("/var/")}
    if not listed:
        return
    found = dict(line.split("  ", 1)[::-1] for line in ssh.run("xargs -0 sha256sum", "\0".join(listed)).splitlines())
    wrong = [path for path, digest in listed.items() if found.get(path) != digest]
    if wrong:
        raise CheckError(f"differs from the package: {clean(', '.join(wrong), 200)}")
