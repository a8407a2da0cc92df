"""What a benchmark measures: rows, each beside its own yardstick, and plain figures; as a table and as JSON."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Measure = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement beside its yardstick, both taken in this run.

    Attributes:
        name: what was measured.
        yardstick: what it is held against.
        unit: of the samples, mostly `s`.
        ours: samples of the pipeline, in the order they were taken.
        theirs: samples of the yardstick; a pair of each round if there are as many.
    """

    name: str
    yardstick: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as much the pipeline takes: of each round, or else of the medians."""
        if len(self.ours) == len(self.theirs):
            return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        return [statistics.median(self.ours) / statistics.median(self.theirs)]

    def told(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        spreads = {"ours": spread(self.ours), "theirs": spread(self.theirs), "ratio": spread(self.ratios)}
        return {**asdict(self), **{f"{name}_spread": told for name, told in spreads.items()}}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that has no yardstick: it tells how much there has to be of something."""

    name: str
    value: float
    unit: str


@dataclass(slots=True)
class Book:
    """What has been measured so far; written to its file after each benchmark."""

    path: Path
    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def write(self) -> None:
        """Write everything measured so far."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        told = {"machine": self.machine, "rows": [row.told() for row in self.rows]}
        told["figures"] = [asdict(figure) for figure in self.figures]
        self.path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")

    def show(self, console: Console) -> None:
        """Print everything measured so far."""
        console.print(_table_of_rows(self.rows), _table_of_figures(self.figures), self.machine, str(self.path))


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile and both ends of samples. Of less than 100 the percentile is near the maximum."""
    ordered = sorted(samples)
    high = statistics.quantiles(ordered, n=100, method="inclusive")[98] if len(ordered) > 1 else ordered[0]
    return {"median": statistics.median(ordered), "p99": high, "min": ordered[0], "max": ordered[-1]}


def alternately(rounds: int, *measures: Measure) -> list[list[float]]:
    """Take each measure once a round, another one first each time; return the samples of each, in order of rounds."""
    samples: list[list[float]] = [[] for _ in measures]
    for number in range(rounds):
        turned = [(place + number) % len(measures) for place in range(len(measures))]
        for place in turned:
            samples[place].append(measures[place]())
    return samples


def _table_of_rows(rows: Sequence[Row]) -> Table:
    table = Table("measured", "rounds", "median", "min to max", "yardstick", "median", "ratio", "min to max")
    for row in rows:
        ours, theirs, ratio = spread(row.ours), spread(row.theirs), spread(row.ratios)
        times = [f"{ours['median']:.3f} {row.unit}", _range(ours), row.yardstick, f"{theirs['median']:.3f} {row.unit}"]
        table.add_row(row.name, str(len(row.ours)), *times, f"{ratio['median']:.2f}", _range(ratio))
    return table


def _table_of_figures(figures: Sequence[Figure]) -> Table:
    table = Table("figure", "value", "unit")
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:,.2f}", figure.unit)
    return table


def _range(told: dict[str, float]) -> str:
    return f"{told['min']:.2f} to {told['max']:.2f}"
