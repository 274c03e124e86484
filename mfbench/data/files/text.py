"""Delimited text: its bytes, its delimiter, and its rows with the line of each."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfbench.core.errors import DataError
from mfbench.data.files.excel import as_csv, is_sheet
from mfbench.spec import Table

DELIMITERS = ["::", "\t", ";", "|", ","]
csv.field_size_limit(2**31 - 1)  # reviews are longer than the default, 131,072 characters; Arrow knows no limit
BLANKS = "blanks"
"""Any run of spaces and tabs, at the start and the end of a line none."""
MOST_TIMES, LEAST_LIMIT = 100, 1 << 26
"""A gzip file may unpack to so many times its size, or so many bytes if that is more; ratings shrink to a third or a tenth."""


def bytes_of(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped; DataError if it cannot be read or is empty."""
    try:
        raw = path.read_bytes()
    except IsADirectoryError:
        raise DataError(f"{path}: this is a folder; give the file with the ratings") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check data.file, which is relative to the current folder") from None
    except OSError as error:
        raise DataError(f"{path}: this file cannot be read ({error.strerror}); check its permissions") from None
    return unpacked(path, raw)


def unpacked(path: Path, raw: bytes) -> bytes:
    """The content of a file, if it is gzipped without that, of an Excel file its sheet as CSV; DataError as in `bytes_of`."""
    try:
        if raw[:2] == b"\x1f\x8b":
            raw = _unpacked(path, raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: this gzip file is truncated or damaged ({error}); compress it again") from None
    if is_sheet(path, raw):
        raw = as_csv(path, raw)
    if not raw.strip():
        raise DataError(f"{path}: this file is empty; it must have a header, then one rating per line")
    return raw


def _unpacked(path: Path, raw: bytes) -> bytes:
    """The content of a gzip file; DataError if it is so much larger that it can hardly be ratings, but fills the memory."""
    most = max(LEAST_LIMIT, MOST_TIMES * len(raw))
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DataError(
            f"{path}: this gzip file unpacks to more than {MOST_TIMES} times its size; unpack it yourself, and check it"
        )
    return content


@dataclass(frozen=True)
class Text:
    """A delimited text file, with a delimiter of one character. quoted: whether fields may stand in double quotes.

    header: whether the first row names the columns.
    """

    path: Path
    raw: bytes
    delimiter: str
    quoted: bool
    header: bool

    @staticmethod
    def of(path: Path, raw: bytes, data: Table) -> Text:
        """The file with the delimiter that `data` names, or that fits best; DataError if it is not UTF-8 text."""
        raw = raw.removeprefix(b"\xef\xbb\xbf")
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw[:1000]:
            raise DataError(f"{path}: this file is not UTF-8 text; save it as UTF-8 CSV")
        if not raw.endswith((b"\n", b"\r")):
            raw += b"\n"  # Arrow takes a header without a newline for an empty file
        delimiter = data.delimiter if data.delimiter is not None else _sniffed(raw, data)
        quoted = delimiter != "::"
        # Readers take one character only, so put another in the place of these.
        if delimiter == "::":
            raw, delimiter = raw.replace(b"::", b"\x1f"), "\x1f"
        elif delimiter == BLANKS:
            raw, delimiter = _single_blanks(raw), " "
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
            raise DataError(f"data.delimiter: {delimiter!r} cannot separate columns; give one ASCII character, :: or {BLANKS}")
        return Text(path, raw, delimiter, quoted, data.header is not False)

    def first(self) -> list[str]:
        """The fields of the first row: the header, if there is one. In names, bytes that are not UTF-8 are surrogates."""
        return next((row for row, _ in self.rows()), [])

    def names(self) -> list[str]:
        """The names of the columns; without a header their positions, from 0."""
        first = self.first()
        return first if self.header else [str(k) for k in range(len(first))]

    def rows(self) -> Iterator[tuple[list[str], int]]:
        """Yield each row that is not blank, header first, and the line that it begins on. Invalid bytes become surrogates."""
        text = io.TextIOWrapper(io.BytesIO(self.raw), encoding="utf-8", errors="surrogateescape", newline="")
        quoting: Any = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        reader = csv.reader(text, delimiter=self.delimiter, quoting=quoting, strict=True)
        begin = 1
        try:
            for row in reader:
                if row:
                    yield row, begin
                begin = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{self.path}, line {begin}: this line cannot be read ({error}); check its quotes") from None

    def shown(self, fields: Sequence[str]) -> str:
        """The fields as they stand in the file."""
        return self.delimiter.replace("\x1f", "::").join(fields)

    def where(self, k: int) -> str:
        """The place of the k-th row below the header, for a message."""
        for number, (_, line) in enumerate(self.rows()):
            if number == k + self.header:
                return f"{self.path}, line {line}"
        return f"{self.path}, row {k + 1}"

    def read(self, columns: Sequence[int], kind: Any, missing: Sequence[str] = ()) -> Any:
        """The columns at these positions, in this order, as an Arrow table.

        kind: their Arrow type; missing: texts that are read as null. DataError for the first row with a wrong number of
        fields or, in one of the columns, invalid UTF-8; Arrow's ArrowInvalid if a field is not of that type.
        """
        import pyarrow as pa  # here for the start-up time
        import pyarrow.csv

        wanted, n = [str(k) for k in columns], len(self.first())
        try:
            return pyarrow.csv.read_csv(
                pa.BufferReader(self.raw.lstrip(b"\r\n")),  # blank lines would be skipped in place of the header
                read_options=pyarrow.csv.ReadOptions(
                    # Arrow's threads may outlive a short command and then abort the process (apache/arrow 34314).
                    use_threads=False,
                    column_names=[str(k) for k in range(n)],
                    skip_rows_after_names=int(self.header),
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self.delimiter, quote_char='"' if self.quoted else False, newlines_in_values=self.quoted
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, kind), include_columns=wanted, null_values=list(missing),
                    strings_can_be_null=False,
                ),
            )  # fmt: skip
        except pa.ArrowInvalid as error:
            self._refuse_fault(columns, n)
            if not pa.types.is_string(kind):
                raise
            first = str(error).splitlines()[0]
            raise DataError(f"{self.path}: this file cannot be read as a table ({first}); save it as UTF-8 CSV") from None

    def _refuse_fault(self, columns: Sequence[int], n: int) -> None:
        of_which = "the header" if self.header else "the first line"
        for row, line in self.rows():
            if len(row) != n:
                raise DataError(f"{self.path}, line {line}: this line has {len(row)} fields; {of_which} has {n}")
            if not all(is_utf8(row[k]) for k in columns):
                raise DataError(f"{self.path}, line {line}: this line is not UTF-8 text; save the file as UTF-8")


def is_utf8(text: str) -> bool:
    """Whether a text was valid UTF-8 when it was read: invalid bytes have become surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _single_blanks(raw: bytes) -> bytes:
    """The text with one space for each run of blanks, and none at the start and the end of a line."""
    raw = b"\n" + raw.replace(b"\t", b" ").replace(b"\r\n", b"\n")
    while b"  " in raw:
        raw = raw.replace(b"  ", b" ")
    return raw.replace(b"\n ", b"\n").replace(b" \n", b"\n").removeprefix(b"\n")


def _sniffed(raw: bytes, data: Table) -> str:
    """The delimiter that gives the first row the wanted columns, else the one that gives it the most columns.

    Blanks only where no other will do, since names and titles contain them.
    """
    first = raw.lstrip(b"\r\n").splitlines()[0].decode("utf-8", "surrogateescape")
    wanted = set(data.columns.values())
    needed = {name for name in wanted if isinstance(name, str)}
    at_least = 2 if data.wide else max([len(wanted), *(k + 1 for k in wanted if isinstance(k, int))])

    def split(delimiter: str) -> list[str]:
        if delimiter == BLANKS:
            return first.split()
        return first.split("::") if delimiter == "::" else next(csv.reader([first], delimiter=delimiter), [])

    def fit(delimiter: str) -> tuple[bool, bool, int]:
        names = split(delimiter)
        return needed <= set(names) and len(names) >= at_least, delimiter != BLANKS and len(names) > 1, len(names)

    return max([*DELIMITERS, BLANKS], key=fit)
