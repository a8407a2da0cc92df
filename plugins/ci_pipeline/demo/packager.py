"""What the demo's packager pushes: a new release that is fine, and one whose own unit tests fail.

Every push starts from the package as the project has it, so that what went wrong in an earlier demo, or was pushed by
hand, does not go on; only the list of greetings and the release are carried forward, and neither ever goes back.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ci_pipeline.demo.distgit import NAMESPACE, DistGit
from ci_pipeline.demo.git import EMAIL, PACKAGER, git
from ci_pipeline.errors import StackError

PACKAGE: Final = "greeter"
BRANCH: Final = "f26"
_RELEASE: Final = re.compile(r"^(Release:\s*)(\d+)", re.MULTILINE)
# Added one a push, while there are any left.
_GREETINGS: Final = {
    "da": "Hej",
    "et": "Tere",
    "eu": "Kaixo",
    "ga": "Dia duit",
    "hu": "Szia",
    "is": "Hæ",
    "lt": "Labas",
    "lv": "Sveiki",
    "nl": "Hallo",
    "pl": "Cześć",
    "pt": "Olá",
    "ro": "Salut",
    "sk": "Ahoj",
    "sl": "Živjo",
    "sv": "Hej",
    "tr": "Merhaba",
}
# The bug: `set -u` ends the program when nobody is named. %check calls it without a name.
_RIGHT: Final = '"$words, ${1:-world}!"'
_WRONG: Final = '"$words, $1!"'


@dataclass(frozen=True)
class Pushed:
    """A push.

    Attributes:
        rev: the commit.
        subject: its first line.
        at: when the push began.
        said: what the remote answered, its hook included.
    """

    rev: str
    subject: str
    at: datetime
    said: str


def push_good(distgit: DistGit, sources: Path) -> Pushed:
    """Push a new release with one more greeting."""
    return _push(distgit, sources, broken=False)


def push_broken(distgit: DistGit, sources: Path) -> Pushed:
    """Push a new release whose program fails its own unit tests."""
    return _push(distgit, sources, broken=True)


def _push(distgit: DistGit, sources: Path, *, broken: bool) -> Pushed:
    with tempfile.TemporaryDirectory(prefix="ci-pipeline-packager-") as scratch:
        clone = Path(scratch) / PACKAGE
        git(Path(scratch), "clone", "--quiet", "--branch", BRANCH, str(distgit.repository(PACKAGE)), PACKAGE)
        subject = _change(clone, sources / PACKAGE, broken=broken)
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "-m", subject)
        rev = git(clone, "rev-parse", "HEAD").strip()
        began = datetime.now(UTC)
        said = git(clone, "push", "origin", f"HEAD:refs/heads/{BRANCH}")
    return Pushed(rev=rev, subject=subject, at=began, said=said)


def _change(clone: Path, source: Path, *, broken: bool) -> str:
    """Change the working tree and return the commit's subject."""
    release = _release_of(clone / f"{PACKAGE}.spec") + 1
    greetings = _lines(source / "greetings") | _lines(clone / "greetings")
    shutil.copytree(source, clone, dirs_exist_ok=True)
    subject = _break(clone) if broken else _extend(greetings)
    (clone / "greetings").write_text("".join(f"{code} {words}\n" for code, words in sorted(greetings.items())))
    _set_release(clone / f"{PACKAGE}.spec", release, subject)
    return subject


def _extend(greetings: dict[str, str]) -> str:
    code = next((code for code in _GREETINGS if code not in greetings), None)
    if code is None:
        return "Rebuild"
    greetings[code] = _GREETINGS[code]
    return f"Greet in {code}: {_GREETINGS[code]}"


def _break(clone: Path) -> str:
    program = clone / PACKAGE
    text = program.read_text()
    if _RIGHT not in text:
        msg = f"the demo cannot break {program.name}: it has no {_RIGHT}; adapt plugins/ci_pipeline/demo/packager.py"
        raise StackError(msg)
    program.write_text(text.replace(_RIGHT, _WRONG))
    return "Simplify how the name is put in"


def _release_of(spec: Path) -> int:
    found = _RELEASE.search(spec.read_text())
    return int(found.group(2)) if found else 0


def _set_release(spec: Path, release: int, subject: str) -> None:
    text = _RELEASE.sub(rf"\g<1>{release}", spec.read_text(), count=1)
    version = re.search(r"^Version:\s*(\S+)", text, re.MULTILINE)
    number = version.group(1) if version else "0"
    entry = f"* {datetime.now(UTC):%a %b %d %Y} {PACKAGER} <{EMAIL}> - {number}-{release}\n- {subject}\n\n"
    spec.write_text(text.replace("%changelog\n", f"%changelog\n{entry}", 1))


def _lines(greetings: Path) -> dict[str, str]:
    """Return `code words` lines as a mapping."""
    pairs = (line.partition(" ") for line in greetings.read_text(encoding="utf-8").splitlines() if line.strip())
    return {code: words for code, _, words in pairs}


def repair_command(distgit: DistGit) -> str:
    """Return how a user takes the bug back, with a push of their own."""
    clone = f"git clone -b {BRANCH} {distgit.url}/{NAMESPACE}/{PACKAGE}.git"
    return f"{clone} && cd {PACKAGE} && git revert --no-edit HEAD && git push"
