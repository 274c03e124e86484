"""An entry of a catalogue of data sets: where its archive is, what identifies it, and how it is read."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mfbench.spec.fields import FilePath, Strict
from mfbench.spec.sources.table import Column, Table

NAMES = "use letters, digits, '.', '_' and '-', and not splits or frames"
"""What `is_name` asks for, in words."""


def is_name(name: str | None) -> bool:
    """Whether a data set of the user's own can have that name, which is that of its folder in the data home."""
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name or "")) and name not in ("splits", "frames")


def _inside(member: str) -> str:
    if PurePosixPath(member).is_absolute() or ".." in PurePosixPath(member).parts:
        raise ValueError(f"{member!r} is not inside the archive; give a name or a path there")
    return member


Member = Annotated[str, AfterValidator(_inside)]


class Titles(Strict):
    """The titles of the items, in a table of their own.

    member: the file in the archive, or beside the file of the ratings. item, title: this column of it, by name or by
    position, from 0. delimiter: the separator of its columns. header: whether the first line names the columns.
    backslashes: whether a backslash, instead of a second quote, precedes a quote inside a field.
    """

    member: Member
    item: Column
    title: Column
    delimiter: str = ","
    header: bool = True
    backslashes: bool = False


class DataEntry(Table):
    """A data set of the user's own catalogue: an entry of a file `datasets.yaml`.

    address: of the archive or file, which is downloaded. file: its path instead, relative to `datasets.yaml`. size, md5,
    sha256: of the archive, as far as its publisher gives them; each that is given is checked. member: the file with the
    ratings, if the archive is a zip or tar file. layout: its format; other than a `table` are those of the Netflix Prize and
    of KuaiRec. encoding: of its text. missing: the number that stands for no rating, as Book-Crossing's 0. milliseconds:
    whether timestamps are in milliseconds. titles: where the titles of the items are. what: a description. licence: in one
    sentence, what the publisher allows. redistributable: whether that includes to pass the data on. ratings, users, items: how
    many the publisher counts.
    """

    address: Annotated[str, Field(pattern=r"^https?://\S+[^/\s]$")] | None = None
    file: FilePath | None = None
    size: int | None = Field(default=None, ge=1)
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    member: Member | None = None
    layout: Literal["table", "netflix", "kuairec"] = "table"
    encoding: str = "utf-8"
    missing: float | None = Field(default=None, allow_inf_nan=False)
    milliseconds: bool = False
    titles: Titles | None = None
    what: str | None = None
    licence: str | None = None
    redistributable: bool = False
    ratings: int | None = Field(default=None, ge=1)
    users: int | None = Field(default=None, ge=1)
    items: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.address is None) == (self.file is None):
            raise ValueError("give either address or file")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(f"encoding: {self.encoding!r} is unknown; give one such as utf-8 or latin-1") from None
        return self

    def content(self) -> dict[str, Any]:
        """What decides which ratings are read, without their place; the address only if no hash is known."""
        told = {"what", "licence", "redistributable", "ratings", "users", "items", "file"}
        return self.model_dump(
            mode="json", exclude_defaults=True, exclude=told | ({"address"} if self.md5 or self.sha256 else set())
        )
