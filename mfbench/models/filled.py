"""The filled-in matrix of a trained model, a prediction for every cell, as a CSV, Parquet or npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mfbench.core.arrays import Array
from mfbench.core.errors import InputError
from mfbench.core.files import whole_file
from mfbench.core.inert import in_spreadsheet
from mfbench.models.trained import TrainedModel

CELLS_AT_ONCE = 1 << 20


def check_format(out: Path) -> None:
    """InputError if the name of the file does not end with one of the formats."""
    if out.suffix not in _WRITERS:
        raise InputError(f"{out}: this is no format of a filled matrix; give a file name that ends with {', '.join(_WRITERS)}")


def fill(model: TrainedModel, out: Path) -> int:
    """Write the filled-in matrix, in the format that the name of the file ends with; return the number of cells.

    .csv and .parquet have one row per cell: user, item, prediction (float64); in .csv, a `'` stands before an id that a
    spreadsheet would take for a formula. .npz has user_ids [n_users], item_ids [n_items]
    and prediction, float64 [n_users, n_items]. It is written in blocks of users, so that no more than about a million cells
    are in memory.
    """
    check_format(out)
    with whole_file(out) as file:
        _WRITERS[out.suffix](model, file)
    return len(model.user_ids) * len(model.item_ids)


def _blocks(model: TrainedModel) -> Iterator[tuple[Array, Array, Array]]:
    """Yield rows of P, rows of Q and predictions, all cells of some users at a time."""
    factors, n_users, n_items = model.factors(), len(model.user_ids), len(model.item_ids)
    for first in range(0, n_users, block := max(1, CELLS_AT_ONCE // n_items)):
        users = np.arange(first, min(first + block, n_users))
        cells = np.repeat(users, n_items).astype(np.int32), np.tile(np.arange(n_items, dtype=np.int32), len(users))
        yield *cells, factors.predict(*cells)


def _write_table(model: TrainedModel, file: BinaryIO, as_csv: bool) -> None:
    import pyarrow as pa
    from pyarrow.csv import CSVWriter
    from pyarrow.parquet import ParquetWriter

    writer = None
    for users, items, predictions in _blocks(model):
        ids = {"user": model.user_ids[users], "item": model.item_ids[items]}
        if as_csv:
            ids = {name: _as_text(column) for name, column in ids.items()}
        table = pa.table({**ids, "prediction": predictions})
        writer = writer or (CSVWriter if as_csv else ParquetWriter)(file, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _as_text(ids: Array) -> Array:
    """Numbers as they are; texts as a spreadsheet shows them."""
    return ids if ids.dtype.kind != "U" else np.array(list(map(in_spreadsheet, ids.tolist())))


def _write_csv(model: TrainedModel, file: BinaryIO) -> None:
    _write_table(model, file, as_csv=True)


def _write_parquet(model: TrainedModel, file: BinaryIO) -> None:
    _write_table(model, file, as_csv=False)


def _write_npz(model: TrainedModel, file: BinaryIO) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("user_ids", "item_ids"):
            with archive.open(f"{name}.npy", "w") as one:
                np.save(one, getattr(model, name), allow_pickle=False)
        shape = len(model.user_ids), len(model.item_ids)
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float64)), "fortran_order": False, "shape": shape}
        with archive.open("prediction.npy", "w", force_zip64=True) as one:
            np.lib.format.write_array_header_1_0(one, header)
            for *_, predictions in _blocks(model):
                one.write(predictions.astype(np.float64).tobytes())


_WRITERS = {".csv": _write_csv, ".parquet": _write_parquet, ".npz": _write_npz}
