#!/usr/bin/python
"""Build a package from its dist-git files, all of its own code in the sandbox, and publish it to the run's repository.

In this order, so that what is known is known even when the next step fails: the original NVR of the unmodified spec;
the stamped Release and its NVR; the sources, checked; the build with %check; rpmlint's advice where it is installed;
the repository. With `mock` (`config`, `isolation`) the sandbox makes the SRPM, and mock builds it; without it rpmbuild
builds in the sandbox. With `koji`, a scratch build of the same SRPM goes on meanwhile.

With `reuse` (`request`: the digest of what is asked for, `known`: keys of kept builds, `rebased`) the key of the build
comes first of all: of one that is known nothing is built, and the part says `reuses`.
"""

from __future__ import annotations

import datetime as dt
import shutil
import time
from pathlib import Path
from typing import Any, Final

from ansible.module_utils import ci_key
from ansible.module_utils.ci_koji import ScratchBuild
from ansible.module_utils.ci_lookaside import Lookaside, gather, read_list
from ansible.module_utils.ci_mock import Mock
from ansible.module_utils.ci_repo import publish
from ansible.module_utils.ci_rpm import collect, failure
from ansible.module_utils.ci_sandbox import Sandbox, require, tail
from ansible.module_utils.ci_spec import MACROS, SpecReader, find_spec, rpm_tool, stamp_file
from ansible.module_utils.ci_stage import PackageError, Part, StageError, run_module

TOPDIR: Final = "/builddir/build"
# Of the stage's time: the rest is for what follows the build.
_SHARE: Final = 0.9
ARGUMENTS: Final[dict[str, Any]] = {
    "source": {"type": "path", "required": True},
    "namespace": {"type": "str", "required": True},
    "repo": {"type": "str", "required": True},
    "rev": {"type": "str", "required": True},
    "commits": {"type": "int", "required": True},
    "author_time": {"type": "str", "required": True},
    "dist": {"type": "str", "required": True},
    "macros": {"type": "str", "required": True},
    "lookaside_url": {"type": "str", "required": True},
    "package_repo": {"type": "path", "required": True},
    "package_link": {"type": "path"},
    "mock": {"type": "dict"},
    "koji": {"type": "dict"},
    "reuse": {"type": "dict"},
    "workspace": {"type": "path", "required": True},
    "limits": {"type": "dict", "required": True},
}


class Build:
    """One build. `part` grows with every step; a step that fails leaves what the steps before it put there."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters."""
        self.params = params
        self.limits: dict[str, Any] = params["limits"]
        self.workspace, self.source = Path(params["workspace"]), Path(params["source"])
        self.topdir = self.workspace / "rpmbuild"
        self.macros = self.workspace / "macros.toolchain"
        self.outputs: dict[str, Any] = {"original_spec_nvr": "", "nvr": ""}
        self.artifacts: list[dict[str, str]] = []
        self.epoch = int(dt.datetime.fromisoformat(params["author_time"]).timestamp())
        self.key = ""
        self._until = time.monotonic() + float(self.limits["seconds"]) * _SHARE

    def run(self) -> Part:
        """Do all steps. A StageError carries the outputs and artifacts there were by then."""
        require("rpmbuild")
        require("createrepo_c")
        try:
            if self.is_kept():
                return {"outputs": self.outputs, "content_key": self.key, "reuses": True}
            spec = self.read_spec()
            self.fetch_sources()
            files = self.build_in_mock(spec) if self.params["mock"] else self.build(spec, "-ba")
            self.lint(files)
            self.publish(files)
        except StageError as error:
            error.part |= {"outputs": self.outputs, "artifacts": self.artifacts}
            raise
        return {"outputs": self.outputs, "artifacts": self.artifacts, "content_key": self.key}

    def is_kept(self) -> bool:
        """Make the key, if everything is known that gets into the build; tell whether one of that key is kept."""
        reuse = self.params["reuse"]
        if not reuse:
            return False
        inputs = {
            "request": reuse["request"],
            "source": ci_key.source(self.source),
            "commits": self.params["commits"],
            "author_time": self.epoch,
            # All that tells a commit from what it was before a rebase: seven of its digits are in the release.
            "rev": "" if reuse["rebased"] else self.params["rev"],
            "builder": ci_key.software(),
        }
        if not (inputs["source"] and inputs["builder"]):
            return False
        self.outputs["inputs"], self.key = inputs, ci_key.digest_of(inputs)
        return self.key in reuse["known"]

    def read_spec(self) -> str:
        """Read the original NVR, stamp the spec (the clone keeps the commit), read the NVR; return its file."""
        self.macros.write_text(self.params["macros"], encoding="utf-8")
        self.macros.chmod(0o644)
        reader = SpecReader(self.workspace, self.limits, self.params["dist"], self.macros)
        spec = find_spec(self.source)
        self.outputs["original_spec_nvr"], release = reader.nvr(self.source, spec.name)
        mark = f"{self.params['commits']}.{self.params['rev'][:7]}"
        self.outputs["nvr"] = stamp_file(spec, reader, mark, release)
        return spec.name

    def fetch_sources(self) -> None:
        """Bring look-aside files, checked, and the files in git together in SOURCES."""
        sources = self.topdir / "SOURCES"
        sources.mkdir(parents=True)
        # As with dist-git: a cache that hangs must not use up the time of the stage.
        seconds, size = float(self.limits["seconds"]) / 2, int(self.limits["disk_mb"]) << 20
        cache = Lookaside(
            self.params["lookaside_url"],
            self.params["namespace"],
            self.params["repo"],
            seconds=seconds,
            size_limit=size,
        )
        for listed in read_list(self.source / "sources"):
            cache.fetch(listed, sources)
        gather(self.source, sources)

    def build_in_mock(self, spec: str) -> list[Path]:
        """Make the SRPM in the sandbox, have mock build it, and Koji, too, if that is wanted; return the packages."""
        mock = Mock(self.params)
        mock.check()
        written = self.build(spec, "-bs")
        if not written:
            raise PackageError("rpmbuild wrote no source package")
        scratch = ScratchBuild(self.params["koji"], self.workspace) if self.params["koji"] else None
        try:
            if scratch:
                scratch.check()
                scratch.submit(written[0])
            files = mock.rebuild(written[0], self._until - time.monotonic())
            if scratch:
                scratch.judge(self._until - time.monotonic())
        finally:
            self.artifacts += mock.artifacts()
            if scratch:
                scratch.stop()
                self.outputs["koji"] = scratch.outputs
                self.artifacts += scratch.artifacts()
        return files

    def build(self, spec: str, what: str) -> list[Path]:
        """Run rpmbuild and return the packages; `what`: -ba for all, -bs for the source package alone.

        Raises PackageError with the step that failed and its last words.
        """
        for name in ("BUILD", "BUILDROOT", "RPMS", "SRPMS"):
            (self.topdir / name).mkdir()
        log = self.workspace / ("build.log" if what == "-ba" else "srpm.log")
        # BuildRequires cannot be looked up: the database is empty, the tools are the builder's own.
        command = [*rpm_tool("rpmbuild", self.params["dist"], f"{TOPDIR}/SOURCES"), "--define", f"_topdir {TOPDIR}"]
        try:
            ran = self._sandbox().run([*command, what, "--nodeps", f"{TOPDIR}/SOURCES/{spec}"], log)
        finally:
            self.artifacts += [{"path": str(log), "kind": "log"}] if log.exists() else []
        if ran.timed_out:
            raise PackageError(f"the build was stopped after {self.limits['seconds']} seconds")
        if ran.returncode != 0:
            raise PackageError(failure(ran.stdout))
        return collect(self.topdir)

    def _sandbox(self) -> Sandbox:
        return Sandbox(
            self.workspace,
            self.limits,
            writable={TOPDIR: self.topdir},
            readable={MACROS: self.macros},
            environment={"SOURCE_DATE_EPOCH": str(self.epoch)},
            folder=TOPDIR,
        )

    def lint(self, files: list[Path]) -> None:
        """Keep rpmlint's report as an artifact. It never stops a build: it is advice."""
        if not files or shutil.which("rpmlint") is None:
            return
        report = self.workspace / "rpmlint.txt"
        readable = {f"/packages/{path.name}": path for path in files}
        Sandbox(self.workspace, self.limits, readable=readable).run(["rpmlint", *readable], report)
        if tail(report):
            self.artifacts.append({"path": str(report), "kind": "report"})

    def publish(self, files: list[Path]) -> None:
        """Put the packages into the run's repository and move the package's address to it."""
        link = Path(self.params["package_link"]) if self.params["package_link"] else None
        repo = Path(self.params["package_repo"])
        part = publish(files, self.outputs["nvr"], repo, link, (self.workspace, self.limits))
        self.outputs |= part["outputs"]
        self.artifacts += part["artifacts"]


def build_package(params: dict[str, Any]) -> Part:
    """Build a package; see the module's docstring."""
    return Build(params).run()


if __name__ == "__main__":
    run_module(ARGUMENTS, build_package)
