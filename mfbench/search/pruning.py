"""Pruning: whether a trial may stop early, by what the finished batches did.

A trial reports into a study that shows the trials of the finished batches alone, so that it cannot depend on the trials
that happen to run beside it, nor on how far they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from mfbench.search.proposals import Finished, load_optuna

WARMUP_SHARE = 0.25
"""No trial is pruned in the first quarter of its epochs: small steps start slowly and may still win."""
REDUCTION = 3
"""Hyperband's rungs are the warm-up times its powers."""


class Prune(BaseModel):
    """What the trials of a batch are pruned by; `study` is any text that tells this batch's study from others.

    batch: the number of trials of a whole batch; finished: those of the batches before, in order.
    """

    study: str
    kind: str
    epochs: int
    batch: int
    finished: list[Finished]


class Pruning:
    """Watches over the trials of one batch."""

    def __init__(self, prune: Prune):
        self._prune = prune
        self._begin()

    def watch(self, number: int) -> Callable[[int, float], bool]:
        """For the trial of that number: whether it should stop, told each scored epoch and the valid RMSE after it."""
        if number in self._watched:  # it runs again, and what it reported before must not count
            self._begin()
        self._watched.add(number)
        while number not in self._trials:
            asked = self._study.ask()
            self._trials[asked.number] = asked
        trial = self._trials[number]

        def should_stop(epoch: int, value: float) -> bool:
            trial.report(value, epoch)
            return bool(trial.should_prune())

        return should_stop

    def _begin(self) -> None:
        """Make the frozen study."""
        optuna, prune, storage = load_optuna(), self._prune, _storage()
        warmup = math.ceil(prune.epochs * WARMUP_SHARE)
        pruners = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup, n_min_trials=5),
            "hyperband": lambda: optuna.pruners.HyperbandPruner(
                min_resource=warmup, max_resource=prune.epochs, reduction_factor=REDUCTION
            ),
        }
        # Hyperband draws a trial's bracket from the study's name and the trial's number.
        self._study = optuna.create_study(study_name="trials", storage=storage, pruner=pruners[prune.kind]())
        self._trials: dict[int, Any] = {}
        self._watched: set[int] = set()
        for number, trial in enumerate(prune.finished):
            # As when it ran: before its batch, and with the questions by which Hyperband keeps who reached which rung.
            storage.shown = number - number % prune.batch
            told = self._study.ask()
            rungs = _rungs(warmup, trial.values) if prune.kind == "hyperband" else set()
            for epoch, value in trial.values.items():
                told.report(value, epoch)
                if epoch in rungs:
                    told.should_prune()
            pruned = trial.outcome == "pruned"
            self._study.tell(told, None if pruned else trial.value, state=_state(pruned))
        storage.shown = len(prune.finished)


def _rungs(first: int, epochs: Iterable[int]) -> set[int]:
    """Those of the scored epochs at which a trial comes to a rung of any bracket: at the others Hyperband keeps nothing."""
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
    """Optuna's memory, of which only the first `shown` trials are seen."""

    class Frozen(load_optuna().storages.InMemoryStorage):  # type: ignore[misc]
        shown = 0

        def get_all_trials(self, *given: Any, **named: Any) -> list[Any]:
            return [trial for trial in super().get_all_trials(*given, **named) if trial.number < self.shown]

    return Frozen()
