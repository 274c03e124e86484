"""One training of a spec, and its record."""

from __future__ import annotations

from typing import Any

from mfbench.data.splits import parts_of
from mfbench.runs.jobs import BestTrial, Job, job_of
from mfbench.runs.records import Record, Stage
from mfbench.runs.training import train_and_record
from mfbench.spec import SpecSource, load_spec


def job(spec: SpecSource, backend: str = "loop", stage: Stage = "run", number: int = 0, **changes: Any) -> Job:
    """A training to be made, with K 3, alpha 0.01 and beta 0.05 where the changes do not say otherwise."""
    best = BestTrial(number=0, valid_rmse=0.9, valid_mae=0.8) if stage == "final" else None
    hyper = {"K": 3, "alpha": 0.01, "beta": 0.05, **changes}
    return job_of(load_spec(spec), "small-1", backend, stage, number, changes=hyper, best=best)


def made(spec: SpecSource, *given: Any, watch: Any = None, **changes: Any) -> Record:
    """The record of that training, now made."""
    one = job(spec, *given, **changes)
    (record,) = train_and_record([one], parts_of(one.spec), watch)
    return record
