"""The data section of a spec: a data set of the catalogue, a generated one, or the user's own file."""

from __future__ import annotations

from pydantic import Field, model_validator

from mfbench.spec.fields import FilePath, Seed, Strict


class Planted(Strict):
    """Parameters of a generated data set, see `mfbench.data.planted`."""

    users: int = Field(ge=1)
    items: int = Field(ge=1)
    ratings: int = Field(ge=1)
    seed: Seed = 0

    @model_validator(mode="after")
    def _fits(self) -> Planted:
        if self.ratings > self.users * self.items // 2:
            raise ValueError(
                f"ratings is {self.ratings}, more than half the cells of a {self.users} x {self.items} matrix;"
                f" give at most {self.users * self.items // 2}"
            )
        return self


# The keys that describe the columns of a file.
COLUMNS = ("user", "item", "rating", "timestamp", "delimiter")


class Data(Strict):
    """The source of the ratings; exactly one of `dataset`, `planted` and `file` is given.

    dataset: the name of a data set of the catalogue. planted: the parameters of a generated data set. file: the path of a
    table of ratings. user, item, rating, timestamp: the names of its columns. delimiter: the separator of its columns.
    """

    dataset: str | None = None
    planted: Planted | None = None
    file: FilePath | None = None
    user: str = "user"
    item: str = "item"
    rating: str = "rating"
    timestamp: str | None = None
    delimiter: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if sum(source is not None for source in (self.dataset, self.planted, self.file)) != 1:
            raise ValueError("give exactly one of dataset, planted and file")
        changed = [key for key in COLUMNS if getattr(self, key) != type(self).model_fields[key].default]
        if changed and self.file is None:
            raise ValueError(f"{', '.join(changed)}: allowed only together with file; remove it, or give file")
        return self
