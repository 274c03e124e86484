"""Finished trials, as the search sees them, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from mfbench.runs.records import Record
from mfbench.spec import Hyper


class Finished(BaseModel):
    """What the search sees of a finished trial.

    values: the cost by scored epoch, the objective as it is minimized (see `Objective.cost`). train_seconds: used only if it
    is the second objective of the sweep.
    """

    model_config = ConfigDict(frozen=True)

    outcome: str
    params: Hyper
    values: dict[int, float]
    train_seconds: float

    @staticmethod
    def of(record: Record) -> Finished:
        """Extract from the record of a trial what the search may see."""
        objective = record.objective
        scored = zip(record.scores.epoch, record.scores.of(objective.name), strict=True)
        return Finished(
            outcome=record.outcome,
            params=record.hyper,
            values={e: objective.cost(v) for e, v in scored if v is not None},
            train_seconds=record.clocks.train_seconds,
        )

    @property
    def value(self) -> float:
        """The cost of the best epoch; inf for a trial that diverged or failed, so the search avoids its region."""
        return min(self.values.values()) if self.values and self.outcome in ("completed", "pruned") else math.inf

    def objective(self, name: str) -> float:
        """The value of that objective of the sweep, minimized; inf if the trial diverged or failed."""
        second = {"train_seconds": self.train_seconds, **self.params}
        return float(second.get(name, self.value)) if math.isfinite(self.value) else math.inf


def best_of(trials: Sequence[Record]) -> Record | None:
    """The completed trial with the best value of its objective, of equals the first; None if there is none."""
    completed = [trial for trial in trials if trial.outcome == "completed" and trial.judged is not None]
    return min(completed, key=lambda trial: (trial.cost, trial.number), default=None)


def since_best(trials: Sequence[Record]) -> int:
    """The number of trials after the best one; 0 if none completed."""
    best = best_of(trials)
    return trials[-1].number - best.number if best else 0
