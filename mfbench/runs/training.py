"""One training from start to record: the loop over epochs, its clocks, its outcome."""

from __future__ import annotations

import copy
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mfbench.backends import registry
from mfbench.backends.base import Backend, HasDevice, Model, SideBySide, SideBySideTraining
from mfbench.core.arrays import Array
from mfbench.core.errors import MfbenchError, is_disk_full
from mfbench.core.files import write_model, write_whole
from mfbench.core.machine import Memory
from mfbench.core.randomness import generator
from mfbench.data.sealed import open_test
from mfbench.data.splits import Parts
from mfbench.matrix.factors import Factors, HyperParams, digest_of, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.models.evaluation import evaluate, user_errors
from mfbench.models.scoring import score
from mfbench.runs.checkout import kept_changes
from mfbench.runs.jobs import Job, backend_of, blank, failed
from mfbench.runs.preparation import Preparation, Prepared
from mfbench.runs.records import Record, diff_path, errors_path, model_path, write_record

Watch = Callable[[Job, int, float], bool]
"""Told of a job each scored epoch and its valid RMSE (train RMSE without a valid part); True ends the training as pruned."""


class Trained(NamedTuple):
    """What a training leaves beside its record: the last model, and its errors by user on the part that it is judged on."""

    model: Model
    errors: dict[str, Array]


def hardware(backend: Backend) -> dict[str, str]:
    """What a backend computes on, by what it is asked about; the processor unless it says otherwise."""
    return dict(backend.hardware) if isinstance(backend, HasDevice) else {"platform": "cpu"}


def carry_out(
    jobs: Sequence[Job], parts: Parts, watch: Watch | None = None, preparation: Preparation | None = None
) -> list[Record]:
    """Make the runs, write the models where the stage keeps one, write the records, and give them.

    preparation: that of the trainings before this one, for those who make many.
    """
    records, trained = make(jobs, parts, watch, preparation or Preparation())
    for job, record, one in zip(jobs, records, trained, strict=True):
        with _clock([record], "log_seconds"):
            if one is not None and job.stage != "trial" and record.outcome == "completed":
                write_model(model_path(job.path), {**one.model.arrays(), **parts.ids()})
                if one.errors:
                    write_model(errors_path(job.path), one.errors)
            diff = record.environment["git_diff"]
            if diff is not None and not diff_path(diff).exists():
                write_whole(diff_path(diff), kept_changes())
        write_record(record)
    return records


def make(
    jobs: Sequence[Job], parts: Parts, watch: Watch | None, preparation: Preparation, purpose: str = "score the final runs"
) -> tuple[list[Record], Sequence[Trained | None]]:
    """Train and score: the record of each job and what else it leaves, nothing of it written; None where the run failed.

    A trial or a plain run trains on train and is scored on valid. A final run or a floor trains on train and valid
    together, and opens the test part once its training has ended, for that purpose. Several jobs are trained side by side,
    see `train`.
    """
    records = [blank(job, parts) for job in jobs]
    try:
        trained = train(jobs, parts, records, watch, preparation, purpose)
    except MfbenchError:
        raise
    except Exception as error:  # a backend that breaks fails its run, not the sweep; the record says how
        if is_disk_full(error):
            raise
        at = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"
        return [failed(job, parts, reason) for job in jobs], [None] * len(jobs)
    for record, one in zip(records, trained, strict=True):
        if record.outcome != "diverged":  # which nan a program gives is nobody's promise
            with _clock([record], "log_seconds"):
                record.factors_digest = digest_of(one.model.arrays())
    return records, trained


def train(
    jobs: Sequence[Job],
    parts: Parts,
    records: Sequence[Record],
    watch: Watch | None,
    preparation: Preparation,
    purpose: str,
) -> list[Trained]:
    """The training itself: fills in the records' outcomes, scores and clocks, and gives what else each job leaves.

    Several jobs differ in K, alpha and beta alone, and are trained side by side by a backend that can
    (`backends.base.SideBySide`), each of them as it would be alone; each is charged an equal share of the time.
    """
    spec, backend, epochs = jobs[0].spec.model, backend_of(jobs[0].spec, jobs[0].backend), jobs[0].epochs
    last_stage = jobs[0].stage in ("final", "floor")
    for record in records:
        record.options, record.environment["device"] = registry.knobs(backend), hardware(backend)
    memory = Memory()
    with _clock(records, "setup_seconds"):
        prepared = preparation.prepare(parts, backend, spec.seed, last_stage)
        mean = prepared.mean if spec.center else 0.0
        train_part, valid_part, init = prepared.train, prepared.valid, spec.init.model_dump(exclude_none=True)
        starts = [
            # Its mean is not that of the arranged ratings, whose sum may round in another way.
            replace(draw_start(train_part, job.K or 0, init, False, generator(spec.seed, "start")), mean=mean)
            for job in jobs
        ]
        hypers = [HyperParams(job.K, job.alpha, job.beta, epochs, spec.bias) for job in jobs]
        training = _training(backend, prepared, starts, hypers)
    memory.mark("prepare")
    with _clock(records, "compile_seconds"):
        models = next(training)
        score(models[0], train_part.take(slice(1)))  # so that its code is there, too, before the clocks run

    going = np.ones(len(jobs), dtype=bool)
    for epoch in range(1, epochs + 1):
        on = [j for j, goes in enumerate(going) if goes]
        with _clock([records[j] for j in on], "train_seconds"):
            models = training.send(going)
        last = epoch == epochs
        scored = last or epoch % spec.evaluate_every == 0
        for j in on:
            records[j].epochs = epoch
            if scored:
                # The last epoch is always scored on train: without a valid part it is the only number there is.
                on_train = train_part if spec.evaluate_train or last or valid_part is None else None
                judged = _score_epoch(records[j], models[j], on_train, valid_part)
                if watch is not None and judged is not None and watch(jobs[j], epoch, judged) and not last:
                    records[j].outcome = "pruned"
            going[j] = records[j].outcome == "completed"
        if not going.any():
            break

    memory.mark("train")
    trained = [Trained(model, {}) for model in models]
    for job, record, (model, errors) in zip(jobs, records, trained, strict=True):
        record.memory = memory.bytes
        _summarise(record, job)
        if job.stage != "trial" and record.outcome == "completed":
            with _clock([record], "evaluate_seconds"):
                part, held_out = "valid", valid_part
                if last_stage and "test" in parts.n:
                    part, held_out = "test", open_test(parts, job.study, f"to {purpose}, whose training had ended")
                    record.test_rmse, record.test_mae = score(model, held_out)
                if held_out is not None:
                    record.evaluation = evaluate(model, train_part, held_out, part, job.spec.evaluation)
                    errors.update(user_errors(model, held_out))
        record.ended = time.time()
    return trained


def _training(backend: Backend, prepared: Prepared, starts: list[Factors], hypers: list[HyperParams]) -> SideBySideTraining:
    """The models of all jobs, epoch by epoch; of one job alone by the backend's `epochs`."""
    train, schedule = prepared.train, prepared.schedule
    rngs = [copy.deepcopy(prepared.rng) for _ in starts]
    if len(starts) > 1:
        assert isinstance(backend, SideBySide)
        yield from backend.epochs_many(train, starts, hypers, [schedule] * len(starts), rngs)
    else:
        for model in backend.epochs(train, starts[0], hypers[0], schedule, rngs[0]):
            yield [model]


def _score_epoch(record: Record, model: Model, train_part: Ratings | None, valid_part: Ratings | None) -> float | None:
    """Add the scores of an epoch to the record, and give the one that the run is judged by; None if it diverged."""
    with _clock([record], "evaluate_seconds"):
        scored = _score("train", model, train_part)
        if valid_part is not None:
            scored |= _score("valid", model, valid_part)
    record.scores.add(record.epochs, record.clocks.train_seconds, scored)
    if not all(math.isfinite(number) for number in scored.values() if number is not None):
        record.outcome = "diverged"
        record.reason = f"the error was no longer a finite number after epoch {record.epochs}"
        return None
    return scored["valid_rmse" if valid_part is not None else "train_rmse"]


def _score(name: str, model: Model, part: Ratings | None) -> dict[str, float | None]:
    """RMSE and MAE of a part, by metric name; None for one that is not asked for."""
    rmse, mae = (None, None) if part is None else score(model, part)
    return {f"{name}_rmse": rmse, f"{name}_mae": mae}


def _summarise(record: Record, job: Job) -> None:
    """Put the numbers that stand for the whole run beside its scores: see `Record`. One that diverged has none."""
    scores = record.scores
    best = scores.best
    if record.outcome == "diverged" or best is None:
        return
    record.best_epoch = scores.epoch[best]
    for name in ("train_rmse", "train_mae", "valid_rmse", "valid_mae"):
        if values := getattr(scores, name):
            setattr(record, name, values[best if record.stage == "trial" else -1])
    if job.best is not None:
        record.valid_rmse, record.valid_mae = job.best.valid_rmse, job.best.valid_mae
        record.intervals = job.best.intervals


@contextmanager
def _clock(records: Sequence[Record], name: str) -> Iterator[None]:
    """Add the time that passes to that clock of each record, in equal shares."""
    begun = time.perf_counter()
    yield
    passed = (time.perf_counter() - begun) / len(records)
    for record in records:
        setattr(record.clocks, name, getattr(record.clocks, name) + passed)
