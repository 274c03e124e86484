"""`run`: one training of a spec's model, and its result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mfbench.backends.base import Distributed
from mfbench.core.errors import SpecError
from mfbench.core.machine import leads, processes
from mfbench.data.files.frames import with_frames_kept
from mfbench.data.splits import parts_of
from mfbench.models.evaluation import none_relevant
from mfbench.models.own_metrics import own_metrics
from mfbench.models.trained import TrainedModel
from mfbench.report.filled import MOST_SHOWN, given_and_filled
from mfbench.report.leaderboard import Row, rows
from mfbench.runs.distributed.checkpoints import Checkpoints
from mfbench.runs.jobs import Job, backend_of, job_of
from mfbench.runs.preparation import check_jobs
from mfbench.runs.record_files import model_path
from mfbench.runs.records import METRICS, Record
from mfbench.runs.repeats import mean_of
from mfbench.runs.training import train_and_record
from mfbench.spec import FIRST, SpecSource, load_spec, run_study_key
from mfbench.tracking.export import watched

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


@dataclass(frozen=True, repr=False)
class RunResult:
    """The records of a run, one per fold of a k-fold split, and their MLflow run ids by run key."""

    records: list[Record]
    run_ids: dict[str, str]

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4f}" for name in METRICS if (value := getattr(self.record, name)) is not None)
        return f"<run {self.record.run_key}: {self.record.outcome}, {scores or 'no scores'}>"

    def to_frame(self) -> pd.DataFrame:
        """The learning curves, one row per scored epoch; for several folds the means."""
        import pandas as pd

        return pd.DataFrame({name: values for name, values in self.record.scores.model_dump().items() if values})

    @cached_property
    def record(self) -> Record:
        """The run's record; for several folds their mean (see `repeats.mean_of`)."""
        return mean_of(self.records)

    @property
    def run_id(self) -> str | None:
        """Its MLflow run id, for several folds that of the first; None if the export failed."""
        return self.run_ids.get(self.record.run_key)

    def leaderboard(self) -> list[Row]:
        """The leaderboard of this run alone, one row."""
        return rows([self.record], {}, self.run_ids)

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints.

        For several folds it has the means, with `valid_rmse_ci95` and the like (half the width of the 95 % confidence
        interval), and the runs themselves in `repeats`.
        """
        summary = self._summary_of(self.record)
        if len(self.records) > 1:
            summary |= {f"{name}_ci95": interval.half_width for name, interval in self.record.intervals.items()}
            summary["repeats"] = [self._summary_of(record) for record in self.records]
        return summary

    def _summary_of(self, record: Record) -> dict[str, Any]:
        names = ("run_key", "outcome", "reason", "backend", *FIRST, "epochs", "best_epoch", *METRICS)
        return {
            "run_id": self.run_ids.get(record.run_key),
            **{name: getattr(record, name) for name in names},
            "evaluation": record.evaluation,
            "factors_digest": record.factors_digest,
            **record.clocks.model_dump(),
        }

    def given_and_filled(self) -> list[Table]:
        """The given matrix and the filled-in one, to print; empty unless both are small, see `filled.given_and_filled`."""
        first = self.records[0]
        if len(self.records) > 1 or max(first.data.n_users, first.data.n_items) > MOST_SHOWN:
            return []
        return given_and_filled(first, parts_of(first.spec))

    def model(self, repeat: int = 0) -> TrainedModel:
        """The trained model, to predict with; RecordError if the run did not complete, or its model has no factors.

        repeat: which fold's model, counted from 0.
        """
        record = self.records[repeat]
        return TrainedModel.read(model_path(record.path), record.factors_digest, (record.beta or 0.0) / 2)


def run(spec: SpecSource, changes: Iterable[str] = (), data: Any = None) -> RunResult:
    """Train the spec's model once on train, and score it on train and valid; the test part stays sealed.

    With a k-fold split there is one training on each fold, or only on the fold that the split names.
    spec: a YAML file, a mapping or a Spec. changes: to the spec, e.g. `model.K=32`. data: if given, the data section instead
    of the spec's, or a DataFrame with the columns user, item and rating; in a mapping it may be one too. A DataFrame is kept
    as a file, see `mfbench.data.files.frames`. InputError if one of these is invalid.

    >>> import mfbench
    >>> spec = {
    ...     "name": "example",
    ...     "data": {"planted": {"users": 60, "items": 80, "ratings": 2000}},  # generated ratings
    ...     "split": {"kind": "random", "valid": 0.1, "test": 0.1},
    ...     "model": {"backend": "loop", "K": 4, "alpha": 0.02, "epochs": 10, "center": True, "bias": True},
    ... }
    >>> result = mfbench.run(spec, ["model.K=8"])
    >>> result.record.outcome, result.record.K, round(result.record.valid_rmse)
    ('completed', 8, 1)
    >>> result.record.run_key  # doctest: +ELLIPSIS
    'example-.../loop/0/run'
    """
    checked = load_spec(*with_frames_kept(spec, changes, data))
    study, backend = run_study_key(checked), checked.model.backend
    trainer = backend_of(checked.model, backend)
    if processes() > 1 and not (isinstance(trainer, Distributed) and trainer.is_distributed):
        raise SpecError(
            f"--processes: {backend} trains in one process; set model.backend=jax and model.options.jax.schedule=ring"
        )
    own_metrics(checked.evaluation, check=True)
    jobs = [job_of(checked, study, backend, "run", repeat=r) for r in range(checked.folds)]
    parts = [parts_of(job.spec) for job in jobs]
    check_jobs(jobs, parts[0])
    if not leads():
        return RunResult(
            [record for job, part in zip(jobs, parts, strict=True) for record in train_and_record([job], part)], {}
        )
    with watched(checked.name) as (watcher, export):
        watcher.say(parts[0].says)
        for sentence in none_relevant(checked.evaluation, parts[0].highest) if "valid" in parts[0].n else []:
            watcher.say(sentence)
        watcher.expect({backend: len(jobs)})
        watcher.trains()
        records: list[Record] = []

        def watch(job: Job, epoch: int, value: float) -> bool:
            watcher.epoch(job, epoch, value)
            return False

        for job, folder in zip(jobs, parts, strict=True):
            if done := Checkpoints(job, folder).done:
                watcher.say(f"{job.run_key}: going on from its checkpoint after epoch {done} of {job.epochs}")
            (record,) = train_and_record([job], folder, watch)
            records.append(record)
            watcher.done(record)
            if record.outcome == "completed" and record.epochs < record.planned_epochs:
                watcher.say(
                    f"{record.run_key}: stopped after {record.epochs} of {record.planned_epochs} epochs, because the last"
                    f" {job.patience} evaluations did not lower the valid RMSE; the model is that of epoch {record.best_epoch}"
                )
    return RunResult(records, dict(export.run_ids))
