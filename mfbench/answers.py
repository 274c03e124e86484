"""What a call answers: the records of a run or a sweep, their ids in MLflow, and what `--json` prints of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mfbench.audit import Audit, audit
from mfbench.leaderboard import COMPARED, Row, rows
from mfbench.model_files import model_path
from mfbench.pareto import front
from mfbench.records import Record
from mfbench.repeats import mean_of
from mfbench.swept import Swept
from mfbench.trained_model import TrainedModel


@dataclass(frozen=True)
class RunResult:
    """A run: its record, or one for each fold that it was made on, and their ids in MLflow by run key."""

    records: list[Record]
    run_ids: dict[str, str]

    @cached_property
    def record(self) -> Record:
        """The run's record; of several, their mean (see `repeats.mean_of`)."""
        return mean_of(self.records)

    @property
    def run_id(self) -> str | None:
        """Its id in MLflow, of several runs the first's; None where the export did not get through."""
        return self.run_ids.get(self.record.run_key)

    def leaderboard(self) -> list[Row]:
        """Its one row."""
        return rows([self.record], {}, self.run_ids)

    def summary(self) -> dict[str, Any]:
        """What `--json` prints; of several runs the mean, with `valid_rmse_ci95` and the like, and each in `repeats`."""
        told = self._told(self.record)
        if len(self.records) > 1:
            told |= {f"{name}_ci95": interval.half_width for name, interval in self.record.intervals.items()}
            told["repeats"] = [self._told(record) for record in self.records]
        return told

    def _told(self, record: Record) -> dict[str, Any]:
        names = ("run_key", "outcome", "reason", "backend", "K", "alpha", "beta", "epochs", "best_epoch")
        metrics = ("train_rmse", "train_mae", "valid_rmse", "valid_mae", "test_rmse", "test_mae")
        return {
            "run_id": self.run_ids.get(record.run_key),
            **{name: getattr(record, name) for name in (*names, *metrics)},
            "evaluation": record.evaluation,
            "factors_digest": record.factors_digest,
            **record.clocks.model_dump(),
        }

    def model(self, repeat: int = 0) -> TrainedModel:
        """The model of a run that completed: factors and ids, to predict with; RecordError where it has none.

        repeat: which one, where the run was made on several folds.
        """
        record = self.records[repeat]
        return TrainedModel.read(model_path(record.path), record.factors_digest)


@dataclass(frozen=True)
class SweepResult:
    """A sweep: its trials and finals, and the ids of its runs in MLflow by run key."""

    swept: Swept
    run_ids: dict[str, str]

    def leaderboard(self) -> list[Row]:
        """The final runs and floors, best valid RMSE first."""
        return rows(self.swept.finals, self.swept.trials, self.run_ids)

    def pareto(self) -> list[dict[str, Any]] | None:
        """The Pareto front of all trials, see `mfbench.pareto.front`; None with one objective."""
        return front([trial for trials in self.swept.trials.values() for trial in trials])

    @cached_property
    def audit(self) -> Audit:
        """What the search says about itself."""
        return audit([trial for trials in self.swept.trials.values() for trial in trials])

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        shown = (
            "backend", "run_key", "run_id", "K", "alpha", "beta", "epochs", "valid_rmse", "valid_mae", "test_rmse", "test_mae",
            "train_seconds",
        )  # fmt: skip
        sweep = self.swept.spec.sweep
        evaluations = {record.run_key: record.evaluation for record in self.swept.finals}
        return {
            "study": self.swept.study,
            "trials": sweep.trials if sweep else 0,
            "finished": {backend: len(trials) for backend, trials in self.swept.trials.items()},
            "finals": [{**_those(row.told(), shown), "evaluation": evaluations[row.run_key]} for row in self.leaderboard()],
            "oracle": self.swept.oracle,
            "pareto": self.pareto(),
            "test_openings": len(self.audit.openings),
            "audit": self.audit.summary(),
        }


def _those(told: Mapping[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    """What is shown, over how many repeats each mean is taken, how sure it is, and how it compares with the best."""
    more = [name for name in told if name.endswith("_ci95") or name in ("repeats", "finals", *COMPARED)]
    return {name: told[name] for name in (*shown, *more)}
