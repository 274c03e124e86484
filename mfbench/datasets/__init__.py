"""Data sets: the catalogue, planted ones, and the user's own files. `load` is the one way in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mfbench.datasets.dataset import Dataset, Truth
from mfbench.datasets.entries import Archive, Entry, catalogue, entry
from mfbench.datasets.home import data_home
from mfbench.datasets.planted import planted as _plant
from mfbench.datasets.prepared import card, read_or_make, summary
from mfbench.datasets.tables import read_table
from mfbench.errors import SpecError
from mfbench.spec import Data, Planted

__all__ = [
    "Archive", "Data", "Dataset", "Entry", "Planted", "Truth",
    "card", "catalogue", "data_home", "entry", "load", "prepare", "summary",
]  # fmt: skip


def load(data: Data) -> Dataset:
    """The data set that a spec's `data` names.

    One of the catalogue, or a planted one, is prepared on first use and then read from the data home; a user's file is
    parsed each time. DataError: it cannot be had, or does not hold what it should. WorkError: a download broke off.
    """
    if data.dataset is not None:
        return prepare(data.dataset)
    if data.planted is not None:
        p = data.planted
        return _planted(f"planted-{p.users}x{p.items}x{p.ratings}-s{p.seed}", p)
    if data.file is not None:
        return read_table(data)
    raise SpecError("data: give exactly one of dataset, planted and file")


def prepare(name: str) -> Dataset:
    """The data set of the catalogue of that name: downloaded, checked and prepared where it is not there yet."""
    known = entry(name)
    if known.archive is not None:
        return _from_archive(name, known.archive)
    if known.planted is not None:
        return _planted(name, known.planted)
    from mfbench.datasets.notebook import notebook_6x4

    return read_or_make(name, {"code": name}, notebook_6x4)


def _planted(name: str, p: Planted) -> Dataset:
    source = {"planted": p.model_dump(mode="json")}
    return read_or_make(name, source, lambda: _plant(p.users, p.items, p.ratings, p.seed, name))


def _from_archive(name: str, archive: Archive) -> Dataset:
    from mfbench.datasets.download import fetch
    from mfbench.datasets.movielens import read_movielens

    identity: dict[str, Any] = {k: v for k, v in asdict(archive).items() if k in ("file", "size", "md5", "sha256")}
    return read_or_make(name, {"archive": identity}, lambda: read_movielens(fetch(archive), name, archive))
