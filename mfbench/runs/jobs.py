"""Jobs: trainings to carry out, and the blank records that they start from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from mfbench.backends import registry
from mfbench.backends.base import Backend, HasDevice
from mfbench.core.objective import Objective
from mfbench.core.paths import without_places
from mfbench.data.splits import Parts
from mfbench.models.own_metrics import objective_of, own_metrics
from mfbench.runs.environment import environment
from mfbench.runs.record_files import write_record
from mfbench.runs.records import Clocks, Interval, MetricCode, Record, RunName, Stage
from mfbench.runs.scores import Scores
from mfbench.spec import FIRST, Hyper, ModelSpec, Spec, Value, ordered

PATIENCE = 10
"""The patience of the trials of a sweep whose pruner is `patience`, if the model sets none."""


class BestTrial(BaseModel):
    """What a final run inherits from the best trial, whose hyperparameters it uses.

    judged: its objective by name, if that is neither RMSE nor MAE.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    valid_rmse: float | None
    valid_mae: float | None
    judged: dict[str, float | int | None] = {}
    intervals: dict[str, Interval] = {}


class Job(RunName):
    """One training to carry out: the name of its run, the spec of its repeat, hyper and proposal as in `Record`."""

    model_config = ConfigDict(frozen=True)

    spec: Spec
    hyper: Hyper
    epochs: int
    best: BestTrial | None = None
    proposal: str | None = None

    @cached_property
    def model(self) -> ModelSpec:
        """The spec's model with the job's own hyperparameters."""
        return self.spec.model.with_hyper(self.backend, self.hyper)

    @cached_property
    def trainer(self) -> Backend:
        """The backend with its knobs, including those that are searched."""
        return backend_of(self.model, self.backend)

    @cached_property
    def objective(self) -> Objective:
        """The objective of the sweep; of a plain run, which belongs to none, the valid RMSE."""
        return Objective() if self.stage == "run" else objective_of(self.spec)

    def own_metrics(self) -> dict[str, MetricCode]:
        """The code of the user's own metrics that the run computes, by name; of a trial only that of its objective."""
        objective, found = self.objective.name.removeprefix("valid_"), own_metrics(self.spec.evaluation)
        return {
            one.name: MetricCode(code=one.target, digest=one.digest, higher_is_better=one.higher_is_better)
            for one in found
            if self.stage != "trial" or one.name == objective
        }

    @property
    def patience(self) -> int | None:
        """The number of evaluations without a better value of the objective after which training stops; None: never."""
        sweep = self.spec.sweep
        stops = self.stage == "trial" and sweep is not None and sweep.pruner == "patience"
        return self.model.patience or (PATIENCE if stops else None)


def job_of(
    spec: Spec,
    study: str,
    backend: str,
    stage: Stage,
    number: int = 0,
    repeat: int = 0,
    changes: Mapping[str, Value] | None = None,
    epochs: int | None = None,
    best: BestTrial | None = None,
    proposal: str | None = None,
) -> Job:
    """The job for the spec's model with these changes to its hyperparameters.

    spec: of the whole study; the job gets the spec of its repeat. epochs: by default those of the spec, or 1 for a floor
    and for a backend without epochs.
    """
    tunable = registry.tunable(backend)
    has_epochs = bool(tunable) and not registry.in_one_go(backend)
    values = {name: getattr(spec.model, name) for name in FIRST} | dict(changes or {})
    hyper = {name: values[name] for name in ordered(values) if name in tunable or name not in FIRST}
    return Job(
        study=study, backend=backend, number=number, stage=stage, repeat=repeat, spec=spec.repeat(repeat), hyper=hyper,
        epochs=epochs or (spec.model.epochs if has_epochs else 1), best=best, proposal=proposal,
    )  # fmt: skip


def backend_of(model: ModelSpec, name: str) -> Backend:
    """The backend of that name with its knobs from `model.options`; SpecError for an unknown name or knob."""
    for known in model.options:
        registry.resolve(known, model.options[known])  # check the options of all backends, so that no typo passes
    return registry.resolve(name, model.options.get(name, {}))


def blank(job: Job, parts: Parts) -> Record:
    """The record of a job before its training, to be filled in."""
    now = time.time()
    return Record(
        **job.names,
        outcome="completed",
        spec=job.spec,
        options={},
        backend_digest=registry.digest(job.backend),
        hyper=job.hyper,
        proposal=job.proposal,
        objective=job.objective,
        own_metrics=job.own_metrics(),
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


def hardware(backend: Backend) -> dict[str, str]:
    """The backend's own description of its device; the CPU if it has none (see `HasDevice`)."""
    return dict(backend.hardware) if isinstance(backend, HasDevice) else {"platform": "cpu"}


def failed(job: Job, parts: Parts, reason: str) -> Record:
    """The record of a job that failed, with the reason; paths of this machine are removed from it."""
    record = blank(job, parts)
    record.outcome, record.reason = "failed", without_places(reason)
    return record


def give_up(job: Job, parts: Parts, reason: str) -> Record:
    """Write and return the record of a job that failed."""
    record = failed(job, parts, reason)
    write_record(record)
    return record
