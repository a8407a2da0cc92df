"""The demo's dist-git: bare repositories whose post-receive hook publishes every push, as Fedora's dist-git does."""

import json
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ci_pipeline.demo.git import git
from ci_pipeline.errors import StackError
from ci_pipeline.settings import Settings
from ci_pipeline.stack.layout import write_private

NAMESPACE: Final = "rpms"
PACKAGES: Final = ("greeter", "hostinfo")
BRANCHES: Final = ("f26", "rawhide")
TOPIC_PREFIX: Final = "org.fedoraproject.prod"
_HOOK_PROGRAM: Final = "fedora-messaging-git-hook"


@dataclass(frozen=True)
class DistGit:
    """A local dist-git: `<folder>/rpms/<package>.git`."""

    folder: Path

    @property
    def url(self) -> str:
        """Its base URL, for `dist_git.url`."""
        return f"file://{quote(str(self.folder))}"

    @property
    def hook_config(self) -> Path:
        """The hook program's configuration; holds the broker's password."""
        return self.folder / "fedora-messaging.toml"

    def repository(self, package: str) -> Path:
        """Return the bare repository of a package."""
        return self.folder / NAMESPACE / f"{package}.git"


def of_state(state: Path) -> DistGit:
    """Return the dist-git of a state folder, made or not."""
    return DistGit(state.resolve() / "dist-git")


def ensure(distgit: DistGit, sources: Path, settings: Settings) -> None:
    """Make what is missing of the dist-git, and point its hooks at the bus of the settings. Done twice it is done once.

    Args:
        distgit: where.
        sources: folder with one folder per package.
        settings: of the running stack.

    Raises:
        StackError: a package, git or the hook program is missing.
    """
    program = _hook_program()
    distgit.folder.mkdir(parents=True, exist_ok=True)
    write_private(distgit.hook_config, _hook_settings(settings))
    for package in PACKAGES:
        if not distgit.repository(package).is_dir():
            _create(distgit.repository(package), sources / package)
        _install_hook(distgit.repository(package), program, distgit.hook_config)


def _create(repository: Path, source: Path) -> None:
    """Fill a bare repository and only then move it into place: an interrupted start leaves nothing half made."""
    if not source.is_dir():
        msg = f"the demo's package {source.name} is not at {source}; check out the whole project"
        raise StackError(msg)
    repository.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=repository.parent, prefix=".new-") as scratch:
        bare, clone = Path(scratch, "bare"), Path(scratch, "clone")
        for folder, options in ((bare, ["--bare"]), (clone, [])):
            folder.mkdir()
            git(folder, "init", "--quiet", f"--initial-branch={BRANCHES[0]}", *options)
        shutil.copytree(source, clone, dirs_exist_ok=True)
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "-m", f"Import {source.name}")
        git(clone, "push", "--quiet", str(bare), *(f"HEAD:refs/heads/{branch}" for branch in BRANCHES))
        bare.rename(repository)


def _install_hook(repository: Path, program: Path, config: Path) -> None:
    hook = repository / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    # Git ignores how post-receive ends, so the packager has to read it.
    words = shlex.join([str(program), "--config", str(config)])
    hook.write_text(f"#!/bin/sh\n{words} || {{ echo 'the push was not published on the bus'; exit 1; }}\n")
    hook.chmod(0o755)


def _hook_program() -> Path:
    program = Path(sys.executable).with_name(_HOOK_PROGRAM)
    if not program.is_file():
        msg = f"{_HOOK_PROGRAM} is not installed beside {sys.executable}; run `make setup`"
        raise StackError(msg)
    return program


def _hook_settings(settings: Settings) -> str:
    bus = settings.bus
    values = {
        "amqp_url": bus.url.get_secret_value(),
        "publish_exchange": bus.exchange,
        "topic_prefix": TOPIC_PREFIX,
    }
    # A JSON string is a TOML string.
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    return f"{lines}\n[consumer_config]\nwith_namespace = true\n"
