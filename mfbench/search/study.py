"""A study: the search for one backend, what it may try and the runs that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mfbench.backends import registry
from mfbench.backends.base import Backend, SideBySide
from mfbench.core.errors import SpecError
from mfbench.runs.jobs import BestTrial, Job, backend_of, job_of
from mfbench.runs.records import Record, Stage
from mfbench.search.proposals import Finished, best_of, check_search, grid_points
from mfbench.search.pruning import Prune
from mfbench.spec import OF_MODEL, Hyper, Range, Space, Spec, Sweep

TAKEN = {*Record.model_fields, "run_key", "run_id", "trials", "finals", "repeats", "train_seconds", "search_seconds"}
"""Names that a knob which is searched cannot have."""


@dataclass(frozen=True)
class Study:
    """The search for one backend: its space, cut down to what the backend has a use for, and its budget of trials.

    values: what the sweep gives the backend instead of the model's values, cut down likewise.
    """

    spec: Spec
    key: str
    sweep: Sweep
    backend: str
    tunable: frozenset[str]
    space: Space
    values: Hyper
    together: bool

    @staticmethod
    def of(spec: Spec, key: str, name: str) -> Study:
        """The study of that backend under a spec with a sweep; SpecError for what the backend cannot be given."""
        assert spec.sweep is not None
        sweep, backend = spec.sweep, backend_of(spec.model, name)
        usable = _usable(backend)
        for one in sweep.spaces.get(name, {}):
            if one not in usable:
                raise SpecError(f"sweep.spaces.{name}.{one}: {name} has no such hyperparameter; {_listed(name, usable)}")
        space = {one: given for one, given in sweep.space_of(name).items() if one in usable}
        values = {one: value for one, value in sweep.values_of(name).items() if one in usable}
        for one, given in (space | values).items():
            if one not in OF_MODEL:
                if one in TAKEN:
                    raise SpecError(f"sweep.space.{one}: tables have a column of this name; rename the knob in {name}")
                where = f"sweep.spaces.{name}" if one in sweep.spaces.get(name, {}) else "sweep.space"
                for value in given.samples() if isinstance(given, Range) else (given,):
                    registry.resolve(name, {**spec.model.options.get(name, {}), one: value}, where)
        check_search(sweep, name, space)
        asked = sweep.side_by_side
        together = isinstance(backend, SideBySide) and (backend.accelerated if asked is None else asked)
        return Study(spec, key, sweep, name, backend.tunable, space, values, together)

    @property
    def budget(self) -> int:
        """The number of trials; one where there is nothing to search, and no more than a grid has points."""
        if not self.space:
            return 1
        return min(self.sweep.trials, self.points) if self.points else self.sweep.trials

    @property
    def points(self) -> int | None:
        """How many points the grid has, None where the search is no grid."""
        return len(grid_points(self.sweep, self.space, 0)) if self.sweep.sampler == "grid" else None

    def prune(self, finished: Sequence[Finished]) -> str | None:
        """What the trials of the batch after these are pruned by, for the workers; None where they are not."""
        if self.sweep.pruner == "none" or not self.space:
            return None
        return Prune(
            study=f"{self.key}/{self.backend}", kind=self.sweep.pruner, epochs=self.spec.model.epochs,
            batch=self.sweep.batch, finished=list(finished),
        ).model_dump_json()  # fmt: skip

    def trial(self, number: int, params: Hyper) -> list[Job]:
        """The repeats of a trial with these hyperparameters; what is not searched has the sweep's value, or the model's."""
        repeats = range(self.spec.folds * self.spec.seeds)
        return [job_of(self.spec, self.key, self.backend, "trial", number, r, {**self.values, **params}) for r in repeats]

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
        stage: Stage = "final" if self.tunable else "floor"
        epochs = best.best_epoch or 1
        repeats = range(0, self.spec.folds * self.spec.seeds, self.spec.folds)
        return [
            job_of(self.spec, self.key, self.backend, stage, best.number, r, best.hyper, epochs, chosen) for r in repeats
        ]  # fmt: skip


def check_names(spec: Spec, studies: Sequence[Study]) -> None:
    """SpecError for a name in the common space that no backend knows: some of the sweep's may well lack it, but not all."""
    assert spec.sweep is not None
    for name in spec.sweep.spaces:
        if name not in registry.names() and ":" not in name:
            raise SpecError(f"sweep.spaces: unknown backend {name!r}; choose from {', '.join(registry.names())}")
    known = {study.backend: _usable(backend_of(spec.model, study.backend)) for study in studies}
    for one in spec.sweep.space:
        if one in OF_MODEL or any(one in usable for usable in known.values()):
            continue
        others = [name for name in registry.names() if name not in known]
        if not any(one in _usable(registry.resolve(name, {})) for name in others):
            listed = "; ".join(_listed(name, usable) for name, usable in known.items())
            raise SpecError(f"sweep.space.{one}: no backend has such a hyperparameter; {listed}")


def _usable(backend: Backend) -> list[str]:
    """What of a backend can be searched: of the model what it has a use for, then its knobs."""
    any_model = ("init", "center", "bias") if backend.tunable else ()
    of_model = [name for name in OF_MODEL if name in backend.tunable or name in any_model]
    return [*of_model, *registry.knobs(backend)]


def _listed(name: str, usable: Sequence[str]) -> str:
    return f"{name} has {', '.join(usable) or 'none'}"
