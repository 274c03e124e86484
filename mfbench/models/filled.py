"""The filled-in matrix of a trained model: a prediction for every cell, as a Parquet file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mfbench.core.files import whole_file
from mfbench.models.trained import TrainedModel

CELLS_AT_ONCE = 1 << 20


def fill(model: TrainedModel, out: Path) -> int:
    """Write the filled-in matrix as Parquet, one row per cell: user, item, prediction (float64); return their number.

    It is written in blocks of users, so that no more than about a million cells are in memory.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    names = ("user", "item", "prediction")
    factors, n_users, n_items = model.factors(), len(model.user_ids), len(model.item_ids)
    with whole_file(out) as file:
        writer = None
        for first in range(0, n_users, block := max(1, CELLS_AT_ONCE // n_items)):
            users = np.arange(first, min(first + block, n_users))
            cells = np.repeat(users, n_items).astype(np.int32), np.tile(np.arange(n_items, dtype=np.int32), len(users))
            columns = model.user_ids[cells[0]], model.item_ids[cells[1]], factors.predict(*cells)
            table = pa.table(dict(zip(names, columns, strict=True)))
            writer = writer or ParquetWriter(file, table.schema)
            writer.write_table(table)
        assert writer is not None
        writer.close()
    return n_users * n_items
