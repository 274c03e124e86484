"""A study: the search for one backend, with its search space, its budget and the jobs of its trials and final runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mfbench.backends import registry
from mfbench.backends.base import Backend, SideBySide
from mfbench.core.errors import SpecError
from mfbench.data.splits import Parts
from mfbench.runs.jobs import BestTrial, Job, backend_of, job_of
from mfbench.runs.preparation import check_size
from mfbench.runs.records import Record, Stage
from mfbench.search.pruning import Prune
from mfbench.search.sampling import cmaes, finished, optuna_trials, proposals
from mfbench.search.sampling.finished import Finished, best_of, since_best
from mfbench.search.sampling.proposals import check_search, grid_points, propose
from mfbench.spec import COMPARING, OF_MODEL, Choice, Hyper, Range, Space, Spec, Sweep

MOST_POINTS = 1_000_000
"""Of a grid."""
TAKEN = {*Record.model_fields, "run_key", "run_id", "trials", "finals", "repeats", "train_seconds", "search_seconds"}
"""Column names of tables, which a searched knob must not have."""


@dataclass(frozen=True)
class Study:
    """The search for one backend.

    key: the study key. tunable: the hyperparameters of the model that the backend uses. space: the sweep's ranges, and
    values: its fixed values, which override the model's; both without what the backend does not use. together: whether to
    train the trials of a batch side by side in one program.
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
        """The study of that backend under a spec with a sweep; SpecError for a hyperparameter or value it does not accept."""
        assert spec.sweep is not None
        sweep, backend = spec.sweep, backend_of(spec.model, name)
        usable = _usable(backend)
        own = sweep.spaces.get(name, {})
        for hyper in own:
            if hyper not in usable:
                raise SpecError(f"sweep.spaces.{name}.{hyper}: {name} has no such hyperparameter; {_listed(name, usable)}")
        space = {hyper: interval for hyper, interval in sweep.space_of(name).items() if hyper in usable}
        values = {hyper: value for hyper, value in sweep.values_of(name).items() if hyper in usable}
        for hyper, tried in (space | values).items():
            if hyper not in OF_MODEL:
                if hyper in TAKEN:
                    raise SpecError(f"sweep.space.{hyper}: tables have a column of this name; rename the knob in {name}")
                where = f"sweep.spaces.{name}" if hyper in own else "sweep.space"
                for value in tried.samples() if isinstance(tried, Range) else (tried,):
                    registry.resolve(name, {**spec.model.options.get(name, {}), hyper: value}, where)
        _check_grid(sweep, space)
        check_search(sweep, name, space)
        wanted = sweep.side_by_side
        together = isinstance(backend, SideBySide) and (backend.accelerated if wanted is None else wanted)
        return Study(spec, key, sweep, name, backend.tunable, space, values, together)

    def check_size(self, parts: Parts) -> None:
        """InputError if the largest model that the search can propose cannot fit into this machine's memory."""
        given = self.space.get("K", self.values.get("K", self.spec.model.K))
        largest = max(given.samples()) if isinstance(given, Range) else given
        check_size(parts, self.spec.model, int(largest) if "K" in self.tunable else 0)

    @property
    def budget(self) -> int:
        """The number of trials: one if there is nothing to search, and at most the number of grid points."""
        if not self.space:
            return 1
        return min(self.sweep.trials, self.points) if self.points else self.sweep.trials

    @property
    def points(self) -> int | None:
        """The number of grid points; None if the sampler is not grid."""
        return len(grid_points(self.sweep, self.space, 0)) if self.sweep.sampler == "grid" else None

    @property
    def prunes(self) -> bool:
        """Whether trials are compared with others while they run."""
        return self.sweep.pruner in COMPARING and bool(self.space)

    @property
    def own(self) -> Hyper:
        """The values that the first trial is to have: the spec's own, as far as they lie in the search space."""
        if self.sweep.first_trial == "sampler":
            return {}
        model = self.spec.model
        known = {name: getattr(model, name) for name in OF_MODEL} | registry.knobs(backend_of(model, self.backend))
        known["init"] = model.init.scale
        return {name: known[name] for name, given in self.space.items() if given.holds(known[name])}

    def is_over(self, trials: Sequence[Record]) -> bool:
        """Whether the search ends after these trials, which are whole batches: by its budget, or by `sweep.stop`."""
        stop = self.sweep.stop
        return len(trials) >= self.budget or (stop is not None and since_best(trials) >= stop)

    def prune(self, finished: Sequence[Finished]) -> str | None:
        """A `Prune` as JSON for the batch that follows these finished trials; None if no trial is compared with others."""
        if not self.prunes:
            return None
        return Prune(
            study=f"{self.key}/{self.backend}", kind=self.sweep.pruner, epochs=self.spec.model.epochs,
            batch=self.sweep.batch, finished=list(finished),
        ).model_dump_json()  # fmt: skip

    def trial(self, number: int, params: Hyper, proposal: str | None = None) -> list[Job]:
        """The jobs of a trial, one per repeat; what `params` lacks has the fixed value of the sweep, or else of the model."""
        repeats = range(self.spec.folds * self.spec.seeds)
        hyper = {**self.values, **params}
        return [
            job_of(self.spec, self.key, self.backend, "trial", number, r, hyper, proposal=proposal) for r in repeats
        ]  # fmt: skip

    def finals(self, trials: Sequence[Record]) -> list[Job]:
        """The jobs of the final run, with the hyperparameters and best epoch of the best trial; empty if none completed.

        There is one job per seed but not per fold, since all folds share the same train and valid ratings taken together.
        The final run has the number of its trial, so a longer search that finds a better trial adds a final run.
        """
        best = best_of(trials)
        if best is None:
            return []
        valid = {name: interval for name, interval in best.intervals.items() if name.startswith("valid_")}
        chosen = BestTrial(
            number=best.number, valid_rmse=best.valid_rmse, valid_mae=best.valid_mae, judged=best.evaluation, intervals=valid
        )  # fmt: skip
        stage: Stage = "final" if self.tunable else "floor"
        epochs = best.best_epoch or 1
        repeats = range(0, self.spec.folds * self.spec.seeds, self.spec.folds)
        return [
            job_of(self.spec, self.key, self.backend, stage, best.number, r, best.hyper, epochs, chosen) for r in repeats
        ]  # fmt: skip


@dataclass
class Past:
    """The trials of the finished batches of a study, as its search sees them, and what it proposes after them.

    A proposal has a digest of all that it follows from: the study, these trials, its number, the code that proposes and the
    versions of its packages. Its record keeps it. So a record is known as the proposal of this search, and of this past,
    without asking the sampler again; if a record is missing, or not known, the whole batch is proposed again.
    """

    study: Study
    trials: list[Finished] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256(_json([self.study.key, self.study.backend, self.study.own, proposers()]))

    def add(self, finished: Iterable[Finished]) -> None:
        """Add the trials of the next batch."""
        for trial in finished:
            self.trials.append(trial)
            objectives = [trial.objective(name) for name in self.study.sweep.objectives]
            self._digest.update(_json([trial.outcome, trial.params, trial.values, objectives]))

    def digest(self, number: int, params: Hyper) -> str:
        """The digest of a proposal of the next batch: sha256 in hex."""
        return hashlib.sha256(self._digest.digest() + _json([number, params])).hexdigest()

    def jobs(self, found: Sequence[Record | None]) -> list[list[Job]]:
        """The jobs of the trials of the next batch, by trial. found: the record of the first repeat of each, if it has one."""
        study, first = self.study, len(self.trials)
        known: list[Hyper] = [record.hyper for k, record in enumerate(found, first) if record and self._knows(record, k)]
        if len(known) < len(found):
            # Records without a digest are of a version in which the samplers were given all trials.
            old = any(record is not None and record.proposal is None for record in found)
            known = propose(
                study.spec, study.space, first // study.sweep.batch, len(found), self.trials, study.own, recall_all=old
            )
        searched = [{name: params[name] for name in study.space} for params in known]
        return [study.trial(k, params, self.digest(k, params)) for k, params in enumerate(searched, first)]

    def _knows(self, record: Record, number: int) -> bool:
        """Whether the hyperparameters of the record are those of the trial of that number that the search proposes now."""
        searched = {name: value for name, value in record.hyper.items() if name in self.study.space}
        return record.proposal == self.digest(number, searched)


@cache
def proposers() -> list[str | None]:
    """What the proposals depend on besides study and past: a digest of our code, and the versions of the packages it uses."""
    modules = (proposals, finished, optuna_trials, cmaes)
    code = hashlib.sha256(b"".join(Path(str(one.__file__)).read_bytes() for one in modules)).hexdigest()
    return [code, *(version(name) if find_spec(name) else None for name in ("numpy", "scipy", "optuna", "cmaes", "torch"))]


def _json(tree: Any) -> bytes:
    return json.dumps(tree, sort_keys=True).encode()


def check_names(spec: Spec, studies: Sequence[Study]) -> None:
    """SpecError for an unknown backend in `sweep.spaces`, and for a hyperparameter in `sweep.space` that no backend has."""
    assert spec.sweep is not None
    for name in spec.sweep.spaces:
        if name not in registry.names() and ":" not in name:
            raise SpecError(f"sweep.spaces: unknown backend {name!r}; choose from {', '.join(registry.names())}")
    known = {study.backend: _usable(backend_of(spec.model, study.backend)) for study in studies}
    for hyper in spec.sweep.space:
        if hyper in OF_MODEL or any(hyper in usable for usable in known.values()):
            continue
        others = [name for name in registry.names() if name not in known]
        if not any(hyper in _usable(registry.resolve(name, {})) for name in others):
            listed = "; ".join(_listed(name, usable) for name, usable in known.items())
            raise SpecError(f"sweep.space.{hyper}: no backend has such a hyperparameter; {listed}")


def _check_grid(sweep: Sweep, space: Space) -> None:
    counts = sweep.grid or {}
    sizes = [len(given.choice) if isinstance(given, Choice) else counts.get(name, 1) for name, given in space.items()]
    if sweep.sampler == "grid" and (points := math.prod(sizes)) > MOST_POINTS:
        many = f"{points:,}" if points < 1e12 else "astronomically many"
        raise SpecError(f"sweep.grid: {many} points are too many; give at most {MOST_POINTS:,}, by fewer values of each range")


def _usable(backend: Backend) -> list[str]:
    """The hyperparameters of a backend that can be searched: those of the model that it uses, then its knobs."""
    any_model = ("init", "center", "bias") if backend.tunable else ()
    of_model = [name for name in OF_MODEL if name in backend.tunable or name in any_model]
    return [*of_model, *registry.knobs(backend)]


def _listed(name: str, usable: Sequence[str]) -> str:
    return f"{name} has {', '.join(usable) or 'none'}"
