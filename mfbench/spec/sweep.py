"""The sweep of a spec: how many trials of which backends, and what proposes, prunes and judges them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mfbench.spec.fields import BackendName, Strict
from mfbench.spec.model import FIRST
from mfbench.spec.space import DEFAULT_SPACE, Hyper, NumberRange, Range, Space, SpaceSpec, named, ordered

Grid = Annotated[dict[str, Annotated[int, Field(ge=2)]], BeforeValidator(named)]
"""How many values the grid has of each range of numbers: both ends and values evenly between them, in the log where it is log.

A range of whole numbers has no value twice, so it may have fewer. Of a choice the grid has every value.
"""


class Sweep(Strict):
    """A study for each backend, over the same splits with the same number of trials.

    repeats: a trial is trained with so many seeds, the model's and those after it, and judged by its mean.
    sampler: what proposes the trials of a batch. `tpe`, `gp` and `cmaes` learn from the batches before; `gp` and `cmaes`
    need a package of their own. `grid` visits the points of `grid` in a drawn order, as many as there are `trials`.
    pruner: what stops a trial that is unlikely to win, by the batches before: `median`, worse than half of them at the same
    epoch, or `hyperband`, not among the best third of its bracket at a rung. Default `median`, `none` with two objectives.
    Of repeats it judges the first, by the first of the others; the rest are trained of the trials that it spares.
    objectives: `valid_rmse` alone, or beside it `train_seconds` or `K`, all to be small. The final run is in each case that
    of the best valid_rmse. train_seconds is a clock: such a search cannot be repeated to the same trials.
    side_by_side: train all trials of a batch in one program, by a backend that can; by default where its device is an
    accelerator.
    """

    trials: int = Field(default=20, ge=1)
    batch: int = Field(default=8, ge=1)
    repeats: int = Field(default=1, ge=1)
    backends: list[BackendName] = Field(default=[], validate_default=True)
    sampler: Literal["tpe", "random", "grid", "gp", "cmaes"] = "tpe"
    grid: Grid | None = None
    pruner: Literal["none", "median", "hyperband"] = "median"
    objectives: list[Literal["valid_rmse", "train_seconds", "K"]] = ["valid_rmse"]
    side_by_side: bool | None = None
    space: SpaceSpec = DEFAULT_SPACE
    spaces: dict[BackendName, SpaceSpec] = {}

    @field_validator("backends")
    @classmethod
    def _once_each(cls, backends: list[str]) -> list[str]:
        if len(set(backends)) != len(backends):
            raise ValueError(f"{backends} names a backend twice; name each once")
        return backends

    @field_validator("objectives")
    @classmethod
    def _one_or_two(cls, objectives: list[str]) -> list[str]:
        if objectives not in (["valid_rmse"], ["valid_rmse", "train_seconds"], ["valid_rmse", "K"]):
            raise ValueError(
                f"{objectives} is not [valid_rmse], [valid_rmse, train_seconds] or [valid_rmse, K]; give one of these"
            )
        return objectives

    @model_validator(mode="before")
    @classmethod
    def _default_pruner(cls, tree: Any) -> Any:
        two = isinstance(tree, dict) and isinstance(tree.get("objectives"), list) and len(tree["objectives"]) == 2
        return {"pruner": "none", **tree} if two else tree

    @model_validator(mode="after")
    def _fits_together(self) -> Sweep:
        if len(self.objectives) == 2:
            if self.pruner != "none":
                raise ValueError(
                    f"{self.pruner} prunes by valid_rmse alone, so it cannot be used with two objectives; leave the pruner out"
                )
            if self.sampler in ("gp", "cmaes"):
                raise ValueError(f"the sampler {self.sampler} has one objective; with two, use tpe, random or grid")
        ranges = {
            name
            for space in (self.space, *self.spaces.values())
            for name, given in space.items()
            if isinstance(given, NumberRange)
        }
        missing = ordered(ranges - (self.grid or {}).keys())
        if self.sampler == "grid" and missing:
            raise ValueError(
                f"a grid needs the number of values of each range, as in grid: {{K: 4, alpha: 5, beta: 3}};"
                f" give that of {', '.join(missing)}"
            )
        names = {*FIRST, *(name for space in (self.space, *self.spaces.values()) for name in space)}
        unknown = ordered((self.grid or {}).keys() - names)
        if unknown:
            raise ValueError(f"grid has a number of values for {', '.join(unknown)}, which no space names; leave it out")
        if self.sampler != "grid" and self.grid:
            raise ValueError(f"grid is for the sampler grid, and this one is {self.sampler}; leave one of them out")
        return self

    def space_of(self, backend: str) -> Space:
        """The ranges for `backend`: its own where `spaces` has one, else the common one."""
        return {name: given for name, given in self._given(backend).items() if isinstance(given, Range)}

    def values_of(self, backend: str) -> Hyper:
        """The values that `backend` is given instead of the model's, by name."""
        return {name: given for name, given in self._given(backend).items() if not isinstance(given, Range)}

    def _given(self, backend: str) -> dict[str, Any]:
        both = {**self.space, **self.spaces.get(backend, {})}
        return {name: both[name] for name in ordered(both)}
