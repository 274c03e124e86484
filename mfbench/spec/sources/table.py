"""How to read a table of ratings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mfbench.spec.fields import Strict


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


class Table(Strict):
    """How to read a table of ratings.

    user, item, rating, timestamp: this column of the file, by name or by position, from 0. delimiter: the separator of its
    columns; `blanks` is any run of spaces and tabs. By default it is found out. header: whether the first line names the
    columns; without a header user, item and rating are by default columns 0, 1 and 2. By default a first line that looks
    like ratings is an error, which asks for this key. wide: how to read a file that is a matrix. duplicates: what to make of
    a pair of user and item that is rated more than once; an `error`, the `last` rating (by timestamp, if there is one, and
    by place), or their `mean`.
    """

    user: Column = "user"
    item: Column = "item"
    rating: Column = "rating"
    timestamp: Column | None = None
    delimiter: str | None = None
    header: bool | None = None
    wide: Wide | None = None
    duplicates: Duplicates = "error"

    @model_validator(mode="after")
    def _readable(self) -> Self:
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

        >>> Table(header=False, timestamp=3).columns
        {'user': 0, 'item': 1, 'rating': 2, 'timestamp': 3}
        """
        if self.wide:
            return {}
        columns = {key: getattr(self, key) for key in COLUMNS}
        if self.header is False:
            columns |= {key: k for k, key in enumerate(COLUMNS[:3]) if isinstance(columns[key], str)}
        return {key: column for key, column in columns.items() if column is not None}
