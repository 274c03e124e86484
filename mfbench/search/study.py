"""A study: the search for one backend, what it may try and the runs that it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfbench.backends.base import Backend, SideBySide
from mfbench.runs.jobs import BestTrial, Job
from mfbench.runs.records import Record, Stage
from mfbench.search.proposals import Finished, best_of, check_search, grid_points
from mfbench.search.pruning import Prune
from mfbench.spec import Space, Spec, Sweep


@dataclass(frozen=True)
class Study:
    """The search for one backend: its space, cut down to what the backend has a use for, and its budget of trials."""

    spec: Spec
    key: str
    sweep: Sweep
    backend: str
    tunable: frozenset[str]
    space: Space
    together: bool

    @staticmethod
    def of(spec: Spec, key: str, name: str, backend: Backend) -> Study:
        """The study of that backend under a spec with a sweep."""
        assert spec.sweep is not None
        space = Space(**{key: value for key, value in spec.sweep.space_of(name) if key in backend.tunable})
        check_search(spec.sweep, name, space)
        asked = spec.sweep.side_by_side
        together = isinstance(backend, SideBySide) and (backend.accelerated if asked is None else asked)
        return Study(spec, key, spec.sweep, name, backend.tunable, space, together)

    @property
    def budget(self) -> int:
        """The number of trials; one where there is nothing to search, and no more than a grid has points."""
        if self.space == Space():
            return 1
        return min(self.sweep.trials, self.points) if self.points else self.sweep.trials

    @property
    def points(self) -> int | None:
        """How many points the grid has, None where the search is no grid."""
        return len(grid_points(self.sweep, self.space, 0)) if self.sweep.sampler == "grid" else None

    def prune(self, finished: Sequence[Finished]) -> str | None:
        """What the trials of the batch after these are pruned by, for the workers; None where they are not."""
        if self.sweep.pruner == "none" or self.space == Space():
            return None
        return Prune(
            study=f"{self.key}/{self.backend}", kind=self.sweep.pruner, epochs=self.spec.model.epochs,
            batch=self.sweep.batch, finished=list(finished),
        ).model_dump_json()  # fmt: skip

    def trial(self, number: int, params: Mapping[str, Any]) -> list[Job]:
        """The repeats of a trial with these hyperparameters; what is not searched has the sweep's value, or the model's."""
        model = self.spec.model
        told = {"K": model.K, "alpha": model.alpha, "beta": model.beta, **self.sweep.values_of(self.backend), **params}
        hyper = {name: told[name] for name in self.tunable}
        repeats = range(self.spec.folds * self.spec.seeds)
        return self._jobs(number, "trial", repeats, hyper, model.epochs if self.tunable else 1, None)

    def finals(self, trials: Sequence[Record]) -> list[Job]:
        """The final run of the best completed trial: its hyperparameters, its best epoch. Empty where none completed.

        It is repeated with each seed, but not on each fold: train and valid are together the same for all of them. It has
        the number of the trial that it was chosen by, so a longer search that finds a better one makes another.
        """
        best = best_of(trials)
        if best is None:
            return []
        sure = {name: interval for name, interval in best.intervals.items() if name.startswith("valid_")}
        chosen = BestTrial(number=best.number, valid_rmse=best.valid_rmse, valid_mae=best.valid_mae, intervals=sure)
        hyper = {name: getattr(best, name) for name in self.tunable}
        repeats = range(0, self.spec.folds * self.spec.seeds, self.spec.folds)
        return self._jobs(best.number, "final" if self.tunable else "floor", repeats, hyper, best.best_epoch or 1, chosen)

    def _jobs(
        self, number: int, stage: Stage, repeats: range, hyper: Mapping[str, Any], epochs: int, best: BestTrial | None
    ) -> list[Job]:
        return [
            Job(
                study=self.key, backend=self.backend, number=number, stage=stage, repeat=r, spec=self.spec.repeat(r),
                K=hyper.get("K"), alpha=hyper.get("alpha"), beta=hyper.get("beta"), epochs=epochs, best=best,
            )
            for r in repeats
        ]  # fmt: skip
