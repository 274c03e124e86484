"""Optuna's view of a search: its distributions and trials, and its importances. No other module imports Optuna."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from mfbench.search.sampling.finished import Finished
from mfbench.spec import Choice, IntRange, Range, Space

ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # of a finished trial: Optuna requires it, and no sampler uses it

OBJECTIVE = "the objective"  # no name of a hyperparameter, see `Finished.objective`

ENOUGH = 20
"""The number of trials below which the audit does not say which hyperparameters matter, or that more will hardly help."""


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


@cache
def load_optuna() -> Any:
    """Import Optuna on first use, with its info messages off."""
    import optuna  # not at the top: takes 0.3 s, too slow for `mfbench --help`

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def importance(space: Space, finished: Sequence[Finished]) -> dict[str, float] | None:
    """Hyperparameter importances, highest first, which add up to 1; None if fewer than ENOUGH trials completed.

    They are shares of what it takes to be among the best tenth of the completed trials, by Optuna's default, PED-ANOVA
    (Watanabe et al., IJCAI 2023), which is deterministic.
    """
    completed = [trial for trial in finished if trial.outcome == "completed"]
    if len(completed) < ENOUGH:
        return None
    optuna, distributions = load_optuna(), distributions_of(space)
    study = optuna.create_study()
    study.add_trials([optuna_trial(trial, distributions, [OBJECTIVE], "COMPLETE") for trial in completed])
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}
