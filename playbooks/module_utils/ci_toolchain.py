"""Whether a machine can carry a stage out: its architecture, and the tools of the toolchain fedora.

The tools of the toolchain local are what `make setup` installs; each says by itself when it is missing.
"""

from __future__ import annotations

import platform
import shutil
from typing import TYPE_CHECKING, Any, Final

from ansible.module_utils.ci_stage import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE_BUILDER: Final = "image-builder"
# Stages that run programs of the architecture itself. A virtual machine can be emulated.
_NATIVE: Final = ("build_package", "functional_tests", "compose_ostree")
# By stage: the programs, and Fedora's package of each.
_PROGRAMS: Final = {
    "build_package": {"mock": "mock", "rpmbuild": "rpm-build", "createrepo_c": "createrepo_c", "bwrap": "bubblewrap"},
    "functional_tests": {"bwrap": "bubblewrap", "rpm2cpio": "rpm"},
    "compose_ostree": {"rpm-ostree": "rpm-ostree", "ostree": "ostree", "bwrap": "bubblewrap"},
    "integration_tests": {"ostree": "ostree", "mke2fs": "e2fsprogs", "ssh": "openssh-clients"},
    "generate_image": {"ostree": "ostree", "qemu-img": "qemu-img"},
    "smoke_test": {"ssh": "openssh-clients"},
    "provision_hosts": {"qemu-img": "qemu-img", "ssh": "openssh-clients"},
}
_BOOTING: Final = ("integration_tests", "smoke_test", "provision_hosts")
_QEMU: Final = {"x86_64": "qemu-system-x86-core", "aarch64": "qemu-system-aarch64-core"}


def check(params: Mapping[str, Any]) -> None:
    """Raise InfrastructureError with what is wrong with this machine, or what to install.

    `params` has `stage`, `toolchain`, `arch`, `image_builder`, and whether `koji` is wanted.
    """
    stage, arch, here = params["stage"], params["arch"], platform.machine()
    if arch != here and _is_native(params):
        raise InfrastructureError(
            f"{stage} for {arch} needs a machine of that architecture, and this one is {here}; "
            "add a builder (builder_arch), or run the pipeline of that branch on one"
        )
    if params["toolchain"] != "fedora":
        return
    wanted = _wanted(params)
    missing = {program: package for program, package in wanted.items() if shutil.which(program) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise InfrastructureError(
            f"this builder has no {', '.join(missing)}, which {stage} on the toolchain fedora needs; "
            f"dnf install {packages}"
        )


def _is_native(params: Mapping[str, Any]) -> bool:
    makes_image = params["stage"] == "generate_image" and params["image_builder"] == IMAGE_BUILDER
    return params["stage"] in _NATIVE or makes_image


def _wanted(params: Mapping[str, Any]) -> dict[str, str]:
    stage, wanted = params["stage"], dict(_PROGRAMS.get(params["stage"], {}))
    if stage in _BOOTING:
        wanted[f"qemu-system-{params['arch']}"] = _QEMU.get(params["arch"], "qemu")
    if stage == "generate_image" and params["image_builder"] == IMAGE_BUILDER:
        wanted[IMAGE_BUILDER] = IMAGE_BUILDER
    if stage == "build_package" and params["koji"]:
        wanted["koji"] = "koji"
    return wanted
