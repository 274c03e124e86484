"""Proposals of hyperparameters: a pure function of the spec and the records of the finished batches.

Batch b rebuilds an in-memory study from the trials of the earlier batches, seeds the sampler from (seed, b), and samples
the whole batch at once. So the result does not depend on the number of workers, the order in which they finish, or where a
sweep was killed.
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
import math
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from mfbench.core.errors import SpecError
from mfbench.core.randomness import generator, seed_for
from mfbench.runs.records import Record
from mfbench.search.cmaes import evolve
from mfbench.search.pareto import undominated
from mfbench.spec import Choice, Hyper, IntRange, Range, Space, Spec, Sweep

ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # of a finished trial: Optuna requires it, and no sampler uses it

NEEDS = {"gp": ("torch", "greenlet"), "cmaes": ("cmaes",)}
"""The optional packages a sampler needs; the extra of mfbench that installs them has the name of the sampler.

Optuna also runs without greenlet, but its proposals then differ in their last digits.
"""

ENOUGH = 20
"""The number of trials below which the audit does not say which hyperparameters matter, or that more will hardly help."""

RECALLED, BEST = 500, 50
"""TPE is given all earlier trials up to RECALLED; of more, the BEST best and the latest RECALLED - BEST.

Its cost grows with them, to more than that of a short training. Little is lost: TPE takes at most 25 trials as good ones
(with two objectives a tenth of all), which are among the best, and gives the older of the others less weight anyway.
"""


class Finished(BaseModel):
    """What the search sees of a finished trial.

    values: the valid RMSE by scored epoch. train_seconds: used only if it is an objective of the sweep.
    """

    model_config = ConfigDict(frozen=True)

    outcome: str
    params: Hyper
    values: dict[int, float]
    train_seconds: float

    @staticmethod
    def of(record: Record) -> Finished:
        """Extract from the record of a trial what the search may see."""
        scored = zip(record.scores.epoch, record.scores.valid_rmse, strict=True)
        return Finished(
            outcome=record.outcome,
            params=record.hyper,
            values={e: v for e, v in scored if v is not None},
            train_seconds=record.clocks.train_seconds,
        )

    @property
    def value(self) -> float:
        """The valid RMSE of the best epoch; inf for a trial that diverged or failed, so the search avoids its region."""
        return min(self.values.values()) if self.values and self.outcome in ("completed", "pruned") else math.inf

    def objective(self, name: str) -> float:
        """The value of that objective; inf if the trial diverged or failed."""
        objectives = {"valid_rmse": self.value, "train_seconds": self.train_seconds, **self.params}
        return float(objectives[name]) if math.isfinite(self.value) else math.inf


def check_search(sweep: Sweep, backend: str, space: Space) -> None:
    """SpecError if the sampler lacks a package, or does not fit this search space or the objectives."""
    missing = [package for package in NEEDS.get(sweep.sampler, ()) if importlib.util.find_spec(package) is None]
    if missing:
        raise SpecError(
            f"sweep.sampler: {sweep.sampler} needs {' and '.join(missing)}, which this environment lacks;"
            f" run `pip install 'mfbench[{sweep.sampler}]'`"
        )
    if sweep.sampler == "cmaes" and (choices := [name for name, given in space.items() if isinstance(given, Choice)]):
        raise SpecError(
            f"sweep.sampler: cmaes searches numeric ranges only, but {choices[0]} of {backend} is a choice;"
            " use tpe, random or grid"
        )
    if "K" in sweep.objectives and space and "K" not in space:
        raise SpecError(
            f"sweep.objectives: K is an objective, but the search space of {backend} has no range of K; add one to sweep.space"
        )


def grid_points(sweep: Sweep, space: Space, seed: int) -> list[dict[str, Any]]:
    """All points of the grid over that space, in a random order determined by the seed."""
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


def propose(
    spec: Spec,
    space: Space,
    batch: int,
    size: int,
    finished: Sequence[Finished],
    own: Hyper | None = None,
    recall_all: bool = False,
) -> list[dict[str, Any]]:
    """The first `size` proposals of that batch, each with a value for every hyperparameter in `space`.

    finished: the trials of the earlier batches, in order. own: the spec's own values, as far as they lie in `space`, which
    the very first proposal has, so that a search is never worse than its spec; a grid has its points alone. The k-th proposal
    does not depend on `size`. recall_all: give TPE all trials, as earlier versions did.
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
        proposals = evolve(numbers, sweep.batch, size, [(trial.params, trial.value) for trial in finished], seed)
        if own and not finished:
            proposals[:1] = [{**params, **own} for params in proposals[:1]]
        return proposals
    if sweep.sampler == "tpe" and not recall_all:
        finished = recalled(finished, sweep.objectives)
    optuna = load_optuna()
    samplers = optuna.samplers
    sampler = {"tpe": samplers.TPESampler, "random": samplers.RandomSampler, "gp": samplers.GPSampler}[sweep.sampler](
        seed=seed
    )
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(sweep.objectives))
    distributions = distributions_of(space)
    if sweep.sampler != "random":  # which learns nothing
        study.add_trials([optuna_trial(trial, distributions, sweep.objectives, _state(trial, sweep)) for trial in finished])
    if own and not finished:
        study.enqueue_trial(own)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Clip non-finite values")  # GP replaces inf by the worst finite value
        return [dict(study.ask(distributions).params) for _ in range(size)]


def recalled(finished: Sequence[Finished], objectives: Sequence[str]) -> Sequence[Finished]:
    """The trials that TPE is given, see RECALLED, in order."""
    if len(finished) <= RECALLED:
        return finished
    latest = range(len(finished) - (RECALLED - BEST), len(finished))
    return [finished[k] for k in sorted({*_best(finished, objectives), *latest})]


def _best(finished: Sequence[Finished], objectives: Sequence[str]) -> list[int]:
    """The positions of the BEST best trials, as TPE ranks them; with two objectives, Pareto front by whole front."""
    if len(objectives) == 1:
        return sorted(range(len(finished)), key=lambda k: _rank(finished[k]))[:BEST]
    one, two = objectives
    points = {k: (trial.objective(one), trial.objective(two)) for k, trial in enumerate(finished)}
    best: list[int] = []
    while points and len(best) < BEST:
        front = undominated(points, points.__getitem__)
        best += front
        points = {k: point for k, point in points.items() if k not in front}
    return best


def _rank(trial: Finished) -> tuple[bool, int, float]:
    """The order of TPE: completed trials by value, then pruned ones, those that got farthest first."""
    if trial.outcome != "pruned":
        return False, 0, trial.value
    epoch, value = max(trial.values.items())
    return True, -epoch, value


def best_of(trials: Sequence[Record]) -> Record | None:
    """The completed trial with the lowest valid RMSE, of equals the first; None if there is none."""
    completed = [trial for trial in trials if trial.outcome == "completed" and trial.valid_rmse is not None]
    return min(completed, key=lambda trial: (trial.valid_rmse, trial.number), default=None)


def since_best(trials: Sequence[Record]) -> int:
    """The number of trials after the best one; 0 if none completed."""
    best = best_of(trials)
    return trials[-1].number - best.number if best else 0


def importance(space: Space, finished: Sequence[Finished]) -> dict[str, float] | None:
    """Hyperparameter importances, highest first, which add up to 1; None if fewer than ENOUGH trials completed.

    They are shares of what it takes for a valid RMSE in the best tenth of the completed trials, by Optuna's default,
    PED-ANOVA (Watanabe et al., IJCAI 2023), which is deterministic.
    """
    completed = [trial for trial in finished if trial.outcome == "completed"]
    if len(completed) < ENOUGH:
        return None
    optuna, distributions = load_optuna(), distributions_of(space)
    study = optuna.create_study()
    study.add_trials([optuna_trial(trial, distributions, ["valid_rmse"], "COMPLETE") for trial in completed])
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}


def distributions_of(space: Space) -> dict[str, Any]:
    """The search space as Optuna's distributions, by name."""
    kinds = load_optuna().distributions

    def distribution(given: Range) -> Any:
        if isinstance(given, Choice):
            return kinds.CategoricalDistribution(given.choice)
        kind = kinds.IntDistribution if isinstance(given, IntRange) else kinds.FloatDistribution
        return kind(*given.bounds, log=given.log)

    return {name: distribution(given) for name, given in space.items()}


def optuna_trial(trial: Finished, distributions: dict[str, Any], objectives: Sequence[str], state: str) -> Any:
    """A finished trial as Optuna's FrozenTrial with that state: COMPLETE, PRUNED, or FAIL, which has no values."""
    return _past_trial()(
        number=-1, trial_id=-1,  # the study gives it a number
        state=load_optuna().trial.TrialState[state],
        value=None, values=None if state == "FAIL" else [trial.objective(name) for name in objectives],
        datetime_start=ANY_TIME, datetime_complete=ANY_TIME,
        params={name: trial.params[name] for name in distributions}, distributions=distributions,
        user_attrs={}, system_attrs={}, intermediate_values=trial.values,
    )  # fmt: skip


@cache
def _past_trial() -> Any:
    class Past(load_optuna().trial.FrozenTrial):  # type: ignore[misc]
        """A finished trial. Optuna copies each trial that is added to a study with all that belongs to it: half its time."""

        def __deepcopy__(self, memo: Any) -> Any:
            return copy.copy(self)

    return Past


def _state(trial: Finished, sweep: Sweep) -> str:
    """The state in which the sampler sees a trial.

    A trial that diverged counts as complete with value inf, so the sampler learns to avoid it. A pruned trial stays pruned
    for TPE; GP ignores pruned trials, so for GP it counts as complete with its best value so far.
    """
    return "PRUNED" if trial.outcome == "pruned" and sweep.sampler != "gp" else "COMPLETE"


@cache
def load_optuna() -> Any:
    """Import Optuna on first use, with its info messages off."""
    import optuna  # not at the top: takes 0.3 s, too slow for `mfbench --help`

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
