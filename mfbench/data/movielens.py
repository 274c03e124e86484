"""The layouts of the MovieLens archives, read straight from the zip.

csv: `ratings.csv` and `movies.csv` with a header. dat: `ratings.dat` and `movies.dat`, fields apart by `::`. 100k:
`u.data` apart by tabs, `u.item` by bars, and the official folds. Members are found by their own name, whatever folder
they are in.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mfbench.core.arrays import Floats64, Positions
from mfbench.core.errors import DataError
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.data.download import Archive

FOLDS = ["u1", "u2", "u3", "u4", "u5", "ua", "ub"]

Columns = tuple[Positions, Positions, Floats64, Positions]


def read_movielens(path: Path, name: str, archive: Archive) -> Dataset:
    """The data set in a checked archive: int64 ids, titles, timestamps, and the folds it ships.

    Movies without a rating get no row. DataError where the file is not what `archive.layout` promises.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return _read(_Members(path, file), name, archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: this zip archive cannot be read ({error})") from None


class _Members:
    """The members of a zip by their last name."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file

    def open(self, member: str) -> IO[bytes]:
        found = [n for n in self._file.namelist() if PurePosixPath(n).name == member]
        if len(found) != 1:
            raise DataError(f"{self.path}: it holds {len(found)} files named {member}; there must be one")
        return self._file.open(found[0])

    def lines(self, member: str, encoding: str) -> Iterator[str]:
        with self.open(member) as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as text:
            yield from text


def _read(members: _Members, name: str, archive: Archive) -> Dataset:
    member = {"csv": "ratings.csv", "dat": "ratings.dat", "100k": "u.data"}[archive.layout]
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


def _ratings(members: _Members, member: str) -> Columns:
    """Users, items, ratings and timestamps of a table, whose first line is a header where it is csv."""
    import pyarrow as pa  # here for the start-up time
    import pyarrow.csv

    # One-letter delimiters are all that the fast readers know: `a::b` is `a`, nothing, `b` when split at `:`.
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
                    use_threads=False,  # see `tables`
                ),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False),
                convert_options=pyarrow.csv.ConvertOptions(column_types=kinds, include_columns=list(kinds), null_values=[]),
            )
    except pa.ArrowInvalid as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{members.path}, {member}: this is not a table of ratings ({first})") from None
    users, items, values, timestamps = (table.column(key).to_numpy() for key in kinds)
    return users, items, values, timestamps


def _titles(members: _Members, archive: Archive) -> Iterator[tuple[object, str]]:
    member = {"csv": "movies.csv", "dat": "movies.dat", "100k": "u.item"}[archive.layout]
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
            raise DataError(f"{members.path}, {member}, row {number}: a movie's number and title should stand there")
        yield int(row[0]), row[1]


def _folds(members: _Members, users: Positions, items: Positions) -> dict[str, npt.NDArray[np.bool_]]:
    """The official folds: bool [n] by name, True for the rows in the fold's test file."""
    most = int(items.max(initial=0)) + 1
    cells = users * most + items
    folds = {}
    for fold in FOLDS:
        test_users, test_items, _, _ = _ratings(members, f"{fold}.test")
        folds[fold] = np.isin(cells, test_users * most + test_items)
        if folds[fold].sum() != len(test_users):
            raise DataError(f"{members.path}, {fold}.test: it has ratings that u.data lacks")
    return folds
