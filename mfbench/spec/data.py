"""The data section of a spec: a data set of the catalogue, a generated one, or the user's own file."""

from __future__ import annotations

from pydantic import model_validator

from mfbench.spec.fields import Count, FilePath, Seed, Strict
from mfbench.spec.sources.entry import NAMES, DataEntry, is_name
from mfbench.spec.sources.table import OF_FILES, Table


class Planted(Strict):
    """Parameters of a generated data set, see `mfbench.data.planted`.

    users, items, ratings: how many of each.
    """

    users: Count
    items: Count
    ratings: Count
    seed: Seed = 0

    @model_validator(mode="after")
    def _fits(self) -> Planted:
        if self.ratings > self.users * self.items // 2:
            raise ValueError(
                f"ratings is {self.ratings}, more than half the cells of a {self.users} x {self.items} matrix;"
                f" give at most {self.users * self.items // 2}"
            )
        return self


class Source(Strict):
    """Where the ratings come from."""

    dataset: str | None = None
    planted: Planted | None = None
    file: FilePath | None = None


class Data(Table, Source):
    """The source of the ratings; exactly one of `dataset`, `planted` and `file` is given.

    dataset: the name of a data set of the catalogue. planted: the parameters of a generated data set. file: the path of a
    table of ratings, as delimited text, JSON lines (either also gzipped), Parquet or an Excel sheet. entry: of a `dataset` of
    the user's own, its entry of `datasets.yaml`, which is filled in when the spec is read.
    """

    entry: DataEntry | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if sum(source is not None for source in (self.dataset, self.planted, self.file)) != 1:
            raise ValueError("give exactly one of dataset, planted and file")
        changed = self._changed(OF_FILES)
        if changed and self.file is None:
            raise ValueError(f"{', '.join(changed)}: allowed only together with file; remove it, or give file")
        if self.entry and self.dataset is None:
            raise ValueError("entry: allowed only together with dataset; remove it")
        if self.entry and not is_name(self.dataset):
            raise ValueError(f"dataset: {self.dataset!r} cannot name a data set of your own; {NAMES}")
        return self

    @property
    def read_from(self) -> str | None:
        """The user's own file that the ratings are in: `file`, or that of the entry."""
        return self.entry.file if self.entry else self.file
