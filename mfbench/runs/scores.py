"""The scores of a training by epoch, and which epoch is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from mfbench.core.objective import Objective

CURVES = ("train_rmse", "train_mae", "valid_rmse", "valid_mae")
"""The metrics that are scored after an epoch."""


class Scores(BaseModel):
    """The scored epochs of a training; entry j of each list belongs to epoch `epoch[j]`.

    None stands for a value that is not finite or was not computed; the lists of a part that the split lacks are empty.
    objective: the values of the objective of the sweep; empty if that is one of the other lists. train_seconds: the training
    time up to that epoch, without scoring.
    """

    model_config = ConfigDict(extra="forbid")

    epoch: list[int] = []
    train_rmse: list[float | None] = []
    train_mae: list[float | None] = []
    valid_rmse: list[float | None] = []
    valid_mae: list[float | None] = []
    objective: list[float | None] = []
    train_seconds: list[float] = []

    def add(self, epoch: int, train_seconds: float, score: Mapping[str, float | None]) -> None:
        """Append a scored epoch. score: by metric name, with the same names each time."""
        self.epoch.append(epoch)
        self.train_seconds.append(train_seconds)
        for name, value in score.items():
            getattr(self, name).append(value if value is not None and math.isfinite(value) else None)

    def of(self, metric: str) -> list[float | None]:
        """The curve of a metric: one of CURVES, or else the objective."""
        values: list[float | None] = getattr(self, metric) if metric in CURVES else self.objective
        return values

    def best(self, objective: Objective) -> int | None:
        """The index of the best scored epoch, by that objective, or by train RMSE if valid was not scored."""
        curve = self.of(objective.name)
        judged = [objective.cost(value) for value in curve] or [Objective().cost(value) for value in self.train_rmse]
        return judged.index(min(judged)) if judged else None

    def since_best(self, objective: Objective) -> int:
        """The number of scored epochs after the best one."""
        best = self.best(objective)
        return len(self.epoch) - 1 - best if best is not None else 0
