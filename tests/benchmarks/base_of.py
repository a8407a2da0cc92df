"""Package repositories of any size: packages of a few dozen files and half a megabyte each, made with rpmbuild."""

import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

# Half a megabyte in all, from a licence to the one big file.
_SIZES: Final = (*[2_000] * 16, *[8_000] * 14, *[24_000] * 5, 240_000)
_POOL_BYTES: Final = 1_000_000
# One of so many has a scriptlet, but not the first.
_WITH_SCRIPTLET: Final = 10
_HEAD: Final = """\
%global __os_install_post %{{nil}}
%global _binary_payload w3.zstdio
Name: {first}
Version: {version}
Release: 1.fc26
Summary: A package of a host
License: MIT
BuildArch: noarch
Requires(pre): filesystem
%description
A package of a host.
%install
cp -a {payload}/. %{{buildroot}}/
"""
_PACKAGE: Final = """\
%package -n {name}
Summary: A package of a host
Requires(pre): filesystem
%description -n {name}
A package of a host.
"""
_SCRIPTLET: Final = "%post -n {name}\nexit 0\n"
_FILES: Final = "%files -n {name}\n/usr/share/{name}\n/usr/bin/{name}\n"


def make(folder: Path, names: Sequence[str], version: str) -> None:
    """Make a folder of packages of these names, each with its own files; the version changes all of them."""
    scratch = folder.with_name(f".{folder.name}.build")
    payload = scratch / "payload"
    pool = _pool()
    for name in names:
        _fill(payload, name, version, pool)
    (scratch / "it.spec").write_text("".join(_spec(names, version, payload)), encoding="ascii")
    defines = ("--define", f"_topdir {scratch}", "--define", f"_dbpath {scratch}/db")
    run("rpmbuild", "--quiet", "-bb", *defines, str(scratch / "it.spec"))
    folder.mkdir(exist_ok=True)
    for path in (scratch / "RPMS").rglob("*.rpm"):
        path.rename(folder / path.name)
    shutil.rmtree(scratch)


def index(folder: Path) -> None:
    """Make a folder of packages a repository."""
    run("createrepo_c", "--quiet", str(folder))


def run(*command: str) -> str:
    """Run a tool that has to succeed; return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command[:4]}: {done.stderr[-500:]}"
    return done.stdout.strip()


def _pool() -> str:
    """Return text that compresses to about half, as programs and documents do; the same each time."""
    return random.Random(26).randbytes(_POOL_BYTES // 2).hex()  # noqa: S311 - content, no secret


def _fill(payload: Path, name: str, version: str, pool: str) -> None:
    share, program = payload / "usr" / "share" / name, payload / "usr" / "bin" / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\necho {name} {version}\n", encoding="ascii")
    program.chmod(0o755)
    for number, size in enumerate(_SIZES):
        folder = share / f"part-{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        start = random.Random(f"{name} {number}").randrange(len(pool) - size)  # noqa: S311 - content, no secret
        (folder / f"file-{number}").write_text(f"{name} {version} {number}\n{pool[start : start + size]}\n", "ascii")


def _spec(names: Sequence[str], version: str, payload: Path) -> Iterator[str]:
    yield _HEAD.format(first=names[0], version=version, payload=payload)
    yield from (_PACKAGE.format(name=name) for name in names[1:])
    for number, name in enumerate(names):
        yield (_SCRIPTLET if number % _WITH_SCRIPTLET == 1 else "").format(name=name) + _FILES.format(name=name)
