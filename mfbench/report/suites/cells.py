"""The cells of a suite's table: what each backend reached on each data set, and what can be told apart there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from mfbench.report.significance import AgainstBest, UserErrors, compare, errors_of, rmse_intervals
from mfbench.runs.records import Record
from mfbench.runs.repeats import interval
from mfbench.search.outcome import Swept, standing


@dataclass(frozen=True)
class Cell:
    """A backend on a data set.

    records: its final run or floor for each seed, none if one of them is missing, as then the mean would be of fewer. why:
    in words, why there are none. low, high: the 95 % interval of the test RMSE; see `cells_of`. is_first: whether it is the
    best on valid, with which the others are compared. search_seconds: of all its trials; train_seconds: of its final runs.
    """

    dataset: str
    backend: str
    records: tuple[Record, ...] = ()
    why: str | None = None
    search_seconds: float = 0.0
    low: float | None = None
    high: float | None = None
    is_first: bool = False
    against_first: AgainstBest | None = None

    def mean(self, metric: str) -> float | None:
        """The mean of a metric over the seeds; None if one of them lacks it."""
        values = [record.metric(metric) for record in self.records]
        return fmean(one for one in values if one is not None) if values and None not in values else None

    @property
    def rmse(self) -> float | None:
        """The mean test RMSE; None if there is no result."""
        return self.mean("test_rmse")

    @property
    def cost(self) -> float:
        """The mean of its objective on valid as a search minimizes it; infinite if there is no result."""
        return fmean(record.cost for record in self.records) if self.records else math.inf

    @property
    def train_seconds(self) -> float:
        """Of the final runs."""
        return sum(record.clocks.train_seconds for record in self.records)

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def as_dict(self) -> dict[str, Any]:
        """The cell by name, as `--json` and CSV have it."""
        against = self.against_first
        return {
            "dataset": self.dataset,
            "backend": self.backend,
            "seeds": len(self.records),
            "test_rmse": self.rmse,
            "test_rmse_low": self.low,
            "test_rmse_high": self.high,
            "test_mae": self.mean("test_mae"),
            "valid_rmse": self.mean("valid_rmse"),
            "first_on_valid": self.is_first,
            "indistinguishable": None if against is None else not against.is_distinguishable,
            **(asdict(against) if against else {}),
            "search_seconds": self.search_seconds,
            "train_seconds": self.train_seconds,
            "run_keys": " ".join(record.run_key for record in self.records),
            "why": self.why,
        }


def cells_of(sweeps: Mapping[str, Sequence[Swept | None]], backends: Sequence[str]) -> list[Cell]:
    """The cells of a table, data set by data set.

    sweeps: of each data set, one for each seed; None for one in which nothing completed. The interval of a test RMSE is that
    of its mean over the seeds, or of one sweep over its folds or repeats; else the percentile interval of the bootstrap over
    the users of test. Each is compared with the best on valid of its data set, as on a leaderboard; with several seeds each
    user's Σ e² and ratings are summed over them.
    """
    found: list[Cell] = []
    for dataset, of_seeds in sweeps.items():
        found += _compared([_cell(dataset, backend, of_seeds) for backend in backends])
    return found


def _cell(dataset: str, backend: str, sweeps: Sequence[Swept | None]) -> Cell:
    records, seconds = list[Record](), 0.0
    for swept in sweeps:
        if swept is None:
            return Cell(dataset, backend, why="no trial completed")
        seconds += sum(trial.clocks.search_seconds for trial in swept.trials.get(backend, ()))
        finals = [one for one in standing(swept.finals) if one.backend == backend]
        done = [one for one in finals if one.outcome == "completed" and one.test_rmse is not None]
        if not done:
            why = [one.reason for one in finals if one.reason] or [s for s in swept.failures if s.startswith(f"{backend} ")]
            return Cell(dataset, backend, why=why[0] if why else "it has no final run", search_seconds=seconds)
        records.append(done[0])
    return Cell(dataset, backend, tuple(records), None, seconds)


def _compared(cells: Sequence[Cell]) -> list[Cell]:
    """The cells of one data set with their intervals, compared with the first on valid."""
    ranked = sorted((cell for cell in cells if cell.records), key=lambda cell: (cell.cost, cell.backend))
    errors = {cell.backend: found for cell in ranked if (found := _errors(cell))}
    made = {cell.backend: replace(cell, is_first=cell is ranked[0]) for cell in ranked}
    if ranked and (first := errors.get(ranked[0].backend)):
        same = {name: one.squared for name, one in errors.items() if one.splits == first.splits}
        squared = np.stack(list(same.values()))
        for name, (low, high) in zip(same, rmse_intervals(squared, first.counts), strict=True):
            made[name] = replace(made[name], low=low, high=high)
        if len(same) > 1:
            for name, against in zip(list(same)[1:], compare(squared, first.counts), strict=True):
                made[name] = replace(made[name], against_first=against)
    for name, cell in made.items():
        if (wide := _over_repeats(cell)) is not None and (rmse := cell.rmse) is not None:
            made[name] = replace(cell, low=rmse - wide, high=rmse + wide)
    return [made.get(cell.backend, cell) for cell in cells]


def _over_repeats(cell: Cell) -> float | None:
    """Half the width of the interval of a mean over seeds, folds or repeats; None if there is one run alone."""
    if len(cell.records) > 1:
        return interval([record.test_rmse for record in cell.records if record.test_rmse is not None]).half_width
    mean = cell.records[0].intervals.get("test_rmse")
    return mean.half_width if mean else None


def _errors(cell: Cell) -> UserErrors | None:
    """The errors by user, summed over the seeds; None if one of them has none."""
    each = [errors_of(record, "test") for record in cell.records]
    known = [one for one in each if one is not None]
    if len(known) < len(each):
        return None
    splits = set[str]().union(*(one.splits for one in known))
    squared, counts = (np.sum(each, axis=0) for each in zip(*((one.squared, one.counts) for one in known), strict=True))
    return UserErrors(splits, squared, counts)
