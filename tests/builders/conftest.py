"""A pipeline whose stages go to builders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ci_pipeline import settings, store
from ci_pipeline.builders import inventory, turns
from ci_pipeline.builders.executor import BuilderExecutor
from ci_pipeline.store.builder_leases import Ticket
from tests.builders.hosts import Lab, lab
from tests.builders.lasting import LASTING
from tests.makers import new_run
from tests.playbooks.stage_runs import PLAYBOOKS, DistGit, common
from tests.playbooks.test_build_package import SCRIPT, spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ci_pipeline.builders.inventory import Builder
    from ci_pipeline.settings import Settings


@pytest.fixture
def controller(tmp_path: Path) -> Path:
    """The state folder of the pipeline: no host sees it."""
    folder = tmp_path / "pipeline"
    folder.mkdir()
    return folder


@pytest.fixture
def hosts(tmp_path: Path, controller: Path) -> Iterator[Lab]:
    """A lab without hosts."""
    with lab(tmp_path / "lab", controller) as made:
        yield made


@pytest.fixture
def configured(hosts: Lab, database: None, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that have the lab's inventory."""
    monkeypatch.setenv("CI_PIPELINE_BUILDERS__INVENTORY", str(hosts.inventory))
    settings.current.cache_clear()
    return settings.current()


@pytest.fixture
def dist_git(tmp_path: Path) -> DistGit:
    """Return an empty dist-git repository `rpms/hello` whose only branch will be f26."""
    return DistGit(tmp_path / "dist-git", "hello")


@pytest.fixture
def source(dist_git: DistGit) -> dict[str, Any]:
    """A package whose build lasts some seconds."""
    rev = dist_git.commit({"hello.spec": spec(build=LASTING), "hello.sh": SCRIPT})
    return {"rev": rev, "dist_git_url": dist_git.url}


class Try:
    """A try of a stage, as the operator has it: it asks for a builder, and is carried out there."""

    def __init__(self, configured: Settings, controller: Path, stage: str, *, run: int, try_number: int = 1) -> None:
        self.settings, self.stage = configured, stage
        self.ticket = Ticket(run=run, stage=stage, try_number=try_number)
        self.workspace = controller / "runs" / "ci-pipeline-f26" / f"run-{run}" / f"{stage}-{try_number}"
        self._base = controller
        self.builder: Builder | None = None

    def ask(self) -> str:
        """Ask for a builder; return what it waits for."""
        with store.session() as session:
            turn = turns.ask(session, self.settings, inventory.read(self.settings), self.ticket)
        self.builder = turn.builder
        return turn.waits_for

    def executor(self) -> BuilderExecutor:
        """Return who carries it out on the builder that it holds."""
        assert self.builder is not None
        return BuilderExecutor(playbooks=PLAYBOOKS, settings=self.settings, builder=self.builder, ticket=self.ticket)

    def request(self, **more: Any) -> dict[str, Any]:
        """Return its request; the artifacts folder is the pipeline's."""
        self.workspace.mkdir(parents=True, exist_ok=True)
        artifacts = self._base / "artifacts"
        repo = artifacts / "fedora-atomic" / "f26" / "repo"
        return {
            **common(self.stage, self._base),
            "artifacts": str(artifacts),
            "workspace": str(self.workspace),
            "package_repo": str(repo / "builds" / f"run-{self.ticket.run}"),
            "package_link": str(repo / "hello_repo"),
            **more,
        }


@pytest.fixture
def new_try(configured: Settings, controller: Path) -> Any:
    """Return a function that makes a try of a stage; of a new run unless one is given."""

    def make(stage: str, *, run: int = 0, try_number: int = 1) -> Try:
        row = run or new_run(rev=f"{len(made):040x}").id
        made.append(row)
        return Try(configured, controller, stage, run=row, try_number=try_number)

    made: list[int] = []
    return make
