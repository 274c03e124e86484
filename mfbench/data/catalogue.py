"""The catalogue: all named data sets, with their facts before any download."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from mfbench.core.errors import DataError
from mfbench.core.machine import check_memory
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.data.download import Archive, fetch
from mfbench.data.files.tables import read_table
from mfbench.data.movielens import read_movielens
from mfbench.data.planted import planted as _plant
from mfbench.data.prepared import read_or_make
from mfbench.data.sets.entries import archive_of, entries, load_entry
from mfbench.spec import Data, DataEntry, Planted, own_datasets


@dataclass(frozen=True)
class Entry:
    """A data set of the catalogue: read from an archive, planted from parameters, or (neither) defined in code.

    ratings, users, items: as its publisher counts them, None if that is not known. table: how the archive is read, if it is
    none of MovieLens's. own: whether it is the user's own.
    """

    name: str
    what: str
    ratings: int | None
    users: int | None
    items: int | None
    archive: Archive | None = None
    planted: Planted | None = None
    table: DataEntry | None = None
    licence: str | None = None
    own: bool = False

    def summary(self) -> dict[str, Any]:
        """Its facts, for `--json`; those of the archive are None if there is none."""
        a = self.archive
        return {
            "name": self.name,
            "what": self.what,
            "ratings": self.ratings,
            "users": self.users,
            "items": self.items,
            "file": a and a.file,
            "bytes": a and a.size,
            "md5": a and a.md5,
            "sha256": a and a.sha256,
            "address": a and a.url,
            "redistributable": a and a.redistributable,
            "licence": self.licence,
            "own": self.own,
        }


def catalogue() -> list[Entry]:
    """All named data sets, the small ones of each kind first, and last the user's own; SpecError for one that is not valid."""
    return list(_known().values())


def entry(name: str) -> Entry:
    """The catalogue entry of that name; DataError lists the names, and the closest one, if there is none."""
    every = _known()
    if name not in every:
        near = difflib.get_close_matches(name.lower(), every, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        named = dict.fromkeys("amazon-..." if one.startswith("amazon-") else one for one in every)
        raise DataError(f"dataset {name}: unknown data set; {hint}choose from {', '.join(named)}")
    return every[name]


def _known() -> dict[str, Entry]:
    return {**_ENTRIES, **_theirs(), **{name: _tabled(name, one, own=True) for name, one in own_datasets().items()}}


@cache
def _theirs() -> dict[str, Entry]:
    return {name: _tabled(name, one) for name, one in entries().items()}


def _tabled(name: str, table: DataEntry, own: bool = False) -> Entry:
    if own and (name in _ENTRIES or name in entries()):
        raise DataError(f"dataset {name}: datasets.yaml has an entry of a name that the catalogue has too; rename yours")
    archive = None if table.file else archive_of(name, table)
    return Entry(
        name, table.what or "a data set of your own", table.ratings, table.users, table.items, archive,
        table=table, licence=table.licence, own=own,
    )  # fmt: skip


def _planted(name: str, users: int, items: int, ratings: int, size: str) -> Entry:
    what = f"generated from known factors, so the best possible error is known; {size}"
    parameters = Planted(users=users, items=items, ratings=ratings, seed=0)
    return Entry(name, what, ratings, users, items, planted=parameters)


def _movielens(name: str, what: str, ratings: int, users: int, items: int, archive: Archive) -> Entry:
    allows = "may be redistributed under the same conditions" if archive.redistributable else "not to be redistributed"
    licence = f"For research, {allows}; citing Harper and Konstan, The MovieLens Datasets, TiiS 2015."
    return Entry(name, f"MovieLens, {what}", ratings, users, items, archive=archive, licence=licence)


_ENTRIES = {
    e.name: e
    for e in [
        Entry("notebook-6x4", "the 6 x 4 matrix of the well-known NumPy notebook", 16, 6, 4),
        _planted("planted-10k", 200, 300, 10_000, "small, for tests"),
        _planted("planted-100k", 943, 1_682, 100_000, "the size of ml-100k"),
        _planted("planted-1m", 6_040, 3_706, 1_000_209, "the size of ml-1m"),
        _planted("planted-20m", 138_493, 26_744, 20_000_263, "the size of ml-20m"),
        _movielens(
            "ml-latest-small", "the small set of 2018, half stars", 100_836, 610, 9_724,
            Archive(
                "ml-latest-small.zip", 978_202,
                "31a303aabbc519bd33d025e44d6c2570",
                "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
                "csv", redistributable=True,
            ),
        ),
        _movielens(
            "ml-100k", "1998, whole stars, with the official folds u1 to u5, ua and ub", 100_000, 943, 1_682,
            Archive(
                "ml-100k.zip", 4_924_029,
                "0e33842e24a9c977be4e0107933c0723",
                "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
                "100k", encoding="latin-1",
            ),
        ),
        _movielens(
            "ml-1m", "2003, whole stars", 1_000_209, 6_040, 3_706,
            Archive(
                "ml-1m.zip", 5_917_549,
                "c4d9eecfca2ab87c1945afe126590906",
                "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
                "dat", encoding="latin-1",
            ),
        ),
        _movielens(
            "ml-10m", "2009, half stars", 10_000_054, 69_878, 10_677,
            Archive(
                "ml-10m.zip", 65_566_137,
                "ce571fd55effeba0271552578f2648bd",
                # The md5 is official, this sha256 a third party's.
                "813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862",
                "dat",
            ),
        ),
        _movielens(
            "ml-20m", "2015, half stars", 20_000_263, 138_493, 26_744,
            Archive(
                "ml-20m.zip", 198_702_078,
                "cd245b17a1ae2cc31bb14903e1204af3",
                "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
                "csv",
            ),
        ),
        _movielens(
            "ml-25m", "2019, half stars", 25_000_095, 162_541, 59_047,
            Archive(
                "ml-25m.zip", 261_978_986,
                "6b51fb2759a8657d3bfcbfc42b592ada",
                "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
                "csv",
            ),
        ),
        _movielens(
            "ml-32m", "2024, half stars", 32_000_204, 200_948, 84_432,
            Archive(
                "ml-32m.zip", 238_950_008,
                "d472be332d4daa821edc399621853b57",
                None,  # not known
                "csv", redistributable=True,
            ),
        ),
    ]
}  # fmt: skip


MATRIX = [[5, 3, 0, 1], [4, 0, 0, 1], [1, 1, 0, 5], [1, 0, 0, 4], [0, 1, 5, 4], [2, 1, 3, 0]]  # 0: not observed


def notebook_6x4() -> Dataset:
    """The 16 observed cells of MATRIX, row by row; users U1 to U6, items D1 to D4."""
    matrix = np.array(MATRIX)
    rows, columns = np.nonzero(matrix)
    users, items = np.array([f"U{n}" for n in range(1, 7)]), np.array([f"D{n}" for n in range(1, 5)])
    return make_dataset(
        "notebook-6x4",
        users[rows],
        items[columns],
        matrix[rows, columns].astype(np.float32),
        where=lambda k: f"notebook-6x4, cell {k + 1}",
    )


def load(data: Data) -> Dataset:
    """Load the data set that a spec's `data` names.

    A data set of the catalogue, or a planted one, is prepared on first use and then read from the data home; a user's file
    is parsed each time. DataError: it is not available, or does not match its format. WorkError: a download was interrupted.
    """
    if data.dataset is not None and data.entry is not None:
        return _loaded(_tabled(data.dataset, data.entry, own=True))
    if data.dataset is not None:
        return dataset_named(data.dataset)
    if data.planted is not None:
        p = data.planted
        return _planted_set(f"planted-{p.users}x{p.items}x{p.ratings}-s{p.seed}", p)
    return read_table(data)


def dataset_named(name: str) -> Dataset:
    """Load a data set of the catalogue by name; on first use download, verify and prepare it."""
    return _loaded(entry(name))


def _loaded(known: Entry) -> Dataset:
    if known.table is not None:
        return load_entry(known.name, known.table)
    if known.archive is not None:
        return _from_archive(known.name, known.archive)
    if known.planted is not None:
        return _planted_set(known.name, known.planted)
    return read_or_make(known.name, {"code": known.name}, notebook_6x4)


def _planted_set(name: str, p: Planted) -> Dataset:
    size = 50 * p.ratings + 130 * (p.users + p.items)  # bytes of ratings and their truth; of factors, ids and the long tails
    check_memory(f"data.planted: {p.ratings:,} ratings by {p.users:,} users of {p.items:,} items", size, "give fewer")
    source = {"planted": p.model_dump(mode="json")}
    return read_or_make(name, source, lambda: _plant(p.users, p.items, p.ratings, p.seed, name))


def _from_archive(name: str, archive: Archive) -> Dataset:
    identity: dict[str, Any] = {k: v for k, v in asdict(archive).items() if k in ("file", "size", "md5", "sha256")}
    return read_or_make(name, {"archive": identity}, lambda: read_movielens(fetch(archive), name, archive))
