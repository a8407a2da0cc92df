"""What a stage is told of the tools of the toolchain fedora, as a branch has them."""

from typing import Any

from ci_pipeline.settings import Settings


def builds_with(settings: Settings, branch: str) -> dict[str, Any]:
    """Return how build_package builds: mock's configuration, and Koji's if there are to be scratch builds."""
    own, arch = settings.branches[branch], settings.arch_of(branch)
    mock = {"config": own.mock_config or f"fedora-{own.release}-{arch}", "isolation": settings.mock.isolation}
    if not settings.koji.profile:
        return {"mock": mock}
    target = own.koji_target or (f"f{own.release}" if own.release.isdecimal() else own.release)
    return {"mock": mock, "koji": {"target": target, "arch": arch, **settings.koji.model_dump()}}


def composes_with(settings: Settings) -> dict[str, Any]:
    """Return what compose_ostree composes of besides our own packages."""
    repos = [{"name": name, **repo.model_dump()} for name, repo in settings.compose.repos.items()]
    return {"compose_repos": repos, "compose_treefile": settings.compose.treefile}
