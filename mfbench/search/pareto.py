"""The Pareto front of a sweep with two objectives: the trials that no other trial dominates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from rich.table import Table

from mfbench.core import tables
from mfbench.runs.records import Record
from mfbench.spec import FIRST

Item = TypeVar("Item")


def front(trials: Sequence[Record]) -> list[dict[str, Any]] | None:
    """The undominated trials among the completed ones of all backends, best first; None with one objective.

    Each is a dict of backend, number, K, alpha, beta and its other hyperparameters, and the two objectives.
    """
    names = objectives(trials[0]) if trials else []
    if len(names) < 2:
        return None
    cost = trials[0].objective.cost
    rows = [_row(trial, names) for trial in trials if trial.outcome == "completed"]
    rows = [row for row in rows if all(row[name] is not None for name in names)]
    rows.sort(key=lambda row: (cost(row[names[0]]), row[names[1]], row["backend"], row["number"]))
    return undominated(rows, lambda row: (cost(row[names[0]]), row[names[1]]))


def undominated(items: Iterable[Item], point: Callable[[Item], tuple[float, float]]) -> list[Item]:
    """The items on the Pareto front of two numbers, lower is better; sorted by `point`, and of equal items all are kept.

    >>> undominated([(3, 1), (1, 3), (2, 2), (2, 3)], lambda pair: pair)
    [(1, 3), (2, 2), (3, 1)]
    """
    kept: list[Item] = []
    # In sorted order, an item can only be dominated by an earlier one: by any that is at least as good in the second number.
    for item in sorted(items, key=point):
        if not kept or point(item)[1] < point(kept[-1])[1] or point(item) == point(kept[-1]):
            kept.append(item)
    return kept


def objectives(record: Record) -> list[str]:
    """The names of the objectives of the sweep to which a trial belongs."""
    return list(record.spec.sweep.objectives) if record.spec.sweep else ["valid_rmse"]


def table(found: Sequence[dict[str, Any]]) -> Table:
    """The front as a table for the terminal."""
    header = list(found[0]) if found else ["backend"]
    body = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()] for row in found]
    return tables.drawn("Pareto front", header, body)


def as_csv(found: Sequence[dict[str, Any]]) -> str:
    """The front as CSV with exact numbers."""
    return tables.as_csv(list(found[0]) if found else [], found)


def _row(trial: Record, names: Sequence[str]) -> dict[str, Any]:
    known = {"train_seconds": trial.clocks.train_seconds, "K": trial.K, trial.objective.name: trial.judged}
    shown = {"backend": trial.backend, "number": trial.number, **dict.fromkeys(FIRST), **trial.hyper}
    return shown | {name: known[name] for name in names}
