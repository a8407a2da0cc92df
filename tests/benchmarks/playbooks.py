"""The yardstick of a change: its stages' playbooks one after another, with the requests the pipeline made of them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.playbooks.stage_runs import PLAYBOOKS

STAGES: Final = (
    "build_package",
    "functional_tests",
    "compose_ostree",
    "integration_tests",
    "generate_image",
    "smoke_test",
)
# What a stage is told of the outputs of those before it.
_HANDED_ON: Final = {"packages", "nvr", "compose_rev", "parent_rev", "version", "image_name", "image_sha256"}


@dataclass(slots=True)
class Playbooks:
    """Carries changes out without the pipeline, on a copy of its branch.

    Attributes:
        requests: the request of each stage, of a run of the pipeline.
        artifacts: the copy of the folder of artifacts.
        folder: for workspaces.
        tool_seconds: what each change spent in the tools, as its stages say.
    """

    requests: dict[str, dict[str, Any]]
    artifacts: Path
    folder: Path
    tool_seconds: list[float] = field(default_factory=list)

    @classmethod
    def like(cls, run: Path, folder: Path) -> "Playbooks":
        """Take the requests from the folder of a run, and copy what it worked on into an empty folder."""
        texts = {stage: (run / f"{stage}-1" / "request.json").read_text(encoding="utf-8") for stage in STAGES}
        original = json.loads(texts["build_package"])["artifacts"]
        copy = folder / "artifacts"
        shutil.copytree(original, copy, symlinks=True)
        requests = {stage: json.loads(text.replace(original, str(copy))) for stage, text in texts.items()}
        return cls(requests, copy, folder)

    def carry_out(self, name: str, rev: str) -> None:
        """Run all stages for a revision of the same package.

        Raises:
            AssertionError: a stage did not succeed.
        """
        outputs: dict[str, Any] = {}
        spent = 0.0
        for stage in STAGES:
            told = self._play(stage, name, rev, outputs)
            assert told["status"] == "SUCCESS", f"{stage} of {name}: {told['reason']}"
            outputs |= {key: value for key, value in told["outputs"].items() if key in _HANDED_ON}
            spent += told["tool_seconds"]
        self.tool_seconds.append(spent)

    def _play(self, stage: str, name: str, rev: str, outputs: dict[str, Any]) -> dict[str, Any]:
        template = self.requests[stage]
        request = json.loads(json.dumps(template).replace(template["run"], name))
        workspace = self.folder / name / stage
        known = {key: value for key, value in outputs.items() if key in template}
        return play(stage, {**request, **known, "rev": rev, "workspace": str(workspace)}, workspace)


def play(stage: str, request: dict[str, Any], workspace: Path) -> dict[str, Any]:
    """Run the playbook of a stage in a new workspace; return its result."""
    workspace.mkdir(mode=0o700, parents=True)
    file = workspace / "request.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    _ansible_playbook(stage, file, workspace / "ansible-playbook.log")
    told: dict[str, Any] = json.loads((workspace / "result.json").read_text(encoding="utf-8"))
    return told


def _ansible_playbook(stage: str, request: Path, log: Path) -> None:
    """Run a playbook as a person would."""
    program = Path(sys.executable).with_name("ansible-playbook")
    path = f"{program.parent}:{os.environ['PATH']}"
    with log.open("w") as output:
        subprocess.run(
            [program, f"{stage}.yml", "--extra-vars", f"@{request}"],
            cwd=PLAYBOOKS,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
