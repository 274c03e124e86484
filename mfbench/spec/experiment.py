"""One experiment: a spec as a whole, and its repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from mfbench.core.errors import SpecError
from mfbench.spec.data import Data
from mfbench.spec.fields import BackendName, Count, Strict
from mfbench.spec.model import ModelSpec
from mfbench.spec.split import KFoldSplit, Split
from mfbench.spec.sweep import Sweep


class Race(Strict):
    """Backends against each other with the model's hyperparameters: each at each K, on each number of threads."""

    backends: list[BackendName] = Field(min_length=1)
    K: list[Count] = []
    threads: list[Count | Literal["all"]] = [1, "all"]
    rounds: int = Field(default=3, ge=1)


class Evaluation(Strict):
    """What lists of recommendations are judged by, see `mfbench.models.evaluation`; no part in the search.

    k: the lengths of the lists; none: no lists are made, which for millions of users and items saves minutes. relevant: the
    rating from which on an item is one that the user wants; 4 is for scales that end at 5.
    """

    k: list[Annotated[int, Field(ge=1)]] = [5, 10]
    relevant: float = Field(default=4.0, allow_inf_nan=False)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class Spec(Strict):
    """One experiment."""

    name: Name
    data: Data
    split: Split
    model: ModelSpec = ModelSpec()
    sweep: Sweep | None = None
    race: Race | None = None
    evaluation: Evaluation = Evaluation()

    def backends(self) -> list[str]:
        """The backends of the sweep, in the order of the spec; the model's own where the sweep names none."""
        return (self.sweep.backends if self.sweep else []) or [self.model.backend]

    def only(self, backends: Sequence[str]) -> Spec:
        """The same sweep of these backends alone, of all where none is named; SpecError for one that it does not name."""
        if not backends or self.sweep is None:
            return self
        if unknown := [name for name in backends if name not in self.backends()]:
            raise SpecError(f"--backend {unknown[0]}: {self.name} sweeps {', '.join(self.backends())}; name some of these")
        return self.model_copy(update={"sweep": self.sweep.model_copy(update={"backends": list(dict.fromkeys(backends))})})

    @property
    def folds(self) -> int:
        """On how many folds a run is made: all of a k-fold split, unless it names one of them."""
        return self.split.n_folds if isinstance(self.split, KFoldSplit) and self.split.fold is None else 1

    @property
    def seeds(self) -> int:
        """With how many seeds a trial is trained."""
        return self.sweep.repeats if self.sweep else 1

    def repeat(self, r: int) -> Spec:
        """The r-th repeat, this spec with one fold and one seed: each fold with the first seed, then with the next.

        Repeat 0 is this spec itself, where it needs no fold.
        """
        seed, fold = divmod(r, self.folds)
        split, model = self.split, self.model
        if self.folds > 1:
            split = split.model_copy(update={"fold": fold})
        if seed:
            model = model.model_copy(update={"seed": model.seed + seed})
        return self.model_copy(update={"split": split, "model": model})
