"""One training that is to be made, and its record before it is."""

from __future__ import annotations

import time

from pydantic import BaseModel, ConfigDict

from mfbench.backends import registry
from mfbench.backends.base import Backend
from mfbench.core.paths import without_places
from mfbench.data.splits import Parts
from mfbench.runs.environment import environment
from mfbench.runs.records import Clocks, Interval, Record, RunName, Scores, write_record
from mfbench.spec import Spec


class BestTrial(BaseModel):
    """What a final run inherits of the trial that it was chosen by."""

    model_config = ConfigDict(frozen=True)

    number: int
    valid_rmse: float | None
    valid_mae: float | None
    intervals: dict[str, Interval] = {}


class Job(RunName):
    """One training to be made: where its record belongs, and its hyperparameters. spec is that of its repeat."""

    model_config = ConfigDict(frozen=True)

    spec: Spec
    K: int | None
    alpha: float | None
    beta: float | None
    epochs: int
    best: BestTrial | None = None


def backend_of(spec: Spec, name: str) -> Backend:
    """The backend of that name with the knobs that the spec gives it; SpecError for a name or a knob that is not known."""
    for known in spec.model.options:
        registry.resolve(known, spec.model.options[known])  # also those that are not asked for: a typo must not pass
    return registry.resolve(name, spec.model.options.get(name, {}))


def blank(job: Job, parts: Parts) -> Record:
    """The record of a job before its training."""
    now = time.time()
    return Record(
        study=job.study,
        backend=job.backend,
        number=job.number,
        stage=job.stage,
        repeat=job.repeat,
        outcome="completed",
        spec=job.spec.model_dump(mode="json"),
        options={},
        backend_digest=registry.digest(job.backend),
        K=job.K,
        alpha=job.alpha,
        beta=job.beta,
        planned_epochs=job.epochs,
        epochs=0,
        scores=Scores(),
        best_trial=job.best.number if job.best else None,
        data=parts.described(),
        clocks=Clocks(),
        environment=environment(),
        started=now,
        ended=now,
    )


def failed(job: Job, parts: Parts, reason: str) -> Record:
    """The record of a job that failed, with the reason."""
    record = blank(job, parts)
    record.outcome, record.reason = "failed", without_places(reason)
    return record


def give_up(job: Job, parts: Parts, reason: str) -> Record:
    """Write the record of a job that failed."""
    record = failed(job, parts, reason)
    write_record(record)
    return record
