"""Makes the request of a stage: what docs/stage-contract.md says, from the settings and what is known of the run."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from ci_pipeline import dist_git, tools
from ci_pipeline.errors import StageEnded, StoreError
from ci_pipeline.executors.base import Request
from ci_pipeline.kind import Kind
from ci_pipeline.outcome import Status
from ci_pipeline.settings import Settings
from ci_pipeline.stages import (
    BUILD_PACKAGE,
    COMPOSE_OSTREE,
    CONFORMANCE_TESTS,
    FUNCTIONAL_TESTS,
    GENERATE_IMAGE,
    INTEGRATION_TESTS,
    PROVISION_HOSTS,
    SMOKE_TEST,
    Stage,
)
from ci_pipeline.store import images, runs
from ci_pipeline.store.tables import Run, StageResult

_TESTING: Final = (FUNCTIONAL_TESTS, INTEGRATION_TESTS, CONFORMANCE_TESTS)
# A conformance suite is not run again: it takes hours, and has flake attempts of its own.
_RUN_AGAIN: Final = (FUNCTIONAL_TESTS, INTEGRATION_TESTS)
_OF_THE_IMAGE: Final = (GENERATE_IMAGE, SMOKE_TEST)
# What of the earlier stages' outputs each stage needs.
_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "build_package": (),
    "functional_tests": ("packages", "nvr"),
    "compose_ostree": ("packages", "nvr"),
    "integration_tests": ("packages", "nvr", "compose_rev", "parent_rev"),
    "generate_image": ("compose_rev", "version"),
    "smoke_test": ("compose_rev", "image_name", "image_sha256"),
    "provision_hosts": ("image_name", "image_sha256"),
    "configure_cluster": ("cluster_hosts",),
    "await_cluster": (),
    "conformance_tests": ("image_name",),
}
# What of the settings of the conformance tests each of their steps needs.
_CHOSEN: Final[dict[str, set[str]]] = {
    "provision_hosts": {"cluster", "internet"},
    "configure_cluster": {"cluster", "kubeconfig", "k3s", "kubeadm", "openshift_ansible", "control_plane"},
    "await_cluster": {"ready_seconds", "look_seconds"},
    "conformance_tests": {
        "ready_seconds",
        "suite",
        "command",
        "program",
        "focus",
        "skip",
        "parallel",
        "arguments",
        "look_seconds",
    },
}


def make(session: Session, settings: Settings, run: Run, stage: Stage, *, workspace: Path) -> Request:
    """Return the request of one try of a stage.

    Raises:
        StoreError: what an earlier stage makes is not there: it was marked success without having run, or retention
            has removed it.
        StageEnded: a later run of the package is promoted: an older package cannot be composed on top of a newer one.
    """
    if run.pruned_at is not None and _NEEDS[stage.name]:
        msg = f"what this run built was removed on {run.pruned_at:%Y-%m-%d} ([retention]); clear it from build_package"
        raise StoreError(msg)
    if stage is COMPOSE_OSTREE and (later := runs.overtaken_by(session, run)):
        msg = f"overtaken by {later.rev[:7]} ({later.branch}/{later.number}), which is on the branch already"
        raise StageEnded(msg)
    known = runs.outputs(session, run.id)
    if missing := [key for key in _NEEDS[stage.name] if key not in known]:
        msg = f"{stage.name} needs what no earlier stage has made: {', '.join(missing)}; clear the stages before it"
        raise StoreError(msg)
    return {
        **common(settings, run, stage.name, workspace),
        **_places(settings, run),
        **{key: known[key] for key in _NEEDS[stage.name]},
        "install": install_list(session, settings, run),
        **_cluster(settings, stage),
        **({"compose_rev": _commit_of_image(session, run, known)} if stage is PROVISION_HOSTS else {}),
        **(tools.builds_with(settings, run.branch) if stage is BUILD_PACKAGE else {}),
        **(tools.composes_with(settings) if stage is COMPOSE_OSTREE else {}),
        **(tools.images_with(settings, run.branch) if stage in _OF_THE_IMAGE else {}),
        **({"quarantine": quarantine(settings, run)} if stage in _TESTING else {}),
        **({"reruns": settings.reruns.model_dump()} if stage in _RUN_AGAIN else {}),
    }


def quarantine(settings: Settings, run: Run) -> list[dict[str, Any]]:
    """Return the tests that are known to fail on a run's branch, and whether their time is over."""
    today = datetime.now(UTC).date()
    return [
        {"test": one.test, "tracker": one.tracker, "until": one.until.isoformat(), "expired": today > one.until}
        for one in settings.quarantined(run.branch)
    ]


def workspace_of(settings: Settings, run: Run, name: str, try_number: int) -> Path:
    """Return the folder of one try of a stage, or of another playbook: `<state>/runs/<dag>/<run>/<name>-<try>`."""
    return _folder_of(settings, run) / f"{name}-{try_number}"


def package_repo_of(settings: Settings, run: Run) -> Path:
    """Return the folder of a run's own packages."""
    return _artifacts_of(settings, run) / "repo" / "builds" / run.run_id


def install_list(session: Session, settings: Settings, run: Run) -> list[str]:
    """Return the packages the host consists of: the base, what was promoted on the branch before, and the candidate."""
    promoted = (
        select(Run.repo)
        .distinct()
        .join(StageResult)
        .where(Run.branch == run.branch, StageResult.stage == INTEGRATION_TESTS.name)
        .where(StageResult.status == Status.SUCCESS, Run.kind != Kind.BACKFILL)
    )
    repos = sorted({run.repo, *session.scalars(promoted)})
    watched = [name for repo in repos for name in settings.installed_by(repo)]
    return [*settings.compose.packages, *watched]


def common(settings: Settings, run: Run, name: str, workspace: Path) -> Request:
    """Return what the request of every playbook has, `name` being the playbook's."""
    how, branch = settings.stage(name), settings.branches[run.branch]
    return {
        "stage": name,
        "run": run.run_id,
        "build_id": run.number,
        "pipeline_version": version("ci-pipeline"),
        "package_namespace": run.namespace,
        "repo": run.repo,
        "rev": run.rev,
        "branch": run.branch,
        "dist_git_branch": settings.dist_git_branch_of(run.branch),
        "promote": Kind(run.kind).promotes,
        "workspace": str(workspace),
        "toolchain": how.toolchain,
        "ref": settings.ref_of(run.branch),
        "arch": settings.arch_of(run.branch),
        "release": branch.release,
        "dist": branch.dist,
        "dist_git_url": dist_git.url_of(settings, f"{run.namespace}/{run.repo}"),
        "lookaside_url": settings.dist_git.lookaside,
        "limits": settings.stage_limits(name).model_dump(),
        "artifacts": str(settings.artifacts.folder),
        "cache": str(settings.state / "cache"),
        "cluster_dir": str(_folder_of(settings, run) / "cluster"),
    }


def _commit_of_image(session: Session, run: Run, known: dict[str, Any]) -> str:
    """Return the commit of the image under test, which may be another run's."""
    return images.of_branch(session, branch=run.branch, name=known["image_name"]).compose_rev


def _folder_of(settings: Settings, run: Run) -> Path:
    return settings.state / "runs" / run.dag_id / run.run_id


def _artifacts_of(settings: Settings, run: Run) -> Path:
    return settings.artifacts.folder / "fedora-atomic" / run.branch


def _cluster(settings: Settings, stage: Stage) -> dict[str, Any]:
    """Return what is configured of the conformance tests, for the stage that needs it."""
    chosen = settings.conformance.model_dump(include=_CHOSEN.get(stage.name, set()))
    return {**chosen, "hosts_wanted": settings.conformance.hosts} if stage is PROVISION_HOSTS else chosen


def _places(settings: Settings, run: Run) -> dict[str, str]:
    """Return where a branch's packages, composes and images are kept."""
    folder = _artifacts_of(settings, run)
    return {
        "package_repo": str(package_repo_of(settings, run)),
        "package_link": str(folder / "repo" / f"{run.repo}_repo"),
        "package_set": str(folder / "repo" / "last-good"),
        "base_repo": settings.compose.base_repo or str(settings.state / "cache" / "base"),
        "ostree_repo": str(folder / "ostree"),
        "image_dir": str(folder / "images"),
    }
