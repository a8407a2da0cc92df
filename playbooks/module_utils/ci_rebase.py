"""Put a host that runs another OSTree commit on the compose: over SSH, with the ostree that it has.

The remote is only where bytes come from: the commit is asked for by its checksum, which covers everything in it.
"""

from __future__ import annotations

import re
import shlex
import time
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_host_checks import CheckError, Ssh, booted_rev
from ansible.module_utils.ci_ostree import valid_checksum
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REMOTE: Final = "ci-pipeline"
_URL: Final = re.compile(r"https?://[^\s\"'\\]+")
_BOOT_ID: Final = "cat /proc/sys/kernel/random/boot_id"
_TARGET: Final = "for word in $(cat /proc/cmdline); do case $word in ostree=*) echo ${word#ostree=};; esac; done"
_LOOK_SECONDS: Final = 1.0
_SSH_SECONDS: Final = 20.0


class Rebase:
    """A host, and the commit it is to run."""

    def __init__(self, ssh: Ssh, name: str, rev: str) -> None:
        """Take how to reach the host, what it is called, and the commit."""
        self._ssh, self._name, self._rev = ssh, name, valid_checksum(rev)

    def wait_for_ssh(self, seconds: float) -> None:
        """Wait until the host lets us in. Raises InfrastructureError when it does not."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._ssh.run("true")
            except CheckError as error:
                if time.monotonic() > deadline:
                    raise InfrastructureError(f"{self._name} does not let us in: {error}") from error
                time.sleep(_LOOK_SECONDS)
            else:
                return

    def carry_out(self, url: str, limits: Mapping[str, Any]) -> float:
        """Put the host on the commit of the repository at `url`; return the seconds its boot took.

        Raises InfrastructureError when it cannot be reached or cannot pull, PackageError as `reboot` does.
        """
        boot_seconds = float(limits["boot_seconds"])
        self.wait_for_ssh(boot_seconds)
        self.deploy(url, float(limits["seconds"]))
        return self.reboot(boot_seconds)

    def require(self) -> None:
        """Check that the host runs the commit. Raises InfrastructureError when it does not."""
        try:
            found = booted_rev(self._ssh)
        except CheckError as error:
            raise InfrastructureError(f"{self._name} does not say what it runs: {error}") from error
        if found != self._rev:
            raise InfrastructureError(f"{self._name} runs {clean(found, 80) or 'no deployment'}, not {self._rev}")

    def deploy(self, url: str, seconds: float) -> None:
        """Have the host pull exactly the commit and make it what boots next. Raises InfrastructureError."""
        if not _URL.fullmatch(url):
            raise InfrastructureError(f"{clean(url, 100)!r} is no address of a repository; look at artifacts.url")
        try:
            self._ssh.run("test -e /run/ostree-booted && command -v ostree")
        except CheckError:
            what = "it cannot be put on a compose; have the provider lend hosts of an OSTree image"
            raise InfrastructureError(f"{self._name} runs no OSTree deployment, or has no ostree: {what}") from None
        self._run("remote", "delete", "--if-exists", _REMOTE)
        self._run("remote", "add", "--no-sign-verify", "--no-gpg-verify", _REMOTE, url)
        self._run("pull", _REMOTE, self._rev, seconds=seconds)
        self._run("admin", "deploy", f"--os={self._os_name()}", self._rev, seconds=seconds)

    def reboot(self, seconds: float) -> float:
        """Boot what was deployed; return the seconds it took.

        Raises PackageError when the host does not come back on the commit: others have booted there before it.
        """
        before, began = self._boot_id(), time.monotonic()
        self._restart()
        while not (now := self._boot_id()) or now == before:
            if time.monotonic() - began > seconds:
                state = "did not go down" if now else "did not come up"
                raise PackageError(f"the composed host {state} in {seconds:.0f} s after {self._name} was rebooted")
            time.sleep(_LOOK_SECONDS)
        found = booted_rev(self._ssh)
        if found != self._rev:
            raise PackageError(f"{self._name} came back on {clean(found, 80) or 'no deployment'}, not on {self._rev}")
        return time.monotonic() - began

    def _os_name(self) -> str:
        deployment = self._ssh.run(f'readlink -f "/sysroot$({_TARGET})"')
        found = re.search(r"/ostree/deploy/([\w.-]+)/deploy/", deployment)
        if not found:
            raise InfrastructureError(f"{self._name} does not say which OSTree deployment it runs")
        return found[1]

    def _boot_id(self) -> str:
        """Return what is drawn anew at each boot; "" while the host does not answer."""
        try:
            return self._ssh.run(_BOOT_ID, seconds=_SSH_SECONDS).strip()
        except CheckError:
            return ""

    def _restart(self) -> None:
        # It answers or is gone already; what counts is that it comes back as another boot.
        try:
            self._ssh.run("sync; (sleep 1; reboot || systemctl reboot) >/dev/null 2>&1 &", seconds=_SSH_SECONDS)
        except CheckError:
            return

    def _run(self, *words: str, seconds: float = 60) -> None:
        command: Sequence[str] = ["ostree", *words]
        try:
            self._ssh.run(shlex.join(command), seconds=seconds)
        except CheckError as error:
            raise InfrastructureError(f"ostree {words[0]} on {self._name} failed: {error}") from error
