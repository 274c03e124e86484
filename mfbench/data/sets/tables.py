"""Read the archive of a data set as its entry in a catalogue says."""

from __future__ import annotations

import csv
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mfbench.core.errors import DataError
from mfbench.data.dataset import Dataset
from mfbench.data.files.tables import read_bytes
from mfbench.data.files.text import bytes_of, unpacked
from mfbench.data.sets.kuairec import read_kuairec
from mfbench.data.sets.members import members_of
from mfbench.data.sets.netflix import read_netflix
from mfbench.spec import DataEntry, Titles


def read_entry(path: Path, name: str, entry: DataEntry) -> Dataset:
    """The data set `name` in the archive at `path`; DataError, with file and line, if it is not what the entry says."""
    if entry.layout == "netflix":
        return read_netflix(path, name)
    if entry.layout == "kuairec":
        return read_kuairec(path, name)
    file = path / PurePosixPath(entry.member).name if entry.member else path  # for messages, and its suffix
    raw = unpacked(file, _content(path, entry.member))
    return read_bytes(
        file,
        _as_utf8(path, raw, entry.encoding),
        entry,
        name=name,
        missing=entry.missing,
        per_second=1000 if entry.milliseconds else 1,
        titles=dict(_titles(path, entry.titles, entry.encoding)) if entry.titles else None,
    )


def _content(path: Path, member: str | None) -> bytes:
    """The bytes of a member of a zip or tar file, by its name or path there, or without one of the file itself."""
    try:
        if member is None:
            return path.read_bytes()
        if zipfile.is_zipfile(path):
            with members_of(path) as members, members.open(member) as file:
                return file.read()
        if not tarfile.is_tarfile(path):
            raise DataError(f"{path}: this is neither a zip nor a tar archive, so it holds no {member}; remove member")
        with tarfile.open(path) as archive:
            named = [one for one in archive if one.isfile() and member in (one.name, PurePosixPath(one.name).name)]
            inside = archive.extractfile(named[0]) if len(named) == 1 else None
            if inside is None:
                raise DataError(f"{path}: this archive holds {len(named)} files named {member}; there must be one")
            return inside.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{path}: {member or 'this file'} cannot be read ({error}); check the entry of the data set") from None


def _as_utf8(path: Path, raw: bytes, encoding: str) -> bytes:
    if encoding.lower() in ("utf-8", "utf8") or raw[:4] == b"PAR1":
        return raw
    try:
        return raw.decode(encoding).encode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: this file is not {encoding} text ({error.reason}); correct the encoding") from None


def _titles(path: Path, titles: Titles, encoding: str) -> Iterator[tuple[str, str]]:
    beside = path.parent / titles.member
    archived = zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    raw = _content(path, titles.member) if archived else bytes_of(beside)
    text = _as_utf8(path, unpacked(beside, raw) if archived else raw, encoding)
    lines = text.decode("utf-8-sig", "replace").splitlines(keepends=True)
    if titles.backslashes:
        rows = csv.reader(lines, delimiter=titles.delimiter, escapechar="\\", doublequote=False)
    else:
        rows = csv.reader(lines, delimiter=titles.delimiter)
    try:
        names = next(rows, []) if titles.header else []
        places = [_place(path, titles, column, names) for column in (titles.item, titles.title)]
        for row in rows:
            if len(row) > max(places):
                yield row[places[0]].strip(), row[places[1]]
    except csv.Error as error:
        raise DataError(f"{path}, {titles.member}: the titles cannot be read ({error}); correct the entry's titles") from None


def _place(path: Path, titles: Titles, column: str | int, names: list[str]) -> int:
    if isinstance(column, int):
        return column
    if column not in names:
        listed = ", ".join(names[:20]) or "none, since titles.header is false"
        raise DataError(f"{path}, {titles.member}: there is no column {column}; choose from {listed}")
    return names.index(column)
