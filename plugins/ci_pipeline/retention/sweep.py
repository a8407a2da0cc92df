"""One pass of retention: what it may remove, what it has removed, what it could not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from ci_pipeline import store
from ci_pipeline.errors import AirflowApiError, RetentionError
from ci_pipeline.retention.folder import Entry, Folder
from ci_pipeline.settings import Settings
from ci_pipeline.store import kept

# What a step that was cut short left behind; no step takes that long.
_LEFTOVER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Removed:
    """Something that was removed, or would be.

    Attributes:
        kind: `workspace`, `log`, `build`, `image`, `manifest`, `commit`, `leftover` or `airflow run`.
        what: its path, or its name.
        bytes: what it took on the disk; 0 where that is not known.
    """

    kind: str
    what: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pass did. `warnings` has a sentence for each thing that could not be removed."""

    dry_run: bool
    removed: tuple[Removed, ...]
    warnings: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What all that was removed took on the disk."""
        return sum(one.bytes for one in self.removed)


class Sweep:
    """One pass at work.

    Attributes:
        settings: where everything is, and what is kept.
        dry_run: nothing is removed.
        before: files of runs that ended before this time may go.
        leftovers_before: what was cut short before this time is a leftover.
        housekeeping_before: runs of the DAGs that are not of a branch may go that ended before this time.
    """

    def __init__(self, settings: Settings, *, now: datetime, dry_run: bool) -> None:
        """Take the settings and the time that ages count from."""
        self.settings = settings
        self.dry_run = dry_run
        self.before = now - timedelta(days=settings.retention.run_days)
        self.leftovers_before = now - _LEFTOVER
        self.housekeeping_before = now - timedelta(hours=settings.retention.housekeeping_hours)
        self._removed: list[Removed] = []
        self._warnings: list[str] = []

    @cached_property
    def branches(self) -> Folder:
        """The folder that has one folder per branch."""
        return Folder(self.settings.artifacts.folder / "fedora-atomic")

    @cached_property
    def young(self) -> set[tuple[str, str]]:
        """The runs whose files stay, as DAG id and run id."""
        with store.session() as session:
            return kept.not_due(session, self.before)

    @contextmanager
    def may_go(self, dag_id: str, run_id: str, modified: datetime) -> Iterator[bool]:
        """Tell whether files of a run may go, and keep it from beginning anew meanwhile.

        Args:
            dag_id: its DAG.
            run_id: its id; there may be no such run any more.
            modified: when its files changed last, which is all that is known of a run that is gone.
        """
        if (dag_id, run_id) in self.young:
            yield False
            return
        with store.session() as session:
            run = kept.held(session, dag_id, run_id)
            yield modified < self.before if run is None else kept.is_due(run, self.before)

    def remove(self, kind: str, folder: Folder, name: str) -> bool:
        """Remove a file or folder, in a dry run only measure it; tell whether it is (or would be) gone."""
        with self.tolerating():
            size = folder.size_of(name) if self.dry_run else folder.remove(name)
            self.removed(kind, str(folder.path / name), size)
            return True
        return False

    def remove_leftovers(self, folder: Folder, entries: list[Entry]) -> None:
        """Remove those that are old enough."""
        for entry in entries:
            if entry.modified < self.leftovers_before:
                self.remove("leftover", folder, entry.name)

    def removed(self, kind: str, what: str, size: int = 0) -> None:
        """Note that something is gone."""
        self._removed.append(Removed(kind, what, size))

    def warn(self, sentence: str) -> None:
        """Note that something could not be removed."""
        if sentence not in self._warnings:
            self._warnings.append(sentence)

    @contextmanager
    def tolerating(self) -> Iterator[None]:
        """Go on after the block when something in it cannot be removed, with a warning."""
        try:
            yield
        except (RetentionError, AirflowApiError, OSError) as error:
            self.warn(str(error))

    def result(self) -> Pruned:
        """Return what was done."""
        return Pruned(self.dry_run, tuple(self._removed), tuple(self._warnings))
