"""The compose on the toolchain fedora: what rpm-ostree, a stand-in, is asked, and what is made of its commit."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.ci_stage import StageError

from tests.playbooks.host.branches import REF, SPEC, ostree
from tests.playbooks.stage_runs import LIMITS, module

if TYPE_CHECKING:
    from tests.playbooks.fedora.stand_ins import Tools
    from tests.playbooks.stage_runs import RunStage

FEDORA = {"name": "fedora", "url": "https://example.org/$releasever/$basearch/os/", "gpg_key": "file:///etc/pki/key"}


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run's repository with hello 1.0."""
    top = tmp_path_factory.mktemp("hello")
    nothing = {"header": "", "install": "", "scriptlet": "", "files": ""}
    (top / "it.spec").write_text(SPEC.format(name="hello", version="1.0", **nothing), encoding="utf-8")
    command = ["rpmbuild", "--quiet", "-bb", "--define", f"_topdir {top}", "--define", f"_dbpath {top}/db"]
    subprocess.run([*command, str(top / "it.spec")], check=True, capture_output=True)
    return next(top.rglob("*.rpm")).parent


@pytest.fixture
def params(tmp_path: Path, hello: Path) -> dict[str, Any]:
    """Return the parameters of the module."""
    return {
        "repos": [FEDORA],
        "treefile": "/etc/ci-pipeline/host.json",
        "package_set": str(tmp_path / "last-good"),
        "package_repo": str(hello),
        "install": ["kernel", "hello"],
        "replace": False,
        "ostree_repo": str(tmp_path / "ostree"),
        "ref": REF,
        "branch": "f26",
        "build_id": 7,
        "release": "26",
        "cache": str(tmp_path / "cache"),
        "workspace": str(tmp_path),
        "limits": LIMITS,
    }


def compose(params: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Compose in a workspace of its own."""
    whole = params | other
    workspace = Path(whole["workspace"]) / f"workspace-{whole['build_id']}"
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir()
    composed: dict[str, Any] = module("compose_tree").compose(whole | {"workspace": str(workspace)})
    return composed


@pytest.mark.parametrize(
    ("says", "fault", "sentence"),
    [
        ("error: Packages not found: hello-nothing", "package", "error: Packages not found: hello-nothing"),
        (
            "error: Could not depsolve:\n Problem: conflicting requests\n  - nothing provides nothing needed by hello",
            "package",
            "nothing provides nothing needed by hello",
        ),
        ("error: Running %post for hello: bwrap(/bin/sh): exit 1", "package", "Running %post for hello"),
        ("error: Updating rpm-md repo 'fedora': cannot download repomd.xml", "infrastructure", "cannot download"),
        ("error: must be root", "infrastructure", "must be root"),
    ],
)
def test_what_rpm_ostree_says_tells_whose_fault_it_is(
    params: dict[str, Any], tools: Tools, says: str, fault: str, sentence: str
) -> None:
    """Its log and the treefile are kept."""
    tools.says("rpm-ostree", code=1, says=says)
    with pytest.raises(StageError) as error:
        compose(params)

    assert error.value.fault == fault
    assert sentence in str(error.value)
    assert [Path(one["path"]).name for one in error.value.part["artifacts"]] == ["compose.log", "host.json"]


def test_without_repositories_that_is_said(params: dict[str, Any]) -> None:
    """There is no Fedora to compose of."""
    with pytest.raises(StageError, match=r"add one below \[compose.repos\]"):
        compose(params, repos=[])


@pytest.mark.parametrize("url", ["https://example.org/ x", "https://example.org/\nexcludepkgs=x", ""])
def test_an_address_that_is_none_is_refused(params: dict[str, Any], tools: Tools, url: str) -> None:
    """It would be another line of the repository's definition."""
    with pytest.raises(StageError, match="is no url of a repository"):
        compose(params, repos=[FEDORA | {"url": url}])

    assert tools.calls("rpm-ostree") == []


def test_a_newer_package_beside_the_candidate_is_the_packages_fault(params: dict[str, Any], tools: Tools) -> None:
    """Nothing is left of such a commit that could be promoted."""
    tools.says("rpm-ostree", pkglist="[('hello', '0', '2.0', '1.fc26', 'noarch')]")
    with pytest.raises(StageError, match=r"instead of the candidate hello-1\.0-1\.fc26\.noarch") as error:
        compose(params)

    assert error.value.fault == "package"
    assert ostree(Path(params["ostree_repo"]), "refs") == ""


def test_what_rpm_ostree_is_asked(params: dict[str, Any], tools: Tools) -> None:
    """A repository of the run's own, no ref, the version that follows; the treefile is made of the settings."""
    compose(params)
    (call,) = tools.calls("rpm-ostree")
    workspace = Path(params["workspace"]) / "workspace-7"

    assert call == [
        *("compose", "tree", "--unified-core"),
        f"--repo={workspace}/compose-repo",
        f"--cachedir={params['cache']}/rpm-ostree/f26",
        f"--write-commitid-to={workspace}/commitid",
        "--add-metadata-string=version=26.1",
        "--no-parent",
        f"{workspace}/treefile/host.json",
    ]
    assert json.loads((workspace / "treefile" / "host.json").read_text()) == {
        "ref": REF,
        "releasever": "26",
        "repos": ["fedora", "candidate"],
        "packages": ["kernel", "hello"],
        "include": "/etc/ci-pipeline/host.json",
    }
    definition = (workspace / "treefile" / "fedora.repo").read_text().splitlines()
    assert definition[2:] == [f"baseurl={FEDORA['url']}", "enabled=1", "gpgcheck=1", "gpgkey=file:///etc/pki/key"]
    assert not (workspace / "compose-repo").exists()


def test_the_commit_is_a_candidate_and_a_child_of_the_head(params: dict[str, Any], tools: Tools) -> None:
    """Its packages are those of its metadata, the difference is named, and no ref of the branch has moved."""
    first = compose(params)["outputs"]
    repo = Path(params["ostree_repo"])
    ostree(repo, "refs", f"--create={REF}", first["compose_rev"])
    tools.says("rpm-ostree", pkglist="[('hello', '0', '1.0', '1.fc26', 'noarch'), ('bash', '1', '5', '1', 'x86_64')]")
    second = compose(params, build_id=8)["outputs"]

    assert (second["version"], second["parent_rev"]) == ("26.2", first["compose_rev"])
    assert second["package_diff"] == {"added": ["bash-1:5-1.x86_64"], "removed": [], "changed": []}
    assert second["installed"] == ["bash-1:5-1.x86_64", "hello-1.0-1.fc26.noarch"]
    assert ostree(repo, "rev-parse", "candidate/f26/8") == second["compose_rev"]
    assert ostree(repo, "rev-parse", f"{second['compose_rev']}^") == first["compose_rev"]
    assert ostree(repo, "rev-parse", REF) == first["compose_rev"]
    assert tools.calls("rpm-ostree")[1][-2] == f"--parent={first['compose_rev']}"


def test_a_side_run_takes_the_candidate_whatever_else_there_is(
    params: dict[str, Any], tools: Tools, tmp_path: Path
) -> None:
    """Older than what is promoted, too: nobody else provides it."""
    (tmp_path / "last-good").mkdir()
    compose(params, replace=True)
    folder = Path(params["workspace"]) / "workspace-7" / "treefile"

    assert json.loads((folder / "host.json").read_text())["repo-packages"] == [
        {"repo": "candidate", "packages": ["hello"]}
    ]
    assert "excludepkgs=hello" in (folder / "last-good.repo").read_text()
    assert "excludepkgs" not in (folder / "candidate.repo").read_text()


def test_the_playbook_chooses_by_the_toolchain(run_stage: RunStage, params: dict[str, Any], tools: Tools) -> None:
    """No base OS is made of this machine's packages."""
    keys = {"package_set", "package_repo", "install", "ostree_repo", "ref", "branch", "build_id", "release", "cache"}
    request = {key: params[key] for key in keys} | {"compose_repos": params["repos"], "compose_treefile": ""}
    result = run_stage("compose_ostree", toolchain="fedora", base_repo=f"{params['cache']}/base", **request)

    assert result["status"] == "SUCCESS", result["reason"]
    assert result["outputs"]["version"] == "26.1"
    assert not Path(params["cache"], "base").exists()
