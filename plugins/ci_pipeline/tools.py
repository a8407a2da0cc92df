"""What a stage is told of the tools of the toolchain fedora, as a branch has them."""

from typing import Any

from ci_pipeline.settings import Settings
from ci_pipeline.stages import GENERATE_IMAGE


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


def images_with(settings: Settings, branch: str) -> dict[str, str]:
    """Return who makes a branch's image, and how it is told what to make."""
    by_toolchain = "image-builder" if settings.stage(GENERATE_IMAGE.name).toolchain == "fedora" else "ostree"
    return {
        "image_builder": settings.image.builder or by_toolchain,
        "image_type": settings.image.type,
        "image_distro": settings.image.distro or f"fedora-{settings.branches[branch].release}",
    }
