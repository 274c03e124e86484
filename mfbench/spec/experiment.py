"""The spec as a whole, and its repeats over folds and seeds."""

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
    """A speed comparison: every backend at every K on every number of threads, otherwise with the model's hyperparameters.

    backends: the names of the backends. K: if empty, the model's. threads: numbers of CPU cores; "all" stands for as many as
    the machine has. rounds: how often each combination is run.
    """

    backends: list[BackendName] = Field(min_length=1)
    K: list[Count] = []
    threads: list[Count | Literal["all"]] = [1, "all"]
    rounds: int = Field(default=3, ge=1)


class Evaluation(Strict):
    """How top-k recommendations are evaluated, see `mfbench.models.evaluation`; the search does not use these metrics.

    k: the lengths of the recommendation lists; an empty list skips this evaluation, which saves minutes with millions of
    users and items. relevant: the lowest rating at which an item counts as relevant; the default suits scales up to 5.
    """

    k: list[Annotated[int, Field(ge=1)]] = [5, 10]
    relevant: float = Field(default=4.0, allow_inf_nan=False)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class Spec(Strict):
    """The spec of one experiment.

    name: the name of the experiment, of its folders and in MLflow. data: where the ratings come from. split: which of them
    are held out as valid and test; its `kind` says how. model: the backend and its hyperparameters. sweep: the search for
    the best ones, for `mfbench sweep`. race: the comparison of speed, for `mfbench race`. evaluation: the lists and what is
    relevant in them, for the metrics beyond RMSE and MAE.
    """

    name: Name
    data: Data
    split: Split
    model: ModelSpec = ModelSpec()
    sweep: Sweep | None = None
    race: Race | None = None
    evaluation: Evaluation = Evaluation()

    def backends(self) -> list[str]:
        """The backends of the sweep in the order of the spec, or the model's backend if there is no sweep or it lists none."""
        return (self.sweep.backends if self.sweep else []) or [self.model.backend]

    def only(self, backends: Sequence[str]) -> Spec:
        """This spec with its sweep limited to the given backends; SpecError if the sweep does not include one of them.

        With an empty sequence or without a sweep, the spec is returned unchanged.
        """
        if not backends or self.sweep is None:
            return self
        if unknown := [name for name in backends if name not in self.backends()]:
            choices = ", ".join(self.backends())
            raise SpecError(f"--backend {unknown[0]}: the sweep of {self.name} lacks this backend; choose from {choices}")
        return self.model_copy(update={"sweep": self.sweep.model_copy(update={"backends": list(dict.fromkeys(backends))})})

    @property
    def folds(self) -> int:
        """The number of folds to run: all folds of a k-fold split, or 1 if the split selects one or has none."""
        return self.split.n_folds if isinstance(self.split, KFoldSplit) and self.split.fold is None else 1

    @property
    def seeds(self) -> int:
        """The number of seeds each trial is trained with."""
        return self.sweep.repeats if self.sweep else 1

    def repeat(self, r: int) -> Spec:
        """The r-th repeat: this spec with one fold and one seed. All folds with the first seed come first, then the next seed.

        Repeat 0 equals this spec unless it runs on several folds.

        >>> from mfbench.spec import load_spec
        >>> split = {"kind": "kfold", "folds": 5}
        >>> spec = load_spec({"name": "demo", "data": {"dataset": "planted-10k"}, "split": split, "sweep": {"repeats": 2}})
        >>> [(repeat.split.fold, repeat.model.seed) for repeat in (spec.repeat(4), spec.repeat(5))]
        [(4, 0), (0, 1)]
        """
        seed, fold = divmod(r, self.folds)
        split, model = self.split, self.model
        if self.folds > 1:
            split = split.model_copy(update={"fold": fold})
        if seed:
            model = model.model_copy(update={"seed": model.seed + seed})
        return self.model_copy(update={"split": split, "model": model})
