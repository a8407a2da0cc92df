"""An OSTree repository, as far as retention needs it."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ci_pipeline.errors import RetentionError
from ci_pipeline.retention import tools
from ci_pipeline.retention.folder import Folder

# Refs that hold a commit while a prune is at work.
KEPT: Final = "retention/"
_COMMIT: Final = re.compile(r"^commit ([0-9a-f]{64})$", re.MULTILINE)
_CHECKSUM: Final = re.compile(r"[0-9a-f]{64}")
_FREED: Final = re.compile(r"(?:Deleted|Would delete:) \d+ objects, (?:freeing )?([\d.]+)\s(bytes?|kB|MB|GB|TB)")
_UNITS: Final = {"byte": 1, "bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
# A commit waits this long for a prune, and a prune for a commit. ostree's own 30 s would fail a compose.
_LOCK_SECONDS: Final = "600"


class Repository:
    """The repository in a folder."""

    def __init__(self, folder: Folder) -> None:
        """Take the folder; nothing is read yet."""
        self._folder = folder

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._folder.path

    def exists(self) -> bool:
        """Tell whether there is one, with no symlink on the way to it; raises RetentionError as `Folder.entries`."""
        return any(entry.name == "config" for entry in self._folder.entries())

    def refs(self) -> dict[str, tuple[str, datetime]]:
        """Return the commit of every ref, and when it was set."""
        root = self.path / "refs" / "heads"
        found = {}
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink():
                checksum = path.read_text(encoding="ascii", errors="replace").strip()
                if _CHECKSUM.fullmatch(checksum):
                    when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    found[str(path.relative_to(root))] = checksum, when
        return found

    def commits(self) -> set[str]:
        """Return every commit it holds."""
        found = (path.parent.name + path.stem for path in (self.path / "objects").glob("??/*.commit"))
        return {checksum for checksum in found if _CHECKSUM.fullmatch(checksum)}

    def history(self, ref: str) -> list[str]:
        """Return the commits of a ref that are there, the newest first."""
        return _COMMIT.findall(self._run("log", ref))

    def delete_refs(self, refs: Iterable[str]) -> None:
        """Remove refs; their commits go with the next prune, unless something else holds them."""
        for ref in refs:
            self._run("refs", "--delete", ref)

    def prune(self, keep: Iterable[str]) -> int:
        """Remove every commit that is neither a ref's own nor among `keep`; return about how many bytes that freed.

        ostree works out what is referenced under the same lock that keeps commits out, so none in progress is lost.
        """
        self._be_patient()
        held = [f"{KEPT}{checksum}" for checksum in keep]
        try:
            for ref in held:
                self._run("refs", "--force", f"--create={ref}", ref.removeprefix(KEPT))
            return _freed(self._run("prune", "--refs-only", "--depth=0"))
        finally:
            self.delete_refs(held)

    def would_free(self, keep: Iterable[str]) -> int:
        """Return about how many bytes `prune` would free if the refs were those of `keep` alone; changes nothing."""
        with self._shadow(keep) as shadow:
            return _freed(_ostree(shadow, "prune", "--no-prune", "--refs-only", "--depth=0"))

    def write_summary(self) -> None:
        """Write the summary anew, and remove the indexes of static deltas that are gone."""
        self._run("summary", "--update")

    def _run(self, verb: str, *arguments: str) -> str:
        return _ostree(self.path, verb, *arguments)

    def _be_patient(self) -> None:
        config = ConfigParser(interpolation=None, strict=False)
        config.read(self.path / "config", encoding="utf-8")
        if not config.has_option("core", "lock-timeout-secs"):
            self._run("config", "set", "core.lock-timeout-secs", _LOCK_SECONDS)

    @contextmanager
    def _shadow(self, keep: Iterable[str]) -> Iterator[Path]:
        """A repository of the same objects with refs of its own."""
        with tempfile.TemporaryDirectory(prefix="ci-pipeline-prune-") as name:
            shadow = Path(name)
            for part in ("refs/heads", "refs/remotes", "tmp", "state"):
                (shadow / part).mkdir(parents=True)
            shutil.copyfile(self.path / "config", shadow / "config")
            (shadow / "objects").symlink_to(self.path / "objects")
            for checksum in keep:
                (shadow / "refs" / "heads" / checksum).write_text(f"{checksum}\n")
            yield shadow


def _ostree(path: Path, verb: str, *arguments: str) -> str:
    ran = tools.run("ostree", verb, f"--repo={path}", *arguments)
    if ran.returncode:
        msg = f"ostree {verb} failed on {path}: {tools.last_words(ran)}"
        raise RetentionError(msg)
    return ran.stdout


def _freed(told: str) -> int:
    found = _FREED.search(told)
    return round(float(found[1]) * _UNITS[found[2]]) if found else 0
