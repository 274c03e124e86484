"""The user's own ratings: a delimited text file, also gzipped, or a Parquet file.

The file is read fast and strictly. Only where something is wrong is it read again, slowly, to say in which line.
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
    """The data set in `data.file`: ids int64 where each one is a whole number written plainly, else str.

    Rows keep their order. DataError, with the line (of Parquet: the row, from 1), for anything that is not a table of
    one finite rating for each pair of user and item.
    """
    path = Path(data.file or "").expanduser()
    raw = _bytes(path)
    if raw[:4] == b"PAR1" or path.suffix in (".parquet", ".pq"):
        columns, where = _parquet(path, raw, data)
    else:
        columns, where = _delimited(path, raw, data)
    users, items, values = columns[data.user], columns[data.item], columns[data.rating]
    if len(values) == 0:
        raise DataError(f"{path}: there are no ratings in it, only a header")
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
        raise DataError(f"{path}: there is no such file; data.file is looked for from the current folder") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: this gzip file is cut off or damaged ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: this file cannot be read ({error.strerror})") from None
    if not raw.strip():
        raise DataError(f"{path}: this file is empty; it should hold a header and a rating a line")
    return raw


def _wanted(path: Path, names: list[str], data: Data) -> list[str]:
    """The columns to read, once the file is seen to have each of them, once."""
    wanted = {"user": data.user, "item": data.item, "rating": data.rating, "timestamp": data.timestamp}
    given = {key: name for key, name in wanted.items() if name is not None}
    for key, name in given.items():
        if name not in names:
            there = ", ".join(n if n.strip() == n else repr(n) for n in names[:20])
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            raise DataError(
                f"{path}: there is no column {name} (data.{key}); the columns are {there}{more}; name the one you mean"
            )
        if names.count(name) > 1:
            raise DataError(f"{path}: {names.count(name)} columns are named {name}; give each its own name")
        if list(given.values()).count(name) > 1:
            raise DataError(f"{path}: data.{key} names the column {name}, and so does another key; name each once")
    return list(given.values())


# --- text ------------------------------------------------------------------------------------------------------------


def _delimited(path: Path, raw: bytes, data: Data) -> tuple[dict[str, Any], Where]:
    """The wanted columns as strings, and where their k-th row stands."""
    import pyarrow as pa  # here for the start-up time
    import pyarrow.csv

    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw[:1000]:
        raise DataError(f"{path}: this is not text in UTF-8; save it as CSV in UTF-8")
    if not raw.endswith((b"\n", b"\r")):
        raw += b"\n"  # Arrow takes a header without one for an empty file
    delimiter = data.delimiter if data.delimiter is not None else _sniffed(raw, data)
    quoted = delimiter != "::"
    if delimiter == "::":  # no reader knows two letters; the unit separator of ASCII does the same, unquoted
        raw, delimiter = raw.replace(b"::", b"\x1f"), "\x1f"
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise DataError(f"data.delimiter: {delimiter!r} cannot part columns; give one ASCII character, or ::")

    names = next((row for row, _ in _rows(path, raw, delimiter, quoted)), [])
    wanted = _wanted(path, names, data)
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(raw),
            # Arrow's threads may still be there when a short command ends, and then abort the process (apache/arrow 34314).
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
        raise DataError(f"{path}: this is not a table that can be read ({str(error).splitlines()[0]})") from None

    def where(k: int) -> str:
        for number, (_, line) in enumerate(_rows(path, raw, delimiter, quoted)):
            if number == k + 1:
                return f"{path}, line {line}"
        return f"{path}, row {k + 1} under the header"

    return {name: table.column(name) for name in wanted}, where


def _sniffed(raw: bytes, data: Data) -> str:
    """The delimiter under which the header has the wanted columns; where none does, the one that gives most."""
    header = raw.lstrip(b"\r\n").splitlines()[0].decode("utf-8", "surrogateescape")
    needed = {data.user, data.item, data.rating}

    def fit(delimiter: str) -> tuple[bool, int]:
        names = header.split("::") if delimiter == "::" else next(csv.reader([header], delimiter=delimiter))
        return needed <= set(names), len(names)

    return max(DELIMITERS, key=fit)


def _rows(path: Path, raw: bytes, delimiter: str, quoted: bool) -> Iterator[tuple[list[str], int]]:
    """Each row that is not blank, header first, with the line it begins in. Bad bytes become surrogates."""
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
        raise DataError(f"{path}, line {begin}: this line cannot be read ({error}); look at its quotes") from None


def _refuse_fault(path: Path, raw: bytes, delimiter: str, quoted: bool, wanted: list[str]) -> None:
    """Raise DataError for the first row that is ragged, or not UTF-8 where it is read."""
    rows = _rows(path, raw, delimiter, quoted)
    names, _ = next(rows)
    read = [names.index(name) for name in wanted]
    for row, line in rows:
        if len(row) != len(names):
            raise DataError(f"{path}, line {line}: it has {len(row)} fields where the header has {len(names)}")
        if any("\ud800" <= letter <= "\udfff" for k in read for letter in row[k]):
            raise DataError(f"{path}, line {line}: this is not text in UTF-8; save the file in UTF-8")


# --- parquet ---------------------------------------------------------------------------------------------------------


def _parquet(path: Path, raw: bytes, data: Data) -> tuple[dict[str, Any], Where]:
    """The wanted columns with the types they have, and where their k-th row stands."""
    import pyarrow as pa  # here for the start-up time
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(raw))
        wanted = _wanted(path, file.schema_arrow.names, data)
        table = file.read(columns=wanted, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path}: this is not a whole Parquet file ({first})") from None
    return {name: table.column(name) for name in wanted}, lambda k: f"{path}, row {k + 1}"
