"""Read the user's own ratings: a delimited text file or JSON lines, plain or gzipped, or a Parquet file.

A fast, strict reader comes first. Only if it fails is the file read again, slowly, to find the line at fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfbench.core.arrays import Array
from mfbench.core.errors import DataError, SpecError
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.data.files.columns import Where, check_text, ids, is_number, numbers, seconds
from mfbench.data.files.text import Text, bytes_of
from mfbench.data.files.wide import read_wide, with_counts
from mfbench.spec import Data, Table, Wide


def read_table(data: Data) -> Dataset:
    """Read `data.file`: ids are int64 if each is a plainly written whole number, else str; rows keep their order.

    DataError, with the line (in Parquet the row, from 1), unless it is a table with one finite rating for each pair of
    user and item, or `data.duplicates` says what to make of several. SpecError if its first line looks like a rating and
    `data.header` does not say whether it is one.
    """
    path = Path(data.file or "").expanduser()
    return read_bytes(path, bytes_of(path), data)


def read_bytes(
    path: Path,
    raw: bytes,
    data: Table,
    *,
    name: str | None = None,
    missing: float | None = None,
    per_second: int = 1,
    titles: dict[str, str] | None = None,
) -> Dataset:
    """As `read_table`, of a file that has been read.

    path: for messages and for the kind of the file. name: of the data set, by default that of the file. missing: ratings of
    this value are left out. per_second: the unit of the timestamps. titles: by the id of the item as text.
    """
    if _is_parquet(path, raw):
        columns, where = _parquet(path, raw, data)
        check_text(columns, where)
    elif _is_json_lines(path, raw):
        columns, where = _json_lines(path, raw, data)
        check_text(columns, where)
    else:
        text = Text.of(path, raw, data)
        if data.header is None:
            _ask_about_header(text, data)
        if data.wide:
            return read_wide(text, data.wide, data.duplicates, name)
        columns, where = _delimited(text, data), text.where
    if len(columns["rating"]) == 0:
        raise DataError(f"{path}: there are no ratings in this file, only a header; add a row for each rating")
    users, items = ids(columns["user"], "user", where), ids(columns["item"], "item", where)
    values = numbers(columns["rating"], where)
    timestamps = seconds(columns["timestamp"], where) // per_second if "timestamp" in columns else None
    rows = np.arange(len(values)) if missing is None else np.flatnonzero(values != missing)
    return make_dataset(
        name or path.name,
        users[rows],
        items[rows],
        values[rows],
        where=lambda k: where(int(rows[k])),
        timestamps=None if timestamps is None else timestamps[rows],
        titles=None if titles is None else _of_kind(titles, items),
        duplicates=data.duplicates,
    )


def _of_kind(titles: dict[str, str], items: Array) -> dict[object, str]:
    """The titles by ids of the kind that the items have."""
    if items.dtype.kind == "i":
        return {int(item): title for item, title in titles.items() if item.removeprefix("-").isdecimal()}
    return {item: title for item, title in titles.items()}


def names_of(data: Data) -> list[str]:
    """The names of the columns of `data.file`, of a text the first line, whether or not it is a header."""
    path = Path(data.file or "").expanduser()
    raw = bytes_of(path)
    if _is_parquet(path, raw):
        return _open_parquet(path, raw)[1]
    if _is_json_lines(path, raw):
        return _read_json_lines(path, raw)[0]
    return Text.of(path, raw, data).first()


def counted(data: Data) -> Wide | None:
    """How to read `data.file`, a text without a header, if it is a matrix whose first column counts the ratings of the row."""
    path = Path(data.file or "").expanduser()
    raw = bytes_of(path)
    return None if _is_parquet(path, raw) else with_counts(Text.of(path, raw, data))


def _is_parquet(path: Path, raw: bytes) -> bool:
    return raw[:4] == b"PAR1" or path.suffix in (".parquet", ".pq")


def _is_json_lines(path: Path, raw: bytes) -> bool:
    return raw.lstrip()[:1] == b"{" or bool({".jsonl", ".ndjson"} & set(path.suffixes))


def _wanted(path: Path, names: Sequence[str], data: Table) -> dict[str, int]:
    """The positions of the columns to read, by key; DataError unless the file has each of them exactly once."""
    wanted: dict[str, int] = {}
    for key, column in data.columns.items():
        if isinstance(column, int):
            if column >= len(names):
                raise DataError(
                    f"{path}: data.{key} is column {column}, but the columns are 0 to {len(names) - 1}, counted from 0;"
                    " choose one of these"
                )
            name = names[column]
        else:
            name = column
        if name not in names:
            listed = ", ".join(n if n.strip() == n else repr(n) for n in names[:20])
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            raise DataError(f"{path}: there is no column {name}; set data.{key} to one of {listed}{more}")
        if names.count(name) > 1:
            raise DataError(f"{path}: {names.count(name)} columns are named {name}; give each its own name")
        if names.index(name) in wanted.values():
            raise DataError(f"{path}: data.{key} and another key both name the column {name}; give each its own column")
        wanted[key] = names.index(name)
    return wanted


def _ask_about_header(text: Text, data: Table) -> None:
    """SpecError if the first row, which would be the header, may as well be a rating."""
    names = text.first()
    found = [names[c] if isinstance(c, int) else c for c in data.columns.values() if c in names or c in range(len(names))]
    suspects = found if found and len(found) == len(data.columns) else names
    if any(map(is_number, suspects)):
        shown = text.shown(names[:8]) + (" ..." if len(names) > 8 else "")
        raise SpecError(
            f"{text.path}: the first line, {shown!r}, looks like ratings and not like the names of columns; set data.header to"
            " false if it has ratings, or to true if it is a header"
        )


def _delimited(text: Text, data: Table) -> dict[str, Any]:
    """The wanted columns as strings, by key."""
    import pyarrow as pa  # here, as below, for the start-up time

    wanted = _wanted(text.path, text.names(), data)
    table = text.read(list(wanted.values()), pa.string())
    return dict(zip(wanted, table.columns, strict=True))


def _json_lines(path: Path, raw: bytes, data: Table) -> tuple[dict[str, Any], Where]:
    """The wanted keys of JSON objects, one a line, and a function that locates the k-th object."""
    _refuse_wide(path, data)
    names, columns = _read_json_lines(path, raw)

    def where(k: int) -> str:
        lines = [number for number, line in enumerate(raw.splitlines(), 1) if line.strip()]
        return f"{path}, line {lines[k]}"

    return {key: columns[k] for key, k in _wanted(path, names, data).items()}, where


def _read_json_lines(path: Path, raw: bytes) -> tuple[list[str], list[Any]]:
    """The names of the columns, and the columns."""
    import pyarrow as pa
    import pyarrow.json

    try:
        table = pyarrow.json.read_json(pa.BufferReader(raw), read_options=pyarrow.json.ReadOptions(use_threads=False))
        return table.column_names, table.columns
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path}: these are not JSON objects, one a line ({first}); write one for each rating") from None


def _parquet(path: Path, raw: bytes, data: Table) -> tuple[dict[str, Any], Where]:
    """The wanted columns in the file's types, and a function that locates their k-th row."""
    import pyarrow as pa

    _refuse_wide(path, data)
    file, names = _open_parquet(path, raw)
    wanted = {key: names[k] for key, k in _wanted(path, names, data).items()}
    try:
        table = file.read(columns=list(wanted.values()), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise _not_parquet(path, error) from None
    return {key: table.column(name) for key, name in wanted.items()}, lambda k: f"{path}, row {k + 1}"


def _open_parquet(path: Path, raw: bytes) -> tuple[Any, list[str]]:
    """The file, and the names of its columns."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(raw))
        return file, list(file.schema_arrow.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _not_parquet(path, error) from None


def _not_parquet(path: Path, error: Exception) -> DataError:
    first = str(error).splitlines()[0].rstrip(".")
    return DataError(f"{path}: this is not a valid Parquet file ({first}); write it again")


def _refuse_wide(path: Path, data: Table) -> None:
    if data.wide:
        raise SpecError(f"data.wide: {path} is not delimited text; save the matrix as CSV")
