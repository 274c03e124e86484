"""The data section of a spec: a data set of the catalogue, a generated one, or the user's own file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mfbench.spec.fields import Count, FilePath, Seed, Strict


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


class Wide(Strict):
    """A matrix with a row for each user and a column for each item.

    missing: the number that stands for "not rated"; an empty cell does so too. ids: `first` if the first column has the ids
    of the users; with `none` they are numbered from 1. skip: how many further columns before the ratings are none (in
    Jester's files 1, each user's count). The ids of the items are the header, or without one the numbers from 1.
    """

    missing: float | None = Field(default=None, allow_inf_nan=False)
    ids: Literal["none", "first"] = "none"
    skip: int = Field(default=0, ge=0)


Column = str | Annotated[int, Field(strict=True, ge=0)]
Duplicates = Literal["error", "last", "mean"]

# The keys that describe the content of a file.
COLUMNS = ("user", "item", "rating", "timestamp")
OF_FILES = (*COLUMNS, "delimiter", "header", "wide", "duplicates")


class Data(Strict):
    """The source of the ratings; exactly one of `dataset`, `planted` and `file` is given.

    dataset: the name of a data set of the catalogue. planted: the parameters of a generated data set. file: the path of a
    table of ratings, as delimited text, JSON lines (either also gzipped) or Parquet. user, item, rating, timestamp: this
    column of the file, by name or by position, from 0. delimiter: the separator of its columns; `blanks` is any run of
    spaces and tabs. By default it is found out. header: whether the first line names the columns; without a header user,
    item and rating are by default columns 0, 1 and 2. By default a first line that looks like ratings is an error, which
    asks for this key. wide: how to read a file that is a matrix. duplicates: what to make of a pair of user and item that is
    rated more than once; an `error`, the `last` rating (by timestamp, if there is one, and by place), or their `mean`.
    """

    dataset: str | None = None
    planted: Planted | None = None
    file: FilePath | None = None
    user: Column = "user"
    item: Column = "item"
    rating: Column = "rating"
    timestamp: Column | None = None
    delimiter: str | None = None
    header: bool | None = None
    wide: Wide | None = None
    duplicates: Duplicates = "error"

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if sum(source is not None for source in (self.dataset, self.planted, self.file)) != 1:
            raise ValueError("give exactly one of dataset, planted and file")
        changed = self._changed(OF_FILES)
        if changed and self.file is None:
            raise ValueError(f"{', '.join(changed)}: allowed only together with file; remove it, or give file")
        if self.wide and (named := self._changed(COLUMNS)):
            raise ValueError(f"{', '.join(named)}: a wide file has no such columns; remove it, or remove wide")
        if self.header is False and (named := [key for key in self._changed(COLUMNS) if isinstance(getattr(self, key), str)]):
            raise ValueError(f"{', '.join(named)}: with header: false, give the position of the column, from 0")
        return self

    def _changed(self, keys: Sequence[str]) -> list[str]:
        return [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]

    @property
    def columns(self) -> dict[str, str | int]:
        """The columns to read, by key, as names or positions; none of a wide file.

        >>> Data(file="u.data", header=False, timestamp=3).columns
        {'user': 0, 'item': 1, 'rating': 2, 'timestamp': 3}
        """
        if self.wide:
            return {}
        columns = {key: getattr(self, key) for key in COLUMNS}
        if self.header is False:
            columns |= {key: k for k, key in enumerate(COLUMNS[:3]) if isinstance(columns[key], str)}
        return {key: column for key, column in columns.items() if column is not None}
