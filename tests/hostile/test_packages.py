"""Packages that attack what reads them: their repository, their spec, what their build leaves. Each says why."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.hostile import git_objects
from tests.hostile.attacks import Attack, unlike
from tests.hostile.specs import spec
from tests.playbooks.stage_runs import LIMITS

if TYPE_CHECKING:
    from tests.hostile.builder import Builder
    from tests.playbooks.stage_runs import DistGit

pytestmark = pytest.mark.timeout(1200)

GOOD: Final = {"hello.spec": spec()}
SMALL: Final = {"limits": LIMITS | {"disk_mb": 16}}
FORGE: Final = (Path(__file__).parent / "forge_header.py").read_text(encoding="utf-8")
DEEP: Final = "python3 -c \"import os\nfor _ in range(1500):\n    os.mkdir('d'); os.chdir('d')\""


def spec_of(**lines: str) -> dict[str, str]:
    """Return the files of a package that is its spec alone."""
    return {"hello.spec": spec(**lines)}


def cleaning(commands: str) -> dict[str, str]:
    """Return a package that runs these in its %clean: after the RPMs were written."""
    return spec_of(sections=f"%clean\ncd %{{_topdir}}/RPMS\n{commands}")


def forged(name: str) -> dict[str, str]:
    """Return a package whose RPM says that this is its name, of five characters."""
    command = f"%clean\npython3 %{{SOURCE0}} %{{_topdir}}/RPMS/noarch/*.rpm hello '{name}'"
    return spec_of(preamble="Source0: forge.py", sections=command) | {"forge.py": FORGE}


REPOSITORIES: Final = {
    "a .git in the tree": Attack(
        r"commit REV of rpms/hello cannot be checked out: error: invalid path '\.git'",
        GOOD,
        git_objects.with_file(b".git"),
    ),
    "ten billion files": Attack(
        "commit REV of rpms/hello has more than 50000 files", GOOD, git_objects.with_many_files
    ),
    "a name longer than any": Attack(
        "commit REV of rpms/hello has a file with a name that is too long", GOOD, git_objects.with_file(b"n" * 300)
    ),
    "a file larger than any": Attack(
        r"the files of commit REV of rpms/hello have over 16 MiB \(limits\.disk_mb\)",
        GOOD | {"zeros": "0" * (17 << 20)},
        request=SMALL,
    ),
    "a repository larger than any": Attack(
        r"the repository rpms/hello has over 16 MiB \(limits\.disk_mb\)", GOOD, git_objects.large, SMALL
    ),
    "a time that is none": Attack(
        r"commit REV of rpms/hello was made at no time there is \(.*\+99:99\); amend it",
        GOOD,
        git_objects.at("1 +9999"),
    ),
    "sources that lead out": Attack(
        "sources is not a regular file of at most 1 MiB", GOOD, git_objects.with_file(b"sources", git_objects.LINK)
    ),
}
SPECS: Final = {
    "larger than any": Attack("hello.spec is larger than 4 MiB", {"hello.spec": spec() + "#" * (4 << 20)}),
    "with a file of the builder in it": Attack(
        "hello.spec is not a valid spec: Unable to open /etc/shadow: No such file or directory; .*",
        spec_of(preamble="%include /etc/shadow"),
    ),
    "with macros of the builder": Attack(
        "hello.spec is not a valid spec: .*failed to load macro file {state}/secret.*",
        spec_of(preamble="%{load:{state}/secret}"),
    ),
    "with sources of the builder": Attack(
        "rpmbuild failed: Bad file: .*/secret: No such file or directory; Bad file: .*/shadow: No such file .*",
        spec_of(preamble="Source0: /etc/shadow\nSource1: ../../../../../..{state}/secret"),
    ),
    "with folders of its own": Attack(
        "the build did not write exactly one source package hello-.*",
        spec_of(preamble="%global _srcrpmdir /var/tmp/out\n%global _rpmdir /var/tmp/../../tmp/out"),
    ),
}
LEFT: Final = {
    "the packages of another": Attack(
        "the build replaced its folder RPMS by something else",
        cleaning("cd ..; mv RPMS SRPMS; ln -s {artifacts}/packages/another RPMS"),
    ),
    "a link": Attack(
        "the build left 'a.rpm' among its packages, which is not a plain RPM file",
        cleaning("ln -s {artifacts}/packages/another/secret.txt a.rpm"),
    ),
    "a name of two lines": Attack(
        "the build left 'a b.rpm' among its packages, which is not a plain RPM file", cleaning("cp */*.rpm 'a\nb.rpm'")
    ),
    "folders without end": Attack("the package left folders that are nested too deeply", cleaning(DEEP)),
    "a package that is no name": Attack(
        "the build wrote packages whose headers name something that is no package", forged("--all")
    ),
    "a package of two lines": Attack(
        "the build wrote packages whose headers name something that is no package", forged("he\\nlo")
    ),
}
TRAPS: Final = {
    ".gitattributes": "* filter=evil diff=evil merge=evil\n* export-subst\n",
    ".gitmodules": '[submodule "../../hooks"]\npath = ../x\nurl = ext::sh -c "echo got out > {state}/written"\n',
    "hooks/post-checkout": "#!/bin/sh\necho got out > {state}/written\n",
    ".mailmap": "a <a> b <b>\n",
    "-rf": "a name like an option",
    "--define=_topdir /": "the same",
    "two\nlines": "a name of two lines",
    "no text \udcff": "a name that is no UTF-8",
}


def test_a_repository_fails_by_itself(builder: Builder) -> None:
    """Git is run by the builder itself: nothing of a repository may lead it anywhere, or into what has no end."""
    assert unlike(builder, REPOSITORIES) == {}
    assert builder.harm() == []
    assert builder.build_harmless().told == ("SUCCESS", "", "")


def test_a_spec_fails_by_itself(builder: Builder) -> None:
    """What it names is looked up in the sandbox alone."""
    assert unlike(builder, SPECS) == {}
    assert builder.harm() == []
    assert builder.build_harmless().told == ("SUCCESS", "", "")


def test_what_a_build_leaves_fails_it(builder: Builder) -> None:
    """Links are not followed, pipes not waited for; a forged package is none."""
    assert unlike(builder, LEFT) == {}
    assert builder.harm() == []
    assert builder.build_harmless().told == ("SUCCESS", "", "")


def test_what_is_odd_alone_does_nothing(builder: Builder) -> None:
    """A repository full of traps, an archive of ways out, links to the builder's files: none has any effect."""
    git = builder.dist_git()
    line = git.upload("traps.tar", _archive(builder))
    build = "tar --absolute-names -xf %{SOURCE0} || :\ncat etc/shadow etc/secret && exit 1\n:"
    install = "mkdir %{buildroot}/opt\ncd %{buildroot}/opt\nln -s /etc/shadow shadow\necho '#!/bin/sh' > root\n"
    lines = {
        "install": f"{install}chmod 6755 root",
        "files": "/opt/shadow\n%attr(6755,root,root) /opt/root",
    }
    git.write({"hello.spec": spec(preamble="Source0: traps.tar", build=build, **lines), "sources": line})
    rev = _with_traps(git, builder)
    built = builder.build(git, rev, lookaside_url=str(git.lookaside))

    assert built.told == ("SUCCESS", "", "")
    assert builder.harm() == []
    assert [path for path in built.workspace.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o6000] == []
    assert builder.build_harmless().told == ("SUCCESS", "", "")


def _archive(builder: Builder) -> bytes:
    """Return a tar with files above and outside of it, and links to what the builder keeps."""
    written, file = builder.state / "written", io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in (f"../../../../../..{written}", str(written)):
            tar.addfile(tarfile.TarInfo(name))
        for name, target, kind in (
            ("etc/shadow", "/etc/shadow", tarfile.SYMTYPE),
            ("etc/secret", f"{builder.state}/secret", tarfile.SYMTYPE),
            ("folder", str(builder.state), tarfile.SYMTYPE),
            ("hard", f"{builder.state}/secret", tarfile.LNKTYPE),
        ):
            one = tarfile.TarInfo(name)
            one.type, one.linkname = kind, target
            tar.addfile(one)
        tar.addfile(tarfile.TarInfo("folder/written"))
    return file.getvalue()


def _with_traps(git: DistGit, builder: Builder) -> str:
    """Commit all traps beside what is there, and a link and a folder of the same name; return the rev."""
    git.write({name: builder.filled(text) for name, text in TRAPS.items()})
    (git.path / "outside").symlink_to(builder.state)
    git.commit()
    module = (git_objects.MODULE, b"module", "0" * 39 + "1")
    linked = (git_objects.LINK, b"twice", git_objects.write(git, "blob", os.fsencode(builder.state)))
    folder = git_objects.tree(git, [(git_objects.FILE, b"written", git_objects.write(git, "blob", b"got out"))])
    rev = git_objects.commit_tree(git, [module, linked, (git_objects.FOLDER, b"twice", folder)], keep=True)
    for name in ("heads/--upload-pack=touch", "tags/-x", "heads/HEAD"):
        git.git("update-ref", f"refs/{name}", rev)
    return rev
