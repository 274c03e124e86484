"""Readers of the MovieLens archives, straight from the zip file.

csv: `ratings.csv` and `movies.csv` with a header. dat: `ratings.dat` and `movies.dat`, fields separated by `::`. 100k:
`u.data` separated by tabs, `u.item` by bars, and the official folds. Members are found by file name, in any folder.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mfbench.core.arrays import Floats64, Positions
from mfbench.core.errors import DataError
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.data.download import Archive
from mfbench.data.sets.members import Members, members_of

FOLDS = ["u1", "u2", "u3", "u4", "u5", "ua", "ub"]

Columns = tuple[Positions, Positions, Floats64, Positions]


def read_movielens(path: Path, name: str, archive: Archive) -> Dataset:
    """Read the data set in a verified archive: int64 ids, titles, timestamps, and the folds it ships.

    Movies without a rating get no row. DataError if the file does not match `archive.layout`.
    """
    with members_of(path) as members:
        return _read(members, name, archive)


def _read(members: Members, name: str, archive: Archive) -> Dataset:
    member = {"csv": "ratings.csv", "dat": "ratings.dat", "100k": "u.data"}[archive.layout or "csv"]
    users, items, values, timestamps = _ratings(members, member)
    header = archive.layout == "csv"
    return make_dataset(
        name,
        users,
        items,
        values,
        where=lambda k: f"{members.path}, {member}, line {k + 1 + header}",
        timestamps=timestamps,
        titles=dict(_titles(members, archive)),
        folds=_folds(members, users, items) if archive.layout == "100k" else None,
    )


def _ratings(members: Members, member: str) -> Columns:
    """Users, items, ratings and timestamps of a table; a `.csv` has a header."""
    import pyarrow as pa  # here for the start-up time
    import pyarrow.csv

    # Fast readers take one-character delimiters only: split at `:`, `a::b` is `a`, an empty column, `b`.
    delimiter, step = {".csv": (",", 1), ".dat": (":", 2)}.get(PurePosixPath(member).suffix, ("\t", 1))
    names = [f"{k // step}" if k % step == 0 else f"-{k}" for k in range(3 * step + 1)]
    kinds = {"0": pa.int64(), "1": pa.int64(), "2": pa.float64(), "3": pa.int64()}
    try:
        with members.open(member) as raw:
            table: Any = pyarrow.csv.read_csv(
                raw,
                read_options=pyarrow.csv.ReadOptions(
                    column_names=names,
                    skip_rows=int(delimiter == ","),
                    use_threads=False,  # see `tables._delimited`
                ),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False),
                convert_options=pyarrow.csv.ConvertOptions(column_types=kinds, include_columns=list(kinds), null_values=[]),
            )
    except pa.ArrowInvalid as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{members.path}, {member}: this is not a table of ratings ({first})") from None
    users, items, values, timestamps = (table.column(key).to_numpy() for key in kinds)
    return users, items, values, timestamps


def _titles(members: Members, archive: Archive) -> Iterator[tuple[object, str]]:
    member = {"csv": "movies.csv", "dat": "movies.dat", "100k": "u.item"}[archive.layout or "csv"]
    rows: Iterator[list[str]]
    lines = members.lines(member, archive.encoding)
    if archive.layout == "csv":
        rows = csv.reader(lines)
        next(rows, None)
    elif archive.layout == "dat":
        rows = (line.rpartition("::")[0].split("::", 1) for line in lines)
    else:
        rows = (line.split("|") for line in lines)
    for number, row in enumerate(rows, start=1):
        if len(row) < 2 or not row[0].isdecimal():
            raise DataError(f"{members.path}, {member}, row {number}: this row must begin with a movie's number and title")
        yield int(row[0]), row[1]


def _folds(members: Members, users: Positions, items: Positions) -> dict[str, npt.NDArray[np.bool_]]:
    """The official folds by name: bool [n], True for the rows in the fold's test file."""
    most = int(items.max(initial=0)) + 1
    cells = users * most + items
    folds = {}
    for fold in FOLDS:
        test_users, test_items, _, _ = _ratings(members, f"{fold}.test")
        folds[fold] = np.isin(cells, test_users * most + test_items)
        if folds[fold].sum() != len(test_users):
            raise DataError(f"{members.path}, {fold}.test: this fold has ratings that u.data lacks")
    return folds
