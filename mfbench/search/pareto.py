"""The Pareto front of a sweep with two objectives: the trials that no other trial beats in both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from rich.table import Table

from mfbench.core import tables
from mfbench.runs.records import Record
from mfbench.spec import FIRST

Item = TypeVar("Item")


def front(trials: Sequence[Record]) -> list[dict[str, Any]] | None:
    """The completed trials that no other is as good as in both objectives and better in one, best valid RMSE first.

    Of all backends together; None where the sweep has one objective. Each has its number, backend, K, alpha, beta,
    valid_rmse and the other objective.
    """
    names = objectives(trials[0]) if trials else []
    if len(names) < 2:
        return None
    rows = [_row(trial, names) for trial in trials if trial.outcome == "completed"]
    rows = [row for row in rows if all(row[name] is not None for name in names)]
    rows.sort(key=lambda row: (*(row[name] for name in names), row["backend"], row["number"]))
    return undominated(rows, lambda row: (row[names[0]], row[names[1]]))


def undominated(items: Iterable[Item], point: Callable[[Item], tuple[float, float]]) -> list[Item]:
    """The items that no other is as good as in both numbers and better in one, lowest first number first; less is better."""
    kept: list[Item] = []
    # In this order an item can only be beaten by one before it, and is if that is as good in the second number.
    for item in sorted(items, key=point):
        if not kept or point(item)[1] < point(kept[-1])[1] or point(item) == point(kept[-1]):
            kept.append(item)
    return kept


def objectives(record: Record) -> list[str]:
    """The objectives of the sweep that a trial belongs to."""
    return list(record.spec.sweep.objectives) if record.spec.sweep else ["valid_rmse"]


def table(found: Sequence[dict[str, Any]]) -> Table:
    """The front for a terminal."""
    header = list(found[0]) if found else ["backend"]
    body = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()] for row in found]
    return tables.drawn("Pareto front", header, body)


def as_csv(found: Sequence[dict[str, Any]]) -> str:
    """The front as CSV, every number to the last bit."""
    return tables.as_csv(list(found[0]) if found else [], found)


def _row(trial: Record, names: Sequence[str]) -> dict[str, Any]:
    known = {"train_seconds": trial.clocks.train_seconds, "K": trial.K, "valid_rmse": trial.valid_rmse}
    shown = {"backend": trial.backend, "number": trial.number, **dict.fromkeys(FIRST), **trial.hyper}
    return shown | {name: known[name] for name in names}
