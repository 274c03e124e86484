"""Pruning: whether to stop a trial early, compared with the trials of the finished batches.

A trial reports to a study in which only the trials of finished batches are visible, so the decision cannot depend on the
trials that run at the same time, nor on their progress. A new pruner goes here, and its name into `spec.sweep.Sweep.pruner`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from mfbench.search.sampling.finished import Finished
from mfbench.search.sampling.optuna_trials import load_optuna

WARMUP_SHARE = 0.25
"""No trial is pruned in the first quarter of its epochs: small learning rates start slowly but may end best."""
REDUCTION = 3
"""Hyperband's rungs are the warm-up epochs times the powers of this factor."""


class Prune(BaseModel):
    """What a worker needs to prune the trials of a batch.

    study: any text that identifies the study. kind: the pruner, median or hyperband. epochs: of a full trial. batch: the
    number of trials in a full batch. finished: the trials of the earlier batches, in order.
    """

    study: str
    kind: str
    epochs: int
    batch: int
    finished: list[Finished]


class Pruning:
    """Prunes the trials of one batch."""

    def __init__(self, prune: Prune):
        self._prune = prune
        self._begin()

    def watch(self, number: int) -> Callable[[int, float], bool]:
        """A function of a scored epoch and the cost there, which says whether the trial of that number should stop.

        The cost is the value of the objective as it is minimized, see `Objective.cost`.
        """
        if number in self._watched:  # the trial is run again: discard what it reported before
            self._begin()
        self._watched.add(number)
        while number not in self._trials:
            trial = self._study.ask()
            self._trials[trial.number] = trial
        trial = self._trials[number]

        def should_stop(epoch: int, value: float) -> bool:
            trial.report(value, epoch)
            return bool(trial.should_prune())

        return should_stop

    def _begin(self) -> None:
        """Create the study and replay the finished trials into it."""
        optuna, prune, storage = load_optuna(), self._prune, _storage()
        warmup = math.ceil(prune.epochs * WARMUP_SHARE)
        pruners = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup, n_min_trials=5),
            "hyperband": lambda: optuna.pruners.HyperbandPruner(
                min_resource=warmup, max_resource=prune.epochs, reduction_factor=REDUCTION
            ),
        }
        # Hyperband derives a trial's bracket from the name of the study and the number of the trial.
        self._study = optuna.create_study(study_name="trials", storage=storage, pruner=pruners[prune.kind]())
        self._trials: dict[int, Any] = {}
        self._watched: set[int] = set()
        for number, trial in enumerate(prune.finished):
            # Replay it as it ran: with only earlier batches visible, and calling should_prune at the rungs, because it is in
            # this call that Hyperband stores which rung a trial has reached.
            storage.shown = number - number % prune.batch
            replayed = self._study.ask()
            rungs = _rungs(warmup, trial.values) if prune.kind == "hyperband" else set()
            for epoch, value in trial.values.items():
                replayed.report(value, epoch)
                if epoch in rungs:
                    replayed.should_prune()
            pruned = trial.outcome == "pruned"
            self._study.tell(replayed, None if pruned else trial.value, state=_state(pruned))
        storage.shown = len(prune.finished)


def _rungs(first: int, epochs: Iterable[int]) -> set[int]:
    """The scored epochs at which a trial reaches a rung of some bracket; Hyperband stores nothing at the others."""
    reached, rung = set(), first
    for epoch in sorted(epochs):
        if epoch >= rung:
            reached.add(epoch)
        while epoch >= rung:
            rung *= REDUCTION
    return reached


def _state(pruned: bool) -> Any:
    states = load_optuna().trial.TrialState
    return states.PRUNED if pruned else states.COMPLETE


def _storage() -> Any:
    """Optuna's in-memory storage, restricted to the first `shown` trials."""

    class Frozen(load_optuna().storages.InMemoryStorage):  # type: ignore[misc]
        shown = 0

        def get_all_trials(self, *args: Any, **kwargs: Any) -> list[Any]:
            return [trial for trial in super().get_all_trials(*args, **kwargs) if trial.number < self.shown]

    return Frozen()
