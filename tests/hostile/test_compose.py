"""Packages that attack the builder, or the host itself, when a host is composed of them. Scriptlets run as root."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.hostile import escapes
from tests.hostile.specs import spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hostile.builder import Builder, Ended

pytestmark = pytest.mark.timeout(1200)

REF: Final = "fedora/f26/x86_64/atomic-host"
CANNOT: Final = "the tree cannot be composed: "
PACKAGE: Final = """\
%package -n {name}
Summary: A package of the host
{header}
%description -n {name}
A package of the host.
{scriptlet}
%files -n {name}
{files}
"""
# Of each package its lines, and the reason why there is no host of it.
PACKAGES: Final[dict[str, tuple[dict[str, str], str]]] = {
    "breakout": ({"scriptlet": "%post -n breakout\n{probes}\nexit 1"}, f"{CANNOT}.*scriptlet failed.*"),
    "device": ({"files": "%dev(b 8 0) /usr/share/disk"}, f"{CANNOT}Error unpacking rpm package device-.*"),
    "removes": ({"scriptlet": "%post -n removes\nrm -rf /srv"}, "a package removed the host's folder /srv"),
    "leads-out": (
        {"scriptlet": "%post -n leads-out\nrm -rf /srv && ln -s {state} /srv"},
        "a package replaced the folder /srv by something else",
    ),
    "accounts": (
        {"files": "/etc/passwd"},
        f"{CANNOT}.*file /etc/passwd conflicts between attempted installs of accounts-.*",
    ),
}


@pytest.fixture
def compose(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that composes a host of host-base and a package of a repository."""
    base = tmp_path_factory.getbasetemp() / "base-os"

    def run(package: Ended, name: str) -> Ended:
        return builder.run(
            "compose_ostree",
            rev="0" * 40,
            dist_git_url="",
            cache=str(base),
            base_repo=str(base / "repo"),
            package_set=str(builder.folder / "package-set"),
            ostree_repo=str(builder.folder / "ostree"),
            package_repo=str(package.package_repo),
            install=["host-base", name],
        )

    return run


def packages(builder: Builder, named: Mapping[str, dict[str, str]]) -> dict[str, str]:
    """Return the files of a source package with these binary packages."""
    probes = escapes.script(escapes.OF_SCRIPTLET, builder.places)
    sections = ""
    for name, lines in named.items():
        given = {"header": "", "scriptlet": "", "files": ""} | lines
        sections += PACKAGE.format(name=name, **given).replace("{probes}", probes)
    install = "mkdir %{buildroot}/etc\necho evil::0:0::/:/bin/sh > %{buildroot}/etc/passwd"
    return {"hello.spec": spec(install=install, sections=builder.filled(sections))}


def test_a_package_of_the_host_fails_by_itself(builder: Builder, compose: Any) -> None:
    """A scriptlet is root and gets nowhere; what breaks the host is named, and is no fault of the builder."""
    source = builder.build_files(packages(builder, {name: lines for name, (lines, _) in PACKAGES.items()}))
    ended = {name: compose(source, name) for name in PACKAGES}
    odd = {
        name: ended[name].told
        for name, (_, says) in PACKAGES.items()
        if ended[name].told[:2] != ("FAILURE", "package") or not re.fullmatch(says, ended[name].told[2])
    }

    assert source.told == ("SUCCESS", "", "")
    assert odd == {}
    assert escapes.nothing(escapes.OF_SCRIPTLET) in (ended["breakout"].workspace / "dnf.log").read_text()
    assert builder.harm() == []
    assert compose(builder.build_harmless(), "harmless").told == ("SUCCESS", "", "")


def test_a_package_that_takes_the_place_of_the_host_fails(builder: Builder, compose: Any) -> None:
    """Without host-base a tree is no host, and who is to blame for that is who took its place."""
    header = "Provides: host-base = 99\nObsoletes: host-base < 99"
    source = builder.build_files(packages(builder, {"usurper": {"header": header, "files": "/etc/passwd"}}))

    assert compose(source, "usurper").told == (
        "FAILURE",
        "package",
        "a package takes the place of host-base, which makes the tree a host",
    )
