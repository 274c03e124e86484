"""Proposals of hyperparameters: a pure function of the spec and the records of the finished batches.

Batch b rebuilds an in-memory study from the trials of the earlier batches, seeds the sampler from (seed, b), and samples
the whole batch at once. So the result does not depend on the number of workers, the order in which they finish, or where a
sweep was killed.
"""

from __future__ import annotations

import importlib.util
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from mfbench.core.errors import SpecError
from mfbench.core.randomness import generator, seed_for
from mfbench.search.pareto import undominated
from mfbench.search.sampling.cmaes import evolve
from mfbench.search.sampling.finished import Finished
from mfbench.search.sampling.optuna_trials import distributions_of, load_optuna, optuna_trial
from mfbench.spec import Choice, Hyper, IntRange, Range, Space, Spec, Sweep

NEEDS = {"gp": ("torch", "greenlet"), "cmaes": ("cmaes",)}
"""The optional packages a sampler needs; the extra of mfbench that installs them has the name of the sampler.

Optuna also runs without greenlet, but its proposals then differ in their last digits.
"""

RECALLED, BEST = 500, 50
"""TPE is given all earlier trials up to RECALLED; of more, the BEST best and the latest RECALLED - BEST.

Its cost grows with them, to more than that of a short training. Little is lost: TPE takes at most 25 trials as good ones
(with two objectives a tenth of all), which are among the best, and gives the older of the others less weight anyway.
"""


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


def _state(trial: Finished, sweep: Sweep) -> str:
    """The state in which the sampler sees a trial.

    A trial that diverged counts as complete with value inf, so the sampler learns to avoid it. A pruned trial stays pruned
    for TPE; GP ignores pruned trials, so for GP it counts as complete with its best value so far.
    """
    return "PRUNED" if trial.outcome == "pruned" and sweep.sampler != "gp" else "COMPLETE"
