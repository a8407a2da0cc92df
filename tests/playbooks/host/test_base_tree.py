"""The kept tree of the base packages: a host made over it is that from nothing, and no candidate writes into it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils import ci_base_tree
from ansible.module_utils.ci_dnf import Chosen, Dnf
from ansible.module_utils.ci_nevra import Nevra
from ansible.module_utils.ci_rootbox import OverlaySandbox
from ansible.module_utils.ci_tools import locked
from ansible.module_utils.ci_tree import finish_over

from tests.playbooks.host.branches import LIMITS, REF, ostree
from tests.playbooks.stage_runs import module

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.playbooks.host.branches import Branch, BuildCandidate

    Compose = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may lay a tree over another one")
DATABASE = "/usr/etc /usr/share/rpm/rpmdb.sqlite"
# What a package can bring: a folder, a link, a program that runs as its owner, another name of a file.
RICH = {
    "install": (
        "install -d %{buildroot}/usr/share/hello/empty %{buildroot}/var/lib/hello %{buildroot}/etc/hello.d\n"
        "ln -s ../hello %{buildroot}/usr/share/hello/link\n"
        "install -m 4711 /dev/null %{buildroot}/usr/share/hello/program\n"
        "cd %{buildroot}/usr/share/hello && echo one >one && ln one two"
    ),
    "files": "/usr/share/hello\n/var/lib/hello\n%attr(0750,root,root) /etc/hello.d",
}
# Whatever a package of the host could do to its files, in place where that is possible.
HARM = """\
echo evil >>/usr/lib/os-release
echo evil >>/usr/share/rpm/evil
chmod 4777 /usr/bin/busybox
rm -f /usr/bin/vi
mv /usr/bin/tac /usr/bin/cat2
dd if=/dev/zero of=/usr/sbin/dropbear bs=1 count=9 conv=notrunc 2>/dev/null
rm -rf /usr/libexec/host && mkdir /usr/libexec/host && echo evil >/usr/libexec/host/boot
"""


@pytest.fixture
def compose(branch: Branch, tmp_path: Path, host_folder: Path) -> Compose:
    """Return a function that composes with the modules of the stage; `work` in its answer is the workspace."""
    install, commit = module("install_tree"), module("commit_tree")
    cache = tmp_path / "cache"
    numbers = iter(range(10, 99))

    def run(candidate: Path, **given: Any) -> dict[str, Any]:
        number = next(numbers)
        work = tmp_path / f"work-{number}"
        work.mkdir()
        common = {
            "base_repo": str(branch.base),
            "package_set": str(branch.package_set),
            "package_repo": str(candidate),
            "install": ["host-base", "hello"],
            "replace": True,
            "cache": str(cache),
            "workspace": str(work),
            "limits": LIMITS,
            "ostree_repo": str(branch.ostree),
            "ref": REF,
            "branch": "f26",
            "release": "26",
        }
        known = common | {"build_id": number} | given
        tree = install.compose(known)
        made = commit.commit(known | {name: tree[name] for name in ("tree", "base_tree", "base_key", "installed")})
        return {**made["outputs"], "base_tree": tree["base_tree"], "work": work}

    return run


def files(branch: Branch, rev: str) -> list[list[str]]:
    """Return mode, owners, size and checksum of each file of a commit, and mode and owners of each folder.

    But for the package database: it says when a package was installed.
    """
    rows = [line.split() for line in ostree(branch.ostree, "ls", "-RC", rev).splitlines()]
    whole = [[*row[:4], *row[5:]] if row[0].startswith("d") else row for row in rows]
    return [row for row in whole if not row[-1].endswith("/rpmdb.sqlite")]


def state(tree: Path) -> str:
    """Return a digest of all that is in a folder, and of what the file system knows of it."""
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        found = path.lstat()
        digest.update(repr((str(path), found.st_mode, found.st_uid, found.st_mtime_ns, found.st_ctime_ns)).encode())
        if path.is_file() and not path.is_symlink():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def test_a_host_over_a_kept_tree_is_that_from_nothing(
    branch: Branch, build_candidate: BuildCandidate, compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the tree is made now, was there, or none is used; the metadata are the same as well."""
    candidate = build_candidate("1.1", **RICH)
    first, second = compose(candidate), compose(candidate)
    monkeypatch.setattr(ci_base_tree.BaseTrees, "install", lambda *_: None)
    nothing = compose(candidate)

    assert first["base_tree"] == second["base_tree"] != ""
    assert nothing["base_tree"] == ""
    assert files(branch, first["compose_rev"]) == files(branch, second["compose_rev"])
    assert files(branch, first["compose_rev"]) == files(branch, nothing["compose_rev"])
    for key in ("installed", "package_diff", "version", "parent_rev"):
        assert first[key] == second[key] == nothing[key]
    assert _metadata(branch, first["compose_rev"]) == _metadata(branch, nothing["compose_rev"])
    # Installed was the candidate alone, and what was mounted left nothing.
    assert "host-base" not in (second["work"] / "dnf.log").read_text()
    assert not list(second["work"].glob("*tree*")) + list(second["work"].glob(".*overlay"))


def test_nothing_a_package_does_gets_into_the_kept_tree(
    branch: Branch, build_candidate: BuildCandidate, compose: Compose
) -> None:
    """A host with a hostile package in it is that package's own; the next one is as if it had never been."""
    before = compose(build_candidate("1.1"))
    kept = state(Path(before["base_tree"]))
    hostile = compose(build_candidate("1.2", scriptlet=f"%post\n{HARM}"))
    after = compose(build_candidate("1.1"))

    assert ostree(branch.ostree, "cat", hostile["compose_rev"], "/usr/libexec/host/boot") == "evil"
    assert hostile["base_tree"] == ""
    assert after["base_tree"] == before["base_tree"]
    assert state(Path(before["base_tree"])) == kept
    assert files(branch, after["compose_rev"]) == files(branch, before["compose_rev"])


def test_no_write_reaches_what_lies_below(
    tmp_path: Path, branch: Branch, compose: Compose, build_candidate: BuildCandidate
) -> None:
    """Not even of a program that has taken over dnf: it sees both trees as one, and writes into its own."""
    kept = Path(compose(build_candidate("1.1"))["base_tree"])
    upper = tmp_path / "upper"
    upper.mkdir()
    before = state(kept)
    sandbox = OverlaySandbox(tmp_path, LIMITS, writable={"/tree": upper}, lower=kept, upper=upper)
    ran = sandbox.run(
        ["sh", "-ec", HARM.replace(" /", " /tree/").replace(">/", ">/tree/").replace("=/usr", "=/tree/usr")]
    )

    assert ran.returncode == 0, ran.stderr
    assert (upper / "usr" / "libexec" / "host" / "boot").read_text() == "evil\n"
    assert state(kept) == before
    assert not finish_over(upper), "what is gone cannot be committed as an addition"


@pytest.mark.parametrize(
    "sections",
    [
        {"scriptlet": "%post -p <lua>\nx = 1"},
        {"scriptlet": "%triggerin -- glibc\n:"},
        {"scriptlet": "%transfiletriggerin -- /usr/bin\n:"},
        {"scriptlet": "%pretrans -p <lua>\nx = 1"},
    ],
    ids=["lua", "trigger", "file trigger", "before"],
)
def test_package_code_runs_in_no_kept_tree(
    build_candidate: BuildCandidate, tmp_path: Path, sections: dict[str, str]
) -> None:
    """Whatever runs when a package is installed, or another one: the host is made from nothing."""
    plain, odd = build_candidate("1.1"), build_candidate("1.1", **sections)

    assert _trees(tmp_path, plain)._are_plain(_chosen(plain))
    assert not _trees(tmp_path, odd)._are_plain(_chosen(odd))


def test_a_package_that_is_called_like_one_of_the_base_gets_into_no_kept_tree(
    branch: Branch, build_candidate: BuildCandidate, tmp_path: Path
) -> None:
    """Name, version and release can be forged: nothing but the base repository is there when its tree is made."""
    base, candidate = tmp_path / "base-of-an-operator", tmp_path / "candidate"
    shutil.copytree(branch.base.resolve(), base)
    shutil.copytree(build_candidate("1.1"), candidate)
    forged = build_candidate("3.0", name="extra", install="touch %{buildroot}/usr/bin/evil", files="/usr/bin/evil")
    for folder, package in ((base, build_candidate("3.0", name="extra")), (candidate, forged)):
        shutil.copytree(package, folder, dirs_exist_ok=True, ignore=lambda *_: ["repodata"])
        subprocess.run(["createrepo_c", "--quiet", "--excludes=*.src.rpm", str(folder)], check=True)
    trees = ci_base_tree.BaseTrees(
        tmp_path / "cache", Dnf(tmp_path, LIMITS, {"candidate": candidate, "base": base}, [])
    )
    mine = [one for one in trees.dnf.choose(["host-base", "extra"])[1] if one.nevra.name != "extra"]
    extra = Nevra("extra", "0", "3.0", "1.fc26", "noarch")
    (tmp_path / "tree").mkdir()
    chosen = sorted([*mine, Chosen("base", "extra-3.0-1.fc26.noarch.rpm", extra)])
    with trees._kept("key", chosen, tmp_path / "log", tmp_path / "tree") as kept:
        assert kept is not None

        assert (kept.path / "usr" / "bin" / "extra").is_file()
        assert not (kept.path / "usr" / "bin" / "evil").exists()


def test_a_changed_base_is_another_tree(branch: Branch, build_candidate: BuildCandidate, tmp_path: Path) -> None:
    """So are other metadata or tools; and a file that was replaced under its name, of which dnf takes no notice."""
    base = tmp_path / "base-of-an-operator"
    shutil.copytree(branch.base.resolve(), base)
    trees = ci_base_tree.BaseTrees(tmp_path, Dnf(tmp_path, LIMITS, {"base": base}, []))
    versions, chosen = trees.dnf.choose(["host-base"])
    keys = [trees._key(versions, chosen), trees._key(versions, chosen), trees._key("4.15.0 4.18.0", chosen)]
    keys.append(trees._key(versions, chosen[1:]))
    os.utime(base / chosen[0].file)
    keys.append(trees._key(versions, chosen))
    shutil.copytree(build_candidate("1.1"), base, dirs_exist_ok=True)
    keys.append(trees._key(versions, chosen))

    assert keys[0] == keys[1]
    assert len(set(keys)) == 5


def test_where_nothing_can_be_mounted_a_host_is_made_from_nothing(
    build_candidate: BuildCandidate, compose: Compose, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In some containers, and without root; no tree is made there, for nobody could use it."""
    monkeypatch.setattr(OverlaySandbox, "before", ["false"])
    composed = compose(build_candidate("1.1"))

    assert composed["base_tree"] == ""
    assert "hello-1.1-1.fc26.noarch" in composed["installed"]
    assert not [path for path in (tmp_path / "cache" / "trees").iterdir() if path.is_dir()]


def test_trees_that_nobody_uses_go(tmp_path: Path, build_candidate: BuildCandidate) -> None:
    """The five used last stay, and so does one that a compose is at work over."""
    trees = _trees(tmp_path, build_candidate("1.1"))
    for number in range(8):
        (tmp_path / str(number)).mkdir()
        (tmp_path / f".{number}.lock").touch()
        os.utime(tmp_path / f".{number}.lock", (number, number))
    with locked(tmp_path / ".1.lock", fcntl.LOCK_SH):
        trees._forget_old()

    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["1", "3", "4", "5", "6", "7"]


def _trees(folder: Path, candidate: Path) -> ci_base_tree.BaseTrees:
    return ci_base_tree.BaseTrees(folder, Dnf(folder, LIMITS, {"candidate": candidate}, []))


def _chosen(candidate: Path) -> list[Chosen]:
    return [
        Chosen("candidate", path.name, Nevra("hello", "0", "1", "1", "noarch"))
        for path in candidate.glob("*.noarch.rpm")
    ]


def _metadata(branch: Branch, rev: str) -> list[str]:
    keys = ("version", "ostree.bootable", "ostree.linux", "rpmostree.rpmdb.pkglist")
    return [ostree(branch.ostree, "show", f"--print-metadata-key={key}", rev) for key in keys]
