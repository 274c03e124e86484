"""The sweep section of a spec: backends, number of trials, search space, sampler, pruner and objectives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mfbench.spec.fields import BackendName, Strict
from mfbench.spec.model import FIRST
from mfbench.spec.space import DEFAULT_SPACE, Hyper, NumberRange, Range, Space, SpaceSpec, named, ordered

Grid = Annotated[dict[str, Annotated[int, Field(ge=2)]], BeforeValidator(named)]
"""The number of grid values for each numeric range, evenly spaced from bound to bound, on a log scale if the range has one.

A range of integers may get fewer values, since rounding can make some equal. Of a choice the grid has every value.
"""

COMPARING = ("median", "hyperband")
"""The pruners that compare a trial with others."""


class Sweep(Strict):
    """A hyperparameter search: one study per backend, all on the same splits and with the same number of trials.

    trials: the number of trials of each backend. batch: the number of trials that are proposed at a time, and can be trained
    in parallel; a smaller batch learns sooner, and found a little more on one of four data sets (`results/search-quality`).
    repeats: the number of seeds each trial is trained with, counting up from the model's; a trial's score is its mean.
    backends: those to search, by default the model's. grid: for the sampler `grid`, the number of values of each range.
    sampler: the method that proposes trials. `tpe`, `gp` and `cmaes` learn from earlier batches; `gp` and `cmaes` need an
    extra package each. `grid` visits the points of `grid` in random order, at most `trials` of them.
    first_trial: `model`, the default, gives the first trial the model's own values, as far as they lie in the search space,
    so that a search is never worse than its model; `sampler` has the sampler propose it. A grid has its points alone.
    pruner: the rule that stops trials early. `patience`, the default, stops a trial by its own curve alone, as the model's
    `patience` does (10 evaluations if the model sets none); the trial is completed, with its best epoch. The others compare
    it with earlier batches: `median` stops a trial that is worse than their median at the same epoch, `hyperband` one outside
    the best third of its bracket at a rung. These two save more epochs, but they stop small step sizes, which start slowly
    and often end best; the cost is measured in `results/search-quality`. With repeats, they compare only the first repeats
    of trials, and further repeats are trained only if the first was not pruned.
    objectives: the metric on valid by which trials are judged, alone or together with `train_seconds` or `K`, which are
    minimized. It is `valid_rmse`, `valid_mae`, another metric such as `valid_ndcg_10`, or one of `evaluation.extra`. All goes
    by it: the curve of a trial, so its patience, pruner and best epoch; the best trial, and so the final run; the order of
    the leaderboard. A metric other than RMSE and MAE is computed whenever a trial is evaluated; if that takes too long, raise
    `model.evaluate_every`. train_seconds is a measured time, so a search with it is not reproducible.
    stop: end the search of a backend once this many trials in a row were no better than the best before, checked after
    each batch; null runs all trials.
    side_by_side: whether to train the trials of a batch in one program if the backend supports it; by default only on an
    accelerator.
    space: the search space of all backends. spaces: by backend, entries that replace or extend those of `space`.
    """

    trials: int = Field(default=20, ge=1, le=1_000_000)
    batch: int = Field(default=8, ge=1, le=10_000)
    repeats: int = Field(default=1, ge=1, le=10_000)
    backends: list[BackendName] = Field(default=[], validate_default=True)
    sampler: Literal["tpe", "random", "grid", "gp", "cmaes"] = "tpe"
    grid: Grid | None = None
    first_trial: Literal["model", "sampler"] = "model"
    pruner: Literal["patience", "none", "median", "hyperband"] = "patience"
    stop: int | None = Field(default=None, ge=1)
    objectives: list[str] = ["valid_rmse"]
    side_by_side: bool | None = None
    space: SpaceSpec = DEFAULT_SPACE
    spaces: dict[BackendName, SpaceSpec] = {}

    @field_validator("backends")
    @classmethod
    def _once_each(cls, backends: list[str]) -> list[str]:
        if len(set(backends)) != len(backends):
            raise ValueError(f"{backends} lists a backend twice; list each once")
        return backends

    @field_validator("objectives")
    @classmethod
    def _one_or_two(cls, objectives: list[str]) -> list[str]:
        first, *second = objectives or [""]
        if not first.startswith("valid_") or second not in ([], ["train_seconds"], ["K"]):
            raise ValueError(
                f"{objectives} is not supported; give [valid_rmse], [valid_rmse, train_seconds] or [valid_rmse, K], with any"
                " metric on valid instead of valid_rmse"
            )
        return objectives

    @model_validator(mode="after")
    def _fits_together(self) -> Sweep:
        if len(self.objectives) == 2:
            if self.pruner in COMPARING:
                raise ValueError(
                    f"the pruner {self.pruner} compares trials by {self.objectives[0]} alone, so it cannot be used with two"
                    " objectives; use patience or none"
                )
            if self.sampler in ("gp", "cmaes"):
                raise ValueError(f"the sampler {self.sampler} supports only one objective; with two, use tpe, random or grid")
        ranges = {
            name
            for space in (self.space, *self.spaces.values())
            for name, entry in space.items()
            if isinstance(entry, NumberRange)
        }
        missing = ordered(ranges - (self.grid or {}).keys())
        if self.sampler == "grid" and missing:
            raise ValueError(
                f"the sampler grid needs a number of values for each range, as in grid: {{K: 4, alpha: 5, beta: 3}};"
                f" add one for {', '.join(missing)}"
            )
        names = {*FIRST, *(name for space in (self.space, *self.spaces.values()) for name in space)}
        unknown = ordered((self.grid or {}).keys() - names)
        if unknown:
            raise ValueError(f"grid has a number of values for {', '.join(unknown)}, which no search space has; remove it")
        if self.sampler != "grid" and self.grid:
            raise ValueError(f"grid has no effect with the sampler {self.sampler}; set sampler: grid or remove grid")
        return self

    def space_of(self, backend: str) -> Space:
        """The ranges and choices to search for `backend`: those of `spaces`, else those of the common `space`.

        >>> from mfbench.spec import IntRange
        >>> sweep = Sweep(space={"K": IntRange(int=(2, 32)), "beta": 0.1}, spaces={"adam": {"K": IntRange(int=(2, 8))}})
        >>> sweep.space_of("loop")["K"].bounds, sweep.space_of("adam")["K"].bounds
        ((2, 32), (2, 8))
        >>> sweep.values_of("adam")
        {'beta': 0.1}
        """
        return {name: entry for name, entry in self._entries(backend).items() if isinstance(entry, Range)}

    def values_of(self, backend: str) -> Hyper:
        """The fixed values of the search space of `backend`, which replace the model's, by name."""
        return {name: entry for name, entry in self._entries(backend).items() if not isinstance(entry, Range)}

    def _entries(self, backend: str) -> dict[str, Any]:
        merged = {**self.space, **self.spaces.get(backend, {})}
        return {name: merged[name] for name in ordered(merged)}
