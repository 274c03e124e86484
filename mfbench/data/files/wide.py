"""A wide file: a matrix of delimited text, with a row for each user and a column for each item."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Floats64
from mfbench.core.errors import DataError
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.data.files.columns import MISSING, ids, is_number
from mfbench.data.files.text import Text, is_utf8
from mfbench.spec import Duplicates, Wide


def read_wide(text: Text, wide: Wide, duplicates: Duplicates, name: str | None = None) -> Dataset:
    """The observed cells, row by row; DataError, with line and column, if one is not a finite number."""
    n, before = len(text.first()), (wide.ids == "first") + wide.skip
    if n <= before:
        raise DataError(
            f"{text.path}: the first line has {n} columns, and {before} of them come before the ratings; check data.delimiter"
            " and data.wide"
        )
    matrix = _matrix(text, before, n)
    user_ids = _user_ids(text) if wide.ids == "first" else np.arange(1, len(matrix) + 1)
    observed = ~np.isnan(matrix)
    if wide.missing is not None:
        observed &= matrix != wide.missing
    rows, items = np.nonzero(observed)

    def where(k: int) -> str:
        return f"{text.where(int(rows[k]))}, column {before + int(items[k])}"

    return make_dataset(
        name or text.path.name,
        user_ids[rows],
        _item_ids(text, before)[items],
        matrix[rows, items],
        where=where,
        duplicates=duplicates,
    )


def with_counts(text: Text) -> Wide | None:
    """How to read a matrix whose first column says how many ratings its row has, as in Jester's files; None if none does.

    The number that stands for "not rated" is the one with which every count is right.
    """
    try:
        matrix = _matrix(text, 0, len(text.first()))
    except DataError:
        return None
    counts, cells = matrix[:, 0], matrix[:, 1:]
    filled = ~np.isnan(cells)
    values, times = np.unique(cells[filled], return_counts=True)
    for missing in (None, *values[times == filled.sum() - counts.sum()].tolist()):
        observed = filled if missing is None else filled & (cells != missing)
        if (observed.sum(axis=1) == counts).all():
            return Wide(missing=missing, skip=1)
    return None


def _matrix(text: Text, before: int, n: int) -> Floats64:
    """float64 [n_users, n_items], NaN where a cell is empty: the columns from `before` to n."""
    import pyarrow as pa  # here, as below, for the start-up time

    try:
        table = text.read(range(before, n), pa.float64(), MISSING)
    except pa.ArrowInvalid as error:
        _refuse_cell(text, before)
        raise DataError(f"{text.path}: this matrix cannot be read ({str(error).splitlines()[0]}); check data.wide") from None
    matrix = np.empty((len(table), n - before))
    for j, column in enumerate(table.columns):
        matrix[:, j] = column.to_numpy()
    return matrix


def _user_ids(text: Text) -> Array:
    import pyarrow as pa

    return ids(text.read([0], pa.string()).column(0), "user", text.where)


def _item_ids(text: Text, before: int) -> Array:
    import pyarrow as pa

    if not text.header:
        return np.arange(1, len(text.first()) - before + 1)

    def where(k: int) -> str:
        return f"{text.path}, header, column {before + k}"

    names = text.first()[before:]
    for k, name in enumerate(names):
        if not is_utf8(name):
            raise DataError(f"{where(k)}: this name is not UTF-8 text; save the file as UTF-8")
    return ids(pa.chunked_array([pa.array(names)]), "item", where)


def _refuse_cell(text: Text, before: int) -> None:
    """DataError for the first cell that is not a number."""
    rows: Any = text.rows()
    if text.header:
        next(rows)
    for row, line in rows:
        for j, cell in enumerate(row[before:], before):
            if cell.strip() not in MISSING and not is_number(cell.strip()):
                raise DataError(f"{text.path}, line {line}, column {j}: {cell!r} is not a number; check data.wide")
