"""Composing: what may not become a commit, and what a commit says about itself."""

from __future__ import annotations

import dataclasses
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.playbooks.host.branches import REF, ostree, refs
from tests.playbooks.stage_runs import stage_runner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.playbooks.host.branches import Branch, BuildCandidate


def test_a_dependency_nobody_provides_is_the_packages_fault(branch: Branch, build_candidate: BuildCandidate) -> None:
    """The reason is dnf's own sentence, and nothing is committed."""
    result = branch.compose(build_candidate("1.1", header="Requires: libnothere.so.7"), build_id=2)

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert "nothing provides libnothere.so.7 needed by hello-1.1-1.fc26.noarch" in result["reason"]
    assert refs(branch.ostree) == {REF}


def test_an_older_candidate_is_refused(branch: Branch, build_candidate: BuildCandidate) -> None:
    """The newer package of the set would be taken, so the commit would not be of the candidate."""
    result = branch.compose(build_candidate("0.9"), build_id=2)

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert "the tree has hello-1.0-1.fc26.noarch instead of the candidate hello-0.9-1.fc26.noarch" in result["reason"]


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"scriptlet": "%post\nexit 3"}, "scriptlet failed"),
        ({"install": "install -D /dev/null %{buildroot}/opt/it", "files": "/opt/it"}, "a package has files in /opt"),
        ({"install": "install -D /dev/null %{buildroot}/usr/etc/it", "files": "/usr/etc/it"}, "files in /usr/etc"),
        ({"scriptlet": "%post\nrm -rf /srv && ln -s /etc /srv"}, "replaced the folder /srv"),
    ],
    ids=["scriptlet", "opt", "usr-etc", "symlink"],
)
def test_a_package_that_breaks_the_tree_is_refused(
    branch: Branch, build_candidate: BuildCandidate, sections: dict[str, str], reason: str
) -> None:
    """What does not fit into a commit is named, instead of being lost or followed."""
    result = branch.compose(build_candidate("1.1", **sections), build_id=2)

    assert (result["status"], result["fault"]) == ("FAILURE", "package")
    assert reason in result["reason"]
    assert refs(branch.ostree) == {REF}


def test_scriptlets_see_nothing_of_the_builder(
    branch: Branch, build_candidate: BuildCandidate, host_folder: Path
) -> None:
    """Lua scriptlets run in rpm's own process, with its rights: there is no network device and no folder of ours."""
    lua = (
        "%post -p <lua>\n"
        f"local outside = posix.stat('/proc/1/root{host_folder}')\n"
        "local inside = posix.stat('/usr/bin/hello')\n"
        "local file = io.open('/usr/share/seen', 'w')\n"
        "file:write(outside and 'builder' or 'nothing', ' ', inside and 'tree' or 'no tree')\n"
        "file:close()"
    )

    result = branch.compose(build_candidate("1.1", scriptlet=lua), build_id=2)

    assert result["status"] == "SUCCESS", result["reason"]
    assert ostree(branch.ostree, "cat", result["outputs"]["compose_rev"], "/usr/share/seen") == "nothing tree"


def test_a_candidate_is_a_child_of_the_head_and_moves_nothing(branch: Branch, build_candidate: BuildCandidate) -> None:
    """The version counts up, the diff names exactly what changed, the ref and the package set stay."""
    head, packages = branch.head(), branch.good_packages()

    result = branch.compose(build_candidate("1.1"), build_id=2)

    assert result["status"] == "SUCCESS", result["reason"]
    rev = result["outputs"]["compose_rev"]
    assert {key: result["outputs"][key] for key in ("compose_rev", "version", "parent_rev", "package_diff")} == {
        "compose_rev": rev,
        "version": "26.2",
        "parent_rev": head,
        "package_diff": {
            "added": [],
            "removed": [],
            "changed": [["hello-1.0-1.fc26.noarch", "hello-1.1-1.fc26.noarch"]],
        },
    }
    assert ostree(branch.ostree, "rev-parse", f"{rev}^") == head
    assert ostree(branch.ostree, "cat", rev, "/usr/bin/hello") == "#!/bin/sh\necho hello 1.1"
    assert branch.head() == head
    assert branch.good_packages() == packages
    # Held by a ref of its own, so that a prune between the stages does not take it.
    assert ostree(branch.ostree, "rev-parse", "candidate/f26/2") == rev


def test_what_is_installed_and_what_with_is_told(branch: Branch, build_candidate: BuildCandidate) -> None:
    """As the commit's own metadata and the tools themselves have it."""
    result = branch.compose(build_candidate("1.1"), build_id=2, pipeline_version="0.1.0")
    outputs = result["outputs"]
    listed = ostree(branch.ostree, "show", "--print-metadata-key=rpmostree.rpmdb.pkglist", outputs["compose_rev"])
    rpm = subprocess.run(["rpm", "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]

    assert "hello-1.1-1.fc26.noarch" in outputs["installed"]
    assert len(outputs["installed"]) == listed.count("('")
    assert outputs["builder"].keys() == {"ci-pipeline", "createrepo_c", "kernel", "ostree", "qemu", "rpm"}
    assert (outputs["builder"]["ci-pipeline"], outputs["builder"]["rpm"]) == ("0.1.0", rpm)


def test_a_package_that_comes_or_goes_is_named(branch: Branch, build_candidate: BuildCandidate) -> None:
    """The diff against the parent has additions and removals, too."""
    result = branch.compose(build_candidate("2.0", name="other"), build_id=2, install=["host-base", "other"])

    assert result["outputs"]["package_diff"] == {
        "added": ["other-2.0-1.fc26.noarch"],
        "removed": ["hello-1.0-1.fc26.noarch"],
        "changed": [],
    }


def test_the_first_compose_of_a_branch_has_no_parent(new_branch: Branch, build_candidate: BuildCandidate) -> None:
    """Its version is the first of its release, whatever the release is called."""
    result = new_branch.compose(build_candidate("1.0"), release="rawhide")

    assert result["outputs"]["parent_rev"] == ""
    assert result["outputs"]["version"] == "rawhide.1"
    assert "hello-1.0-1.fc26.noarch" in result["outputs"]["package_diff"]["added"]
    assert new_branch.head() == ""


def test_the_base_os_is_made_once_for_runs_at_the_same_time(
    new_branch: Branch, build_candidate: BuildCandidate, tmp_path: Path
) -> None:
    """One run makes it, the other waits and uses the same; both go on."""
    candidate = build_candidate("1.0")

    def compose(number: int) -> str:
        folder = tmp_path / f"runner-of-{number}"
        folder.mkdir()
        branch = dataclasses.replace(
            new_branch, folder=folder, base=folder / "base", cache=tmp_path / "cold", run_stage=stage_runner(folder)
        )
        return str(branch.compose(candidate, workspace=str(tmp_path / f"work-{number}"))["status"])

    with ThreadPoolExecutor() as pool:
        statuses = list(pool.map(compose, range(2)))

    made = [(tmp_path / f"work-{number}" / "base-os.log").exists() for number in range(2)]
    assert statuses == ["SUCCESS", "SUCCESS"]
    assert sorted(made) == [False, True]
    assert (tmp_path / "runner-of-0" / "base").resolve() == (tmp_path / "runner-of-1" / "base").resolve()
