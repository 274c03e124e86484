"""The Netflix Prize: a tar file with a text file for each movie in an inner tar file, titles, and the fold `probe`.

`training_set.tar` holds `mv_0000001.txt` and so on: a line `1:` with the movie, then lines `CustomerID,Rating,Date`.
`movie_titles.txt` has lines `MovieID,YearOfRelease,Title` in latin-1, `probe.txt` lines `1:` and, below, the customers.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mfbench.core.arrays import Positions
from mfbench.core.errors import DataError
from mfbench.data.dataset import Dataset, make_dataset

FOLD = "probe"
DAY = 86_400
_MOVIE = re.compile(r"mv_\d+\.txt")


@dataclass
class _Found:
    """What was read: of each movie its number, and the customers, ratings and days since 1970; and the two other files."""

    movies: list[int] = field(default_factory=list)
    users: list[npt.NDArray[np.int32]] = field(default_factory=list)
    values: list[npt.NDArray[np.float32]] = field(default_factory=list)
    days: list[npt.NDArray[np.int32]] = field(default_factory=list)
    others: dict[str, bytes] = field(default_factory=dict)


def read_netflix(path: Path, name: str) -> Dataset:
    """The training set, with its probe part as a fold; DataError if the archive is not in this format.

    Its 100 million ratings take about 10 GB of memory while they are read.
    """
    found = _Found()
    try:
        with tarfile.open(path, "r|*") as outer:
            _read(path, outer, found)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: this tar archive cannot be read ({error}); delete it to fetch it again") from None
    if not found.movies:
        raise DataError(f"{path}: there is no file such as mv_0000001.txt in training_set.tar; fetch the archive again")
    counts = [len(users) for users in found.users]
    users, items = np.concatenate(found.users), np.repeat(np.array(found.movies, dtype=np.int32), counts)
    ends = np.cumsum(counts)

    def where(k: int) -> str:
        movie = int(np.searchsorted(ends, k, side="right"))
        return f"{path}, mv_{found.movies[movie]:07d}.txt, line {k - ends[movie] + counts[movie] + 2}"

    return make_dataset(
        name,
        users,
        items,
        np.concatenate(found.values),
        where=where,
        timestamps=np.concatenate(found.days).astype(np.int64) * DAY,
        titles=dict(_titles(found.others["movie_titles.txt"])) if "movie_titles.txt" in found.others else None,
        folds={FOLD: _probe(path, found.others["probe.txt"], users, items)} if "probe.txt" in found.others else None,
    )


def _read(path: Path, archive: tarfile.TarFile, found: _Found) -> None:
    for member in archive:
        name, file = PurePosixPath(member.name).name, archive.extractfile(member) if member.isfile() else None
        if file is None:
            continue
        if name == "training_set.tar":
            with tarfile.open(fileobj=file, mode="r|*") as inner:
                _read(path, inner, found)
        elif _MOVIE.fullmatch(name):
            _read_movie(f"{path}, {name}", file.read(), found)
        elif name in ("movie_titles.txt", "probe.txt"):
            found.others[name] = file.read()


def _read_movie(where: str, raw: bytes, found: _Found) -> None:
    import pyarrow as pa  # here for the start-up time
    import pyarrow.csv

    first, _, lines = raw.partition(b"\n")
    kinds = {"customer": pa.int32(), "rating": pa.float32(), "date": pa.date32()}
    try:
        found.movies.append(int(first.strip().removesuffix(b":")))
        table: Any = pyarrow.csv.read_csv(
            pa.BufferReader(lines),
            read_options=pyarrow.csv.ReadOptions(column_names=list(kinds), use_threads=False),
            convert_options=pyarrow.csv.ConvertOptions(column_types=kinds, null_values=[]),
        )
    except (ValueError, pa.ArrowInvalid) as error:
        raise DataError(
            f"{where}: this is not a movie's ratings ({str(error).splitlines()[0]}); fetch the archive again"
        ) from None
    users, values, days = (table.column(key) for key in kinds)
    found.users.append(users.to_numpy())
    found.values.append(values.to_numpy())
    found.days.append(days.cast(pa.int32()).to_numpy())


def _titles(raw: bytes) -> Iterator[tuple[object, str]]:
    for line in raw.decode("latin-1").splitlines():
        movie, _, rest = line.partition(",")
        if movie.isdecimal():
            yield int(movie), rest.partition(",")[2]


def _probe(path: Path, raw: bytes, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """bool [n]: the ratings that the probe file names; DataError if the training set lacks one."""
    lines = raw.split()
    heads = np.array([line.endswith(b":") for line in lines])
    numbers: Positions = np.array([int(line.removesuffix(b":")) for line in lines], dtype=np.int64)
    movies = numbers[heads][np.cumsum(heads) - 1]
    most = int(items.max()) + 1
    probe = users.astype(np.int64) * most + items
    mask: npt.NDArray[np.bool_] = np.isin(probe, (numbers * most + movies)[~heads])
    if mask.sum() != (~heads).sum():
        raise DataError(f"{path}, probe.txt: this fold has ratings that the training set lacks; fetch the archive again")
    return mask
