"""The members of a zip file by file name, whatever their folder."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from mfbench.core.errors import DataError


class Members:
    """The members of an open zip file."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file

    def has(self, member: str) -> bool:
        """Whether exactly one file has that name."""
        return len(self._named(member)) == 1

    def open(self, member: str) -> IO[bytes]:
        """The file of that name; DataError unless there is exactly one."""
        found = self._named(member)
        if len(found) != 1:
            raise DataError(f"{self.path}: this archive holds {len(found)} files named {member}; there must be one")
        return self._file.open(found[0])

    def lines(self, member: str, encoding: str, errors: str = "strict") -> Iterator[str]:
        """Its lines as text, with their ends."""
        with self.open(member) as raw, io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="") as text:
            yield from text

    def _named(self, member: str) -> list[str]:
        return [n for n in self._file.namelist() if n == member or PurePosixPath(n).name == member]


@contextmanager
def members_of(path: Path) -> Iterator[Members]:
    """The members of a zip file; DataError if it, or in the block one of its members, is damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            yield Members(path, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: this zip archive cannot be read ({error}); delete it to fetch it again") from None
