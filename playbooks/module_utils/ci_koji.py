"""A scratch build in Koji, beside our own: submitted, watched, and told of.

Who we are there is in the profile of koji's own configuration, on the builder; nothing of it is in a request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_program import Program, run
from ansible.module_utils.ci_sandbox import last_line
from ansible.module_utils.ci_stage import InfrastructureError, PackageError, clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ansible.module_utils.ci_stage import StageError

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_TASK: Final = re.compile(r"^Created task: ([0-9]{1,18})$", re.MULTILINE)
_URL: Final = re.compile(r"^Task info: (https?://[^\s]{1,500})$", re.MULTILINE)
_FAILED: Final = re.compile(r"FAILED: (.+)$", re.MULTILINE)
# mock's exit codes for a build that fails (10) and an SRPM it cannot read (40), as Koji tells them.
_OF_THE_PACKAGE: Final = re.compile(r"BuildError: .*(?:exited with status (?:10|40)\b|see build\.log)")
# The client complains before it has printed all it had to say.
_COMPLAINT: Final = re.compile(r"\[ERROR\] koji: (?P<logged>.+)$|^(?P<said>\w*[Ee]rror: .+)$", re.MULTILINE)
_SUBMIT_SECONDS: Final = 300


class ScratchBuild:
    """One scratch build. `outputs` is what the result tells of it: `task`, `url`, `state`, `reason`."""

    def __init__(self, koji: Mapping[str, Any], workspace: Path) -> None:
        """Take the request's `koji`: `profile`, `target`, `arch`, `decisive`, `wait_seconds`."""
        self.outputs: dict[str, Any] = {"task": 0, "url": "", "state": "not submitted", "reason": ""}
        self.log = workspace / "koji.log"
        self._koji = koji
        self._watch: Program | None = None

    def check(self) -> None:
        """Raise InfrastructureError when profile or target is no name."""
        for key in ("profile", "target"):
            if not _NAME.fullmatch(self._koji[key]):
                raise InfrastructureError(
                    f"{clean(self._koji[key], 80)!r} is no {key} of Koji; correct it in the settings"
                )

    def submit(self, srpm: Path) -> None:
        """Upload the SRPM and begin to watch its task. Raises InfrastructureError if that fails and it is decisive."""
        arch = f"--arch-override={self._koji['arch']}"
        command = [*self._client(), "build", "--scratch", "--nowait", "--noprogress", arch, self._koji["target"], srpm]
        try:
            ended = run(command, self.log, _SUBMIT_SECONDS)
        except InfrastructureError as error:
            self._refused(error)
            return
        task = _TASK.search(ended.said)
        if ended.code != 0 or ended.timed_out or not task:
            self._refused(InfrastructureError(f"Koji took no scratch build: {_complaint(ended.said)}"))
            return
        url = _URL.search(ended.said)
        self.outputs |= {"task": int(task[1]), "url": url[1] if url else "", "state": "open"}
        self._watch = Program([*self._client(), "watch-task", task[1]], self.log)

    def _refused(self, error: InfrastructureError) -> None:
        self.outputs["reason"] = str(error)
        if self._koji["decisive"]:
            raise error

    def judge(self, seconds: float) -> None:
        """Wait for its end, so many seconds at most. Raises the StageError that fits when it is decisive and failed."""
        if self._watch is None:
            return
        ended = self._watch.wait(min(seconds, float(self._koji["wait_seconds"])))
        told = _FAILED.findall(ended.said)
        if ended.timed_out:
            error: StageError | None = InfrastructureError(f"Koji's task {self.outputs['task']} goes on still")
        elif ended.code == 0:
            self.outputs["state"], error = "closed", None
        else:
            self.outputs["state"] = "failed" if told else "canceled" if "canceled" in ended.said else "unknown"
            error = self._error(told, ended.said)
        self.outputs["reason"] = str(error or "")
        if error and self._koji["decisive"]:
            raise error

    def stop(self) -> None:
        """Watch no longer; the task itself goes on."""
        if self._watch:
            self._watch.stop()

    def artifacts(self) -> list[dict[str, str]]:
        """Return the log there is."""
        return [{"path": str(self.log), "kind": "log"}] if self.log.is_file() else []

    def _client(self) -> list[str]:
        return ["koji", f"--profile={self._koji['profile']}"]

    def _error(self, told: list[str], said: str) -> StageError:
        what = f"Koji's scratch build {self.outputs['task']} {self.outputs['state']}"
        if any(map(_OF_THE_PACKAGE.search, told)):
            return PackageError(f"{what}: {clean(told[0], 250)}")
        return InfrastructureError(f"{what}: {clean(told[0], 250) if told else _complaint(said)}")


def _complaint(said: str) -> str:
    found = [match["logged"] or match["said"] for match in _COMPLAINT.finditer(said)]
    return clean(found[-1], 250) if found else last_line(said)
