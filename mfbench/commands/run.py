"""A run, as it is asked for and answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mfbench.data.splits import parts_of
from mfbench.models.evaluation import none_relevant
from mfbench.models.trained import TrainedModel
from mfbench.report.leaderboard import Row, rows
from mfbench.runs.jobs import Job, backend_of, job_of
from mfbench.runs.record_files import model_path
from mfbench.runs.records import METRICS, Record
from mfbench.runs.repeats import mean_of
from mfbench.runs.training import train_and_record
from mfbench.spec import FIRST, SpecSource, load_spec, run_study_key
from mfbench.tracking.export import watched


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
        names = ("run_key", "outcome", "reason", "backend", *FIRST, "epochs", "best_epoch", *METRICS)
        return {
            "run_id": self.run_ids.get(record.run_key),
            **{name: getattr(record, name) for name in names},
            "evaluation": record.evaluation,
            "factors_digest": record.factors_digest,
            **record.clocks.model_dump(),
        }

    def model(self, repeat: int = 0) -> TrainedModel:
        """The model of a run that completed: factors and ids, to predict with; RecordError where it has none.

        repeat: which one, where the run was made on several folds.
        """
        record = self.records[repeat]
        return TrainedModel.read(model_path(record.path), record.factors_digest, (record.beta or 0.0) / 2)


def run(spec: SpecSource, changes: Iterable[str] = ()) -> RunResult:
    """One run of the spec's model: trained on train, scored on train and valid; the test part stays sealed.

    Of a k-fold split it is one on each fold, or on the fold that the split names.
    spec: a file, a mapping or a Spec; changes: like `model.K=32`. InputError says what is wrong with them.
    """
    checked = load_spec(spec, changes)
    study, backend = run_study_key(checked), checked.model.backend
    backend_of(checked.model, backend)
    jobs = [job_of(checked, study, backend, "run", repeat=r) for r in range(checked.folds)]
    parts = [parts_of(job.spec) for job in jobs]
    with watched(checked.name) as (watcher, export):
        for sentence in none_relevant(checked.evaluation, parts[0].highest) if "valid" in parts[0].n else []:
            watcher.say(sentence)
        watcher.study(backend, len(jobs))
        records = []

        def watch(job: Job, epoch: int, value: float) -> bool:
            watcher.epoch(job, epoch, value)
            return False

        for job, folder in zip(jobs, parts, strict=True):
            records += train_and_record([job], folder, watch)
            watcher.done(records[-1])
    return RunResult(records, dict(export.run_ids))
