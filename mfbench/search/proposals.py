"""The search: a pure function of the spec and the records of the finished batches.

Batch b rebuilds an in-memory study from the trials of the batches before it, seeds the sampler from (seed, b), and asks for
the whole batch at once. So it cannot matter how many workers there are, in which order they finish, or where a sweep was
killed.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from mfbench.core.errors import SpecError
from mfbench.core.randomness import generator, seed_for
from mfbench.runs.records import Record
from mfbench.search.cmaes import evolve
from mfbench.spec import Choice, Hyper, IntRange, Range, Space, Spec, Sweep

NEEDS = {"gp": ("torch", "greenlet"), "cmaes": ("cmaes",)}
"""What a sampler needs beside mfbench's own packages; the extra of mfbench that brings it has the sampler's name.

Optuna would do without greenlet, but then the last digits of its proposals are others.
"""

ENOUGH = 20
"""So many trials must have completed before one can tell which hyperparameters matter, or whether more would help."""


class Finished(BaseModel):
    """What the search knows of a finished trial: its hyperparameters, its valid RMSE by scored epoch, and its clock.

    train_seconds has a part in a search that has it as objective, and in no other.
    """

    model_config = ConfigDict(frozen=True)

    outcome: str
    params: Hyper
    values: dict[int, float]
    train_seconds: float

    @staticmethod
    def of(record: Record) -> Finished:
        """The part of a trial's record that the search may see."""
        scored = zip(record.scores.epoch, record.scores.valid_rmse, strict=True)
        return Finished(
            outcome=record.outcome,
            params=record.hyper,
            values={e: v for e, v in scored if v is not None},
            train_seconds=record.clocks.train_seconds,
        )

    @property
    def value(self) -> float:
        """The best scored epoch's valid RMSE; inf for a trial that diverged or failed, so that the search avoids its like."""
        return min(self.values.values()) if self.values and self.outcome in ("completed", "pruned") else math.inf

    def objective(self, name: str) -> float:
        """What the trial reached of that objective; inf of each where it has no value."""
        found = {"valid_rmse": self.value, "train_seconds": self.train_seconds, **self.params}
        return float(found[name]) if math.isfinite(self.value) else math.inf


def check_search(sweep: Sweep, backend: str, space: Space) -> None:
    """SpecError where a study of this backend over this space cannot be searched here."""
    missing = [package for package in NEEDS.get(sweep.sampler, ()) if importlib.util.find_spec(package) is None]
    if missing:
        raise SpecError(
            f"sweep.sampler: {sweep.sampler} needs {' and '.join(missing)}, not installed here;"
            f" `pip install 'mfbench[{sweep.sampler}]'` brings all it needs"
        )
    if sweep.sampler == "cmaes" and (choices := [name for name, given in space.items() if isinstance(given, Choice)]):
        raise SpecError(
            f"sweep.sampler: cmaes searches numbers, and {choices[0]} of {backend} is a choice; use tpe, random or grid"
        )
    if "K" in sweep.objectives and space and "K" not in space:
        raise SpecError(
            f"sweep.objectives: K is one, but the study of {backend} has no range of K; give it one in sweep.space"
        )


def grid_points(sweep: Sweep, space: Space, seed: int) -> list[dict[str, Any]]:
    """All points of the grid over that space, in an order drawn from the seed."""
    counts = sweep.grid or {}
    axes = {name: _axis(given, counts.get(name, 0)) for name, given in space.items()}
    points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    return [points[k] for k in generator(seed, "sampler").permutation(len(points))]


def _axis(given: Range, count: int) -> list[Any]:
    if isinstance(given, Choice):
        return list(given.choice)
    low, high = given.bounds
    values = (np.geomspace if given.log else np.linspace)(low, high, count).tolist()
    return sorted({round(value) for value in values}) if isinstance(given, IntRange) else values


def propose(spec: Spec, space: Space, batch: int, size: int, finished: Sequence[Finished]) -> list[dict[str, Any]]:
    """The first `size` proposals of that batch, each the hyperparameters that `space` ranges over.

    `finished` are the trials of the batches before it, in order; the k-th proposal does not depend on `size`.
    """
    sweep = spec.sweep
    assert sweep is not None
    if not space:
        return [{} for _ in range(size)]
    if sweep.sampler == "grid":
        return grid_points(sweep, space, spec.model.seed)[len(finished) :][:size]
    seed = int(seed_for(spec.model.seed, "sampler", batch).generate_state(1)[0])
    if sweep.sampler == "cmaes":
        numbers = {name: given for name, given in space.items() if not isinstance(given, Choice)}
        return evolve(numbers, sweep.batch, size, [(trial.params, trial.value) for trial in finished], seed)
    optuna = load_optuna()
    samplers = optuna.samplers
    sampler = {"tpe": samplers.TPESampler, "random": samplers.RandomSampler, "gp": samplers.GPSampler}[sweep.sampler](
        seed=seed
    )
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(sweep.objectives))
    distributions = _distributions(space)
    study.add_trials([_told(trial, distributions, sweep) for trial in finished])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Clip non-finite values")  # GP takes the worst finite value for a diverged trial
        return [dict(study.ask(distributions).params) for _ in range(size)]


def best_of(trials: Sequence[Record]) -> Record | None:
    """The trial that a final run is chosen by: the best completed one on valid, of equals the first; None if none is."""
    completed = [trial for trial in trials if trial.outcome == "completed" and trial.valid_rmse is not None]
    return min(completed, key=lambda trial: (trial.valid_rmse, trial.number), default=None)


def importance(space: Space, finished: Sequence[Finished]) -> dict[str, float] | None:
    """How much each searched hyperparameter matters for a valid RMSE among the best tenth of the completed trials, most first.

    Shares that add up to 1, by Optuna's default, PED-ANOVA (Watanabe et al., IJCAI 2023), which draws no random numbers.
    None where fewer than ENOUGH trials completed.
    """
    completed = [trial for trial in finished if trial.outcome == "completed"]
    if len(completed) < ENOUGH:
        return None
    optuna, distributions = load_optuna(), _distributions(space)
    study = optuna.create_study()
    for trial in completed:
        params = {name: trial.params[name] for name in distributions}
        study.add_trial(optuna.trial.create_trial(value=trial.value, params=params, distributions=distributions))
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}


def _distributions(space: Space) -> dict[str, Any]:
    kinds = load_optuna().distributions

    def distribution(given: Range) -> Any:
        if isinstance(given, Choice):
            return kinds.CategoricalDistribution(given.choice)
        kind = kinds.IntDistribution if isinstance(given, IntRange) else kinds.FloatDistribution
        return kind(*given.bounds, log=given.log)

    return {name: distribution(given) for name, given in space.items()}


def _told(trial: Finished, distributions: dict[str, Any], sweep: Sweep) -> Any:
    """A finished trial as Optuna holds it; one that diverged is complete with the value inf, which the samplers learn from.

    TPE knows what to make of a pruned trial. GP would overlook it, so it is told the best that the trial had reached.
    """
    optuna = load_optuna()
    pruned = trial.outcome == "pruned" and sweep.sampler != "gp"
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
        values=[trial.objective(name) for name in sweep.objectives],
        params={name: trial.params[name] for name in distributions},
        distributions=distributions,
        intermediate_values=trial.values,
    )


def load_optuna() -> Any:
    """Optuna, loaded when it is first needed, and quiet."""
    import optuna  # here and not above: 0.3 s that `mfbench --help` must not pay

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
