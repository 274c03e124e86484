"""The Pareto front of a sweep with two objectives: the trials that no other trial beats in both."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from mfbench.core import tables
from mfbench.runs.records import Record


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
    # In this order a trial can only be beaten by one before it, and is if that is as good in the other objective.
    kept: list[dict[str, Any]] = []
    for row in rows:
        same = bool(kept) and all(row[name] == kept[-1][name] for name in names)
        if not kept or row[names[1]] < kept[-1][names[1]] or same:
            kept.append(row)
    return kept


def objectives(record: Record) -> list[str]:
    """The objectives of the sweep that a trial belongs to."""
    return list((record.spec.get("sweep") or {}).get("objectives", ["valid_rmse"]))


def table(found: Sequence[dict[str, Any]]) -> Table:
    """The front for a terminal."""
    header = list(found[0]) if found else ["backend"]
    body = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()] for row in found]
    return tables.drawn("Pareto front", header, body)


def as_csv(found: Sequence[dict[str, Any]]) -> str:
    """The front as CSV, every number to the last bit."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(found[0]) if found else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def _row(trial: Record, names: Sequence[str]) -> dict[str, Any]:
    known = {"train_seconds": trial.clocks.train_seconds, "K": trial.K, "valid_rmse": trial.valid_rmse}
    shown = {name: getattr(trial, name) for name in ("backend", "number", "K", "alpha", "beta")}
    return shown | {name: known[name] for name in names}
