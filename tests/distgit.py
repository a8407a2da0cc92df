"""A dist-git for tests: real git repositories, made of whatever files a test wants."""

import os
import subprocess
from pathlib import Path

SPEC = """\
Name:           {name}
Version:        {version}
Release:        1%{{?dist}}
Summary:        A package of the tests
License:        MIT
BuildArch:      noarch
Source0:        {name}

%description
{summary}

%prep

%build

%check
{check}

%install
install -D -m 0755 %{{SOURCE0}} %{{buildroot}}%{{_bindir}}/{name}

%files
%{{_bindir}}/{name}
"""
PROGRAM = '#!/bin/sh\necho "hello from {name} {version}"\n'
TESTS = """\
- hosts: localhost
  gather_facts: false
  tags: [classic]
  roles:
    - role: standard-test-basic
      tags: [classic]
      tests:
        - says-hello:
            dir: .
            run: {run}

- hosts: localhost
  gather_facts: false
  tags: [atomic]
  tasks:
    - name: The program answers on the host
      ansible.builtin.raw: {name}
      register: answer
      changed_when: false
      failed_when: "'hello from {name} {version}' not in answer.stdout"
"""
_ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "Packager",
    "GIT_AUTHOR_EMAIL": "packager@example.org",
    "GIT_COMMITTER_NAME": "Packager",
    "GIT_COMMITTER_EMAIL": "packager@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def package(
    name: str, version: str = "1.0", *, check: str = "test -s %{SOURCE0}", run: str = "'true'"
) -> dict[str, str]:
    """Return the files of a small package: what its `%check` runs, and its one functional test."""
    return {
        f"{name}.spec": SPEC.format(name=name, version=version, check=check, summary="It says hello."),
        name: PROGRAM.format(name=name, version=version),
        "tests/tests.yml": TESTS.format(name=name, version=version, run=run),
    }


class DistGit:
    """Bare repositories below one folder, `rpms/<name>.git`."""

    def __init__(self, folder: Path) -> None:
        """Use an empty folder."""
        self.folder = folder

    @property
    def url(self) -> str:
        """What `dist_git.url` is set to."""
        return self.folder.as_uri()

    def commit(self, name: str, files: dict[str, str], *, branch: str = "f26", remove: tuple[str, ...] = ()) -> str:
        """Commit files on a branch of a package, making both if need be; return the revision."""
        bare, clone = self.folder / "rpms" / f"{name}.git", self.folder / "clones" / name
        if not bare.exists():
            self._git(self.folder, "init", "--quiet", "--bare", str(bare))
            self._git(self.folder, "clone", "--quiet", str(bare), str(clone))
        self._git(clone, "checkout", "--quiet", "-B", branch)
        for path, content in files.items():
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_text(content)
        for path in remove:
            (clone / path).unlink()
        self._git(clone, "add", "--all")
        self._git(clone, "commit", "--quiet", "--allow-empty", "-m", f"Change {name}")
        self._git(clone, "push", "--quiet", "--force", "origin", branch)
        return self._git(clone, "rev-parse", "HEAD")

    def commits(self, name: str, rev: str) -> int:
        """Return how many commits lead to a revision, itself included."""
        return int(self._git(self.folder / "clones" / name, "rev-list", "--count", rev))

    @staticmethod
    def _git(folder: Path, *arguments: str) -> str:
        environment = {**os.environ, **_ENVIRONMENT}
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()
