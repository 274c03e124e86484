"""The filled-in matrix of a small factorization as CSV."""

from __future__ import annotations

from mfbench.core.tables import as_csv
from mfbench.matrix.factors import Factors
from mfbench.models.trained import fit
from mfbench.runs.record_files import arrays_beside, model_path
from mfbench.runs.records import Record

MOST_CELLS = 10_000


def filled_table(record: Record) -> str | None:
    """The filled-in matrix of a plain or final run as CSV: one line per user, one column per item, labelled by raw ids.

    None if the run has no model with factors P and Q, or the matrix has more than 10,000 cells.
    """
    small = record.data.n_users * record.data.n_items <= MOST_CELLS
    arrays = arrays_beside(model_path(record.path)) if small else None
    factors = Factors.of(arrays) if arrays else None
    if arrays is None or factors is None or not fit(arrays, factors):
        return None
    columns = ["user", *arrays["item_ids"]]
    filled = (
        [user, *(f"{value:.4f}" for value in line)] for user, line in zip(arrays["user_ids"], factors.filled(), strict=True)
    )
    return as_csv(columns, [dict(zip(columns, line, strict=True)) for line in filled])
