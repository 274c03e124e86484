"""Finished trials, as the search sees them, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from mfbench.runs.records import Record
from mfbench.spec import Hyper


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


def best_of(trials: Sequence[Record]) -> Record | None:
    """The completed trial with the lowest valid RMSE, of equals the first; None if there is none."""
    completed = [trial for trial in trials if trial.outcome == "completed" and trial.valid_rmse is not None]
    return min(completed, key=lambda trial: (trial.valid_rmse, trial.number), default=None)


def since_best(trials: Sequence[Record]) -> int:
    """The number of trials after the best one; 0 if none completed."""
    best = best_of(trials)
    return trials[-1].number - best.number if best else 0
