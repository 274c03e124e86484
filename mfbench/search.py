"""The search: a pure function of the spec and the records of the finished batches. Optuna's only home.

Batch b rebuilds an in-memory study from the trials of the batches before it, seeds the sampler from (seed, b), and asks for
the whole batch at once. So it cannot matter how many workers there are, in which order they finish, or where a sweep was
killed. Pruning reports into the same frozen study, so it cannot depend on timing either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from mfbench.randomness import seed_for
from mfbench.records import Record
from mfbench.spec import FloatRange, IntRange, Space, Spec

WARMUP_SHARE = 0.25
"""No trial is pruned in the first quarter of its epochs: small steps start slowly and may still win."""


class Finished(BaseModel):
    """What the search knows of a finished trial: its hyperparameters, and its valid RMSE by scored epoch."""

    model_config = ConfigDict(frozen=True)

    outcome: str
    params: dict[str, int | float]
    values: dict[int, float]

    @staticmethod
    def of(record: Record) -> Finished:
        """The part of a trial's record that the search may see."""
        params = {name: value for name in ("K", "alpha", "beta") if (value := getattr(record, name)) is not None}
        scored = zip(record.scores.epoch, record.scores.valid_rmse, strict=True)
        return Finished(outcome=record.outcome, params=params, values={e: v for e, v in scored if v is not None})

    @property
    def value(self) -> float:
        """The best scored epoch's valid RMSE; inf for a trial that diverged or failed, so that the search avoids its like."""
        return min(self.values.values()) if self.values and self.outcome in ("completed", "pruned") else math.inf


def propose(spec: Spec, space: Space, batch: int, size: int, finished: Sequence[Finished]) -> list[dict[str, Any]]:
    """The first `size` proposals of that batch, each the hyperparameters that `space` ranges over.

    `finished` are the trials of the batches before it, in order; the k-th proposal does not depend on `size`.
    """
    optuna = _optuna()
    seed = int(seed_for(spec.model.seed, "sampler", batch).generate_state(1)[0])
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    distributions = _distributions(space)
    study.add_trials([_told(trial, distributions) for trial in finished])
    return [dict(study.ask(distributions).params) for _ in range(size)]


class Pruning:
    """Says when a trial may stop early, by what the finished batches did at the same epoch."""

    def __init__(self, kind: str, space: Space, epochs: int, finished: Sequence[Finished]):
        optuna = _optuna()
        warmup = math.ceil(epochs * WARMUP_SHARE)
        pruners = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup, n_min_trials=5),
            "none": optuna.pruners.NopPruner,
        }
        self._study = optuna.create_study(pruner=pruners[kind]())
        distributions = _distributions(space)
        self._study.add_trials([_told(trial, distributions) for trial in finished])
        self._trial = self._study.ask()

    def __call__(self, epoch: int, value: float) -> bool:
        """Whether a trial with this valid RMSE after this epoch should stop."""
        self._trial.report(value, epoch)
        return bool(self._trial.should_prune())


def _distributions(space: Space) -> dict[str, Any]:
    kinds = _optuna().distributions

    def distribution(given: IntRange | FloatRange) -> Any:
        if isinstance(given, IntRange):
            return kinds.IntDistribution(*given.int, log=given.log)
        return kinds.FloatDistribution(*given.float, log=given.log)

    return {name: distribution(given) for name, given in space if given is not None}


def _told(trial: Finished, distributions: dict[str, Any]) -> Any:
    """A finished trial as Optuna holds it; one that diverged is complete with the value inf, which TPE learns from."""
    optuna = _optuna()
    pruned = trial.outcome == "pruned"
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
        value=trial.value,
        params={name: trial.params[name] for name in distributions},
        distributions=distributions,
        intermediate_values=trial.values,
    )


def _optuna() -> Any:
    import optuna  # here and not above: 0.3 s that `mfbench --help` must not pay

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
