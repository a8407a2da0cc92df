"""Specs for the hostile packages: a small one that builds, with whatever an attack adds to it."""

from __future__ import annotations

from typing import Final

_LINES: Final = {"summary": "A package", "preamble": "", "build": ":", "install": "", "sections": "", "files": ""}
_SPEC: Final = """\
{preamble}
Name: {name}
Version: 1.0
Release: 1%{{?dist}}
Summary: {summary}
License: MIT
BuildArch: noarch

%description
A package.

%build
{build}

%install
mkdir -p %{{buildroot}}%{{_datadir}}
echo {name} > %{{buildroot}}%{{_datadir}}/{name}.txt
{install}

{sections}

%files
%{{_datadir}}/{name}.txt
{files}
"""


def spec(name: str = "hello", **lines: str) -> str:
    """Return a spec with these lines in it: summary, preamble, build, install, sections, files."""
    return _SPEC.format(name=name, **(_LINES | lines))
