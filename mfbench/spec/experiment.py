"""The spec as a whole, and its repeats over folds and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mfbench.core.errors import SpecError
from mfbench.core.objective import OBJECTIVES, higher_is_better, list_length
from mfbench.spec.data import Data
from mfbench.spec.fields import BackendName, Count, OwnFunction, Strict, own_name
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
    rounds: int = Field(default=3, ge=1, le=10_000)


class Evaluation(Strict):
    """How models are evaluated besides RMSE and MAE, see `mfbench.models.evaluation`.

    k: the lengths of the recommendation lists; an empty list skips this evaluation, which saves minutes with millions of
    users and items. relevant: the lowest rating at which an item counts as relevant; the default suits scales up to 5.
    extra: metrics of your own, functions of predictions or of lists, as `mine.py:function` or `package.module:function`; see
    `mfbench.models.own_metrics`.
    """

    k: list[Count] = [5, 10]
    relevant: float = Field(default=4.0, allow_inf_nan=False)
    extra: list[OwnFunction] = []

    @field_validator("extra")
    @classmethod
    def _one_of_each_name(cls, extra: list[str]) -> list[str]:
        names = [own_name(target) for target in extra]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"there are two functions of the name {twice[0]}; rename one of them")
        return extra

    @property
    def own(self) -> dict[str, str]:
        """The user's own metrics: by name, without that of the part, their places."""
        return {own_name(target): target for target in self.extra}


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

    @model_validator(mode="after")
    def _objective_is_measured(self) -> Spec:
        metric = self.objective.removeprefix("valid_")
        length = list_length(metric)
        if length and length not in self.evaluation.k and higher_is_better(metric) is not None:
            raise ValueError(f"sweep.objectives: {self.objective} needs lists of {length}; add {length} to evaluation.k")
        if metric not in self.evaluation.own and higher_is_better(metric) is None:
            own = f", or your own: {', '.join(self.evaluation.own)}" if self.evaluation.own else ""
            raise ValueError(
                f"sweep.objectives: {self.objective} cannot be an objective; choose valid_ and one of {OBJECTIVES}{own}"
            )
        return self

    @property
    def objective(self) -> str:
        """The metric on valid by which the trials of the sweep are judged."""
        return self.sweep.objectives[0] if self.sweep else "valid_rmse"

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
