"""A build in mock: the command line, and what its exit codes and logs mean."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_program import Ended, run
from ansible.module_utils.ci_rpm import failure, plain
from ansible.module_utils.ci_sandbox import last_line, tail
from ansible.module_utils.ci_space import explains
from ansible.module_utils.ci_stage import DiskFullError, InfrastructureError, PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible.module_utils.ci_stage import StageError

# The name of a configuration below /etc/mock. What ends in .cfg mock takes for a path.
CONFIG: Final = re.compile(r"(?!.*\.cfg$)[A-Za-z0-9_][A-Za-z0-9_.+-]*")
ISOLATIONS: Final = ("auto", "nspawn", "simple")
LOGS: Final = ("build.log", "root.log", "state.log", "hw_info.log", "installed_pkgs.log")
_ROOMS: Final = (Path("/var/lib/mock"), Path("/var/cache/mock"))
_BUILD_FAILED: Final = 10
_TIMED_OUT: Final = 11
_DNF_FAILED: Final = 30
_OF_THE_PACKAGE: Final = {31: "it requires something external that mock does not know", 40: "mock cannot read its SRPM"}
_OF_THE_BUILDER: Final = {
    2: "mock was not run by its own wrapper; add the account to the group mock (usermod -a -G mock ACCOUNT)",
    3: "mock's configuration is wrong",
    5: "mock does not take its command line; is it older than 3.0?",
    6: "mock cannot build for this architecture on this builder",
    20: "mock could not work in its chroot (root.log)",
    25: "mock's LVM volume cannot be used",
    60: "another mock uses the same chroot",
    65: "mock's LVM pool is locked",
    70: "mock cannot write its results",
    80: "the kernel gives mock no namespaces; is the builder a container without them?",
    90: "mock could not make its bootstrap chroot",
}
# What dnf and dnf5 say of packages that do not exist or do not fit, when BuildRequires are installed.
_UNMET: Final = re.compile(
    r"^.*?((?:No match(?:ing package)?|No package|Unable to find a match|nothing provides|Failed to resolve"
    r"|package \S+ requires|conflicting requests).*)$",
    re.IGNORECASE | re.MULTILINE,
)
_BROKEN_REPO: Final = re.compile(
    r"Failed to download|Curl error|Cannot download|All mirrors were|Cannot prepare|Status code"
)


class Mock:
    """Builds for one run: its chroot and its results are nobody else's."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Take the parameters of build_package."""
        self.config: str = params["mock"]["config"]
        self.results = Path(params["workspace"]) / "mock"
        self._workspace, self._limits = Path(params["workspace"]), params["limits"]
        self._dist, self._isolation = params["dist"], params["mock"]["isolation"]

    def check(self) -> None:
        """Raise InfrastructureError when what is configured is no name of a configuration, or no isolation."""
        if not CONFIG.fullmatch(self.config):
            raise InfrastructureError(
                f"{clean(self.config, 80)!r} is not the name of a mock configuration; correct branches.NAME.mock_config"
            )
        if self._isolation not in ISOLATIONS:
            raise InfrastructureError(f"{clean(self._isolation, 80)!r} is no isolation of mock; correct mock.isolation")

    def command(self, srpm: Path, seconds: int) -> list[str | Path]:
        """Return the command line that builds an SRPM."""
        return [
            *self._mock(),
            f"--resultdir={self.results}",
            f"--define=dist {self._dist}",
            f"--isolation={self._isolation}",
            f"--rpmbuild_timeout={seconds}",
            "--config-opts=rpmbuild_networking=False",
            "--config-opts=use_host_resolv=False",
            "--cleanup-after",
            "--rebuild",
            srpm,
        ]

    def rebuild(self, srpm: Path, seconds: float) -> list[Path]:
        """Build and return the packages, the source package first. Raises the StageError that fits mock's end."""
        self.check()
        self.results.mkdir()
        log = self._workspace / "mock.log"
        ended = run(self.command(srpm, int(seconds)), log, seconds)
        if ended.timed_out:
            # What is left in the chroot may be root's: only mock can end that.
            run([*self._mock(), "--orphanskill"], log, 60)
        if ended.code != 0 or ended.timed_out:
            raise self._error(ended)
        files = sorted(self.results.glob("*.rpm"), key=lambda path: (not path.name.endswith(".src.rpm"), path.name))
        return [plain(path) for path in files]

    def artifacts(self) -> list[dict[str, str]]:
        """Return the logs there are: mock's own, and those of its results."""
        found = [self._workspace / "mock.log", *(self.results / name for name in LOGS)]
        return [{"path": str(path), "kind": "log"} for path in found if path.is_file() and not path.is_symlink()]

    def _mock(self) -> list[str]:
        tag = hashlib.sha256(str(self._workspace).encode()).hexdigest()[:12]
        return ["mock", "-r", self.config, f"--uniqueext=ci-{tag}"]

    def _error(self, ended: Ended) -> StageError:
        build, root = self._log("build.log"), self._log("root.log")
        said = f"{build}\n{root}\n{ended.said}"
        if short := explains([self._workspace, *_ROOMS], said, float(self._limits["free_mb"])):
            return DiskFullError(short, last_line(said))
        if ended.timed_out or ended.code == _TIMED_OUT:
            return PackageError(f"the build was stopped after {self._limits['seconds']} seconds")
        if ended.code == _BUILD_FAILED:
            return PackageError(failure(build))
        if ended.code == _DNF_FAILED:
            return _unmet(root + ended.said)
        if ended.code in _OF_THE_PACKAGE:
            return PackageError(f"{_OF_THE_PACKAGE[ended.code]}: {last_line(ended.said)}")
        why = _OF_THE_BUILDER.get(ended.code, f"mock ended with exit code {ended.code}")
        return InfrastructureError(f"{why}: {last_line(ended.said)}")

    def _log(self, name: str) -> str:
        path = self.results / name
        return tail(path) if path.is_file() and not path.is_symlink() else ""


def _unmet(said: str) -> StageError:
    """Return whose fault it is that dnf did not fill the chroot: a repository that fails is never the package's."""
    missing = _UNMET.findall(said)
    if missing and not _BROKEN_REPO.search(said):
        told = list(dict.fromkeys(clean(line, 120) for line in missing))
        return PackageError(f"its build requirements cannot be installed: {'; '.join(told[:3])}")
    return InfrastructureError(f"mock's package manager failed (root.log): {last_line(said)}")
