"""Read the user's own ratings: a delimited text file, plain or gzipped, or a Parquet file.

A fast, strict reader comes first. Only if it fails is the file read again, slowly, to find the line at fault.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mfbench.core.errors import DataError
from mfbench.data.columns import Where, ids, numbers, seconds
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.spec import Data

DELIMITERS = ["::", "\t", ";", "|", ","]


def read_table(data: Data) -> Dataset:
    """Read `data.file`: ids are int64 if each is a plainly written whole number, else str; rows keep their order.

    DataError, with the line (in Parquet the row, from 1), unless it is a table with one finite rating for each pair of
    user and item.
    """
    path = Path(data.file or "").expanduser()
    raw = _bytes(path)
    if raw[:4] == b"PAR1" or path.suffix in (".parquet", ".pq"):
        columns, where = _parquet(path, raw, data)
    else:
        columns, where = _delimited(path, raw, data)
    users, items, values = columns[data.user], columns[data.item], columns[data.rating]
    if len(values) == 0:
        raise DataError(f"{path}: there are no ratings in this file, only a header; add a row for each rating")
    return make_dataset(
        path.name,
        ids(users, "user", where),
        ids(items, "item", where),
        numbers(values, where),
        where=where,
        timestamps=None if data.timestamp is None else seconds(columns[data.timestamp], where),
    )


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except IsADirectoryError:
        raise DataError(f"{path}: this is a folder; give the file with the ratings") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check data.file, which is relative to the current folder") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: this gzip file is truncated or damaged ({error}); compress it again") from None
    except OSError as error:
        raise DataError(f"{path}: this file cannot be read ({error.strerror}); check its permissions") from None
    if not raw.strip():
        raise DataError(f"{path}: this file is empty; it must have a header, then one rating per line")
    return raw


def _wanted(path: Path, names: list[str], data: Data) -> list[str]:
    """The columns to read; DataError unless the file has each of them exactly once."""
    keys = {"user": data.user, "item": data.item, "rating": data.rating, "timestamp": data.timestamp}
    wanted = {key: name for key, name in keys.items() if name is not None}
    for key, name in wanted.items():
        if name not in names:
            listed = ", ".join(n if n.strip() == n else repr(n) for n in names[:20])
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            raise DataError(f"{path}: there is no column {name}; set data.{key} to one of {listed}{more}")
        if names.count(name) > 1:
            raise DataError(f"{path}: {names.count(name)} columns are named {name}; give each its own name")
        if list(wanted.values()).count(name) > 1:
            raise DataError(f"{path}: data.{key} and another key both name the column {name}; give each its own column")
    return list(wanted.values())


# --- text ------------------------------------------------------------------------------------------------------------


def _delimited(path: Path, raw: bytes, data: Data) -> tuple[dict[str, Any], Where]:
    """The wanted columns as strings, and a function that locates their k-th row."""
    import pyarrow as pa  # here for the start-up time
    import pyarrow.csv

    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw[:1000]:
        raise DataError(f"{path}: this file is not UTF-8 text; save it as UTF-8 CSV")
    if not raw.endswith((b"\n", b"\r")):
        raw += b"\n"  # Arrow takes a header without a newline for an empty file
    delimiter = data.delimiter if data.delimiter is not None else _sniffed(raw, data)
    quoted = delimiter != "::"
    if delimiter == "::":  # readers take one character only, so put ASCII's unit separator in its place
        raw, delimiter = raw.replace(b"::", b"\x1f"), "\x1f"
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise DataError(f"data.delimiter: {delimiter!r} cannot separate columns; give one ASCII character, or ::")

    names = next((row for row, _ in _rows(path, raw, delimiter, quoted)), [])
    wanted = _wanted(path, names, data)
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(raw),
            # Arrow's threads may outlive a short command and then abort the process (apache/arrow 34314).
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        _refuse_fault(path, raw, delimiter, quoted, wanted)
        first = str(error).splitlines()[0]
        raise DataError(f"{path}: this file cannot be read as a table ({first}); save it as UTF-8 CSV") from None

    def where(k: int) -> str:
        for number, (_, line) in enumerate(_rows(path, raw, delimiter, quoted)):
            if number == k + 1:
                return f"{path}, line {line}"
        return f"{path}, row {k + 1} below the header"

    return {name: table.column(name) for name in wanted}, where


def _sniffed(raw: bytes, data: Data) -> str:
    """The delimiter that gives the header the wanted columns, else the one that gives it the most columns."""
    header = raw.lstrip(b"\r\n").splitlines()[0].decode("utf-8", "surrogateescape")
    needed = {data.user, data.item, data.rating}

    def fit(delimiter: str) -> tuple[bool, int]:
        names = header.split("::") if delimiter == "::" else next(csv.reader([header], delimiter=delimiter))
        return needed <= set(names), len(names)

    return max(DELIMITERS, key=fit)


def _rows(path: Path, raw: bytes, delimiter: str, quoted: bool) -> Iterator[tuple[list[str], int]]:
    """Yield each row that is not blank, header first, and the line that it begins on. Invalid bytes become surrogates."""
    text = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", errors="surrogateescape", newline="")
    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(text, delimiter=delimiter, quoting=quoting, strict=True)
    begin = 1
    try:
        for row in reader:
            if row:
                yield row, begin
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {begin}: this line cannot be read ({error}); check its quotes") from None


def _refuse_fault(path: Path, raw: bytes, delimiter: str, quoted: bool, wanted: list[str]) -> None:
    """Raise DataError for the first row with a wrong number of fields, or with invalid UTF-8 in a wanted column."""
    rows = _rows(path, raw, delimiter, quoted)
    names, _ = next(rows)
    read = [names.index(name) for name in wanted]
    for row, line in rows:
        if len(row) != len(names):
            raise DataError(f"{path}, line {line}: this line has {len(row)} fields; the header has {len(names)}")
        if any("\ud800" <= letter <= "\udfff" for k in read for letter in row[k]):
            raise DataError(f"{path}, line {line}: this line is not UTF-8 text; save the file as UTF-8")


# --- parquet ---------------------------------------------------------------------------------------------------------


def _parquet(path: Path, raw: bytes, data: Data) -> tuple[dict[str, Any], Where]:
    """The wanted columns in the file's types, and a function that locates their k-th row."""
    import pyarrow as pa  # here for the start-up time
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(raw))
        wanted = _wanted(path, file.schema_arrow.names, data)
        table = file.read(columns=wanted, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path}: this is not a valid Parquet file ({first}); write it again") from None
    return {name: table.column(name) for name in wanted}, lambda k: f"{path}, row {k + 1}"
