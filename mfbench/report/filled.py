"""The filled-in matrix of a small factorization: as CSV, and for a terminal beside the given one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfbench.core import tables
from mfbench.core.arrays import Array, Floats64
from mfbench.matrix.factors import Factors
from mfbench.models.trained import fit
from mfbench.runs.record_files import model_beside
from mfbench.runs.records import Record

if TYPE_CHECKING:
    from rich.table import Table

    from mfbench.data.splits import Parts

MOST_CELLS = 10_000
MOST_SHOWN = 12
"""Users and items of a matrix that is shown in a terminal."""


def filled_table(record: Record) -> str | None:
    """The filled-in matrix of a plain or final run as CSV: one line per user, one column per item, labelled by raw ids.

    None if the run has no model with factors P and Q, or the matrix has more than 10,000 cells.
    """
    found = _filled(record) if record.data.n_users * record.data.n_items <= MOST_CELLS else None
    if found is None:
        return None
    users, items, matrix = found
    filled = [[user, *(f"{value:.4f}" for value in line)] for user, line in zip(users, matrix, strict=True)]
    return tables.csv_of(["user", *items], filled)


def given_and_filled(record: Record, parts: Parts) -> list[Table]:
    """The given matrix (train and valid, `·` for what is missing) and the filled-in one, as tables for a terminal.

    parts: of the run. Empty if there are more than 12 users or items, or the run has no model with factors P and Q.
    """
    small = max(record.data.n_users, record.data.n_items) <= MOST_SHOWN
    found = _filled(record) if small else None
    if found is None:
        return []
    users, items, matrix = found
    given = [["·"] * len(items) for _ in users]
    for part in (parts.train, parts.valid):
        for user, item, value in zip(part.users, part.items, part.values, strict=True) if part else ():
            given[user][item] = f"{value:g}"
    header = ["", *map(str, items)]

    def drawn(title: str, cells: list[list[str]]) -> Table:
        return tables.drawn(title, header, [[str(user), *line] for user, line in zip(users, cells, strict=True)])

    return [drawn("given", given), drawn("filled in", [[f"{value:.2f}" for value in line] for line in matrix])]


def _filled(record: Record) -> tuple[Array, Array, Floats64] | None:
    """Raw ids of users and items, and the filled-in matrix; None if the run has no model with factors P and Q."""
    arrays = model_beside(record)
    factors = Factors.of(arrays) if arrays else None
    if arrays is None or factors is None or not fit(arrays, factors):
        return None
    return arrays["user_ids"], arrays["item_ids"], factors.filled()
