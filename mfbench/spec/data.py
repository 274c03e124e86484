"""The data of a spec: a set of the catalogue, a generated one, or the user's own file."""

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
                f"{self.ratings} ratings are more than half of a {self.users} x {self.items} matrix; ask for fewer"
            )
        return self


COLUMNS = ("user", "item", "rating", "timestamp", "delimiter")


class Data(Strict):
    """One of: a data set of the catalogue by name, a planted one by parameters, the user's own file."""

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
        named = [key for key in COLUMNS if getattr(self, key) != type(self).model_fields[key].default]
        if named and self.file is None:
            raise ValueError(f"{', '.join(named)}: only a file has columns to name")
        return self
