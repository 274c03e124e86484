"""One training from start to record: the loop over epochs, its clocks, its outcome."""

from __future__ import annotations

import copy
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mfbench.backends import registry
from mfbench.backends.base import Backend, Model, SideBySide, SideBySideTraining, Spread, Training
from mfbench.core.arrays import Array
from mfbench.core.errors import MfbenchError, RunError, is_disk_full
from mfbench.core.files import write_model, write_whole
from mfbench.core.machine import Memory, leads
from mfbench.core.randomness import generator
from mfbench.data.sealed import open_test
from mfbench.data.splits import Parts
from mfbench.matrix.factors import HyperParams, digest_of, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.models.evaluation import evaluate, objective_measure, user_errors
from mfbench.models.scoring import Scorer, score
from mfbench.runs.checkout import kept_changes
from mfbench.runs.distributed.checkpoints import Checkpoints, remove_checkpoints
from mfbench.runs.environment import environment
from mfbench.runs.jobs import Job, blank, failed, hardware
from mfbench.runs.preparation import Preparation, Prepared, check_jobs
from mfbench.runs.record_files import diff_path, errors_path, model_path, write_record
from mfbench.runs.records import Record
from mfbench.runs.scores import CURVES

Watch = Callable[[Job, int, float], bool]
"""Called with a job, a scored epoch and the value there of its objective (train RMSE without a valid part); True prunes it."""


@dataclass
class Trained:
    """One training: its job, record and model, and the errors of that model by user on the held-out part.

    measure: computes the objective of a trial, if the scorers do not. best: the model of the best epoch so far, of a plain
    run with patience.
    """

    job: Job
    record: Record
    scorers: dict[str, Scorer] = field(default_factory=dict)
    measure: Callable[[Model], float | int | None] | None = None
    model: Model = field(init=False)
    best: Model | None = None
    errors: dict[str, Array] = field(default_factory=dict)

    def clock(self, name: str) -> AbstractContextManager[None]:
        """Adds the elapsed time to that clock of the record."""
        return _clock([self], name)


def train_and_record(
    jobs: Sequence[Job], parts: Parts, watch: Watch | None = None, preparation: Preparation | None = None
) -> list[Record]:
    """Train the jobs, write their records, and for every stage but a trial their models too; return the records.

    preparation: pass the same one to successive calls, so that they reuse the prepared ratings. Of several processes of one
    training only the first writes.
    """
    trained = make(jobs, parts, watch, preparation or Preparation())
    for one in trained if leads() else ():
        record, path = one.record, one.job.path
        with one.clock("log_seconds"):
            kept = record.stage != "trial" and record.outcome == "completed"
            model = {**one.model.arrays(), **parts.ids()} if kept else {}
            for beside, arrays in ((model_path(path), model), (errors_path(path), one.errors if kept else {})):
                if arrays:
                    write_model(beside, arrays)
                elif beside.is_file():
                    beside.unlink()  # of an earlier run with this key
            diff = record.environment.git_diff
            if diff is not None and not diff_path(diff).exists():
                write_whole(diff_path(diff), kept_changes())
        write_record(record)
        if record.outcome != "failed":
            remove_checkpoints(one.job)
    return [one.record for one in trained]


def make(
    jobs: Sequence[Job], parts: Parts, watch: Watch | None, preparation: Preparation, purpose: str = "score the final runs"
) -> list[Trained]:
    """Train and score the jobs without writing anything; a backend that raises an exception fails its jobs.

    A trial or a plain run trains on train and is scored on valid. A final run or a floor trains on train and valid
    together, and opens the test part once its training has ended. purpose: of that opening, for the log of the test part.
    Several jobs are trained side by side, see `train`.
    """
    check_jobs(jobs, parts)
    trained = [Trained(job, blank(job, parts)) for job in jobs]
    try:
        train(trained, parts, watch, preparation, purpose)
    except RunError as error:
        return [Trained(job, failed(job, parts, str(error))) for job in jobs]
    except MfbenchError:
        raise
    except Exception as error:  # an error in a backend fails its run, not the sweep; the record has the reason
        if is_disk_full(error):
            raise
        at = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"
        return [Trained(job, failed(job, parts, reason)) for job in jobs]
    for one in trained:
        if one.record.outcome != "diverged":  # the bits of a nan may differ between two runs of the same program
            with one.clock("log_seconds"):
                one.record.factors_digest = digest_of(one.model.arrays())
                one.record.errors_digest = digest_of(one.errors) if one.errors else None
    return trained


def train(trained: Sequence[Trained], parts: Parts, watch: Watch | None, preparation: Preparation, purpose: str) -> None:
    """Train the jobs, and fill in the outcomes, scores and clocks of their records, and their models and errors.

    Several jobs may differ only in K, alpha, beta and the scale of their start. They are trained side by side, which their
    backend must support (`backends.base.SideBySide`), with the same results as alone; each gets an equal share of the time.
    """
    job = trained[0].job
    backend, last_stage = job.trainer, job.stage in ("final", "floor")
    for one in trained:
        one.record.options, one.record.environment = registry.knobs(backend), environment(hardware(backend))
    memory = Memory()
    with _clock(trained, "setup_seconds"):
        prepared = preparation.prepare(parts, backend, job.model.seed, last_stage)
        train_part, valid_part = prepared.train, prepared.valid
        trainings, checkpoints = [_training(one.job, prepared) for one in trained], Checkpoints(job, parts)
        if checkpoints.done:
            models = checkpoints.models(train_part, trainings[0], trained[0].record)
        else:
            models = _models(backend, train_part, trainings)
        judged_on = {"train": train_part, "valid": valid_part}
        for one in trained:
            one.scorers = {name: Scorer(part) for name, part in judged_on.items() if part is not None}
            if job.stage == "trial" and valid_part is not None:
                one.measure = objective_measure(job.objective.name, job.spec.evaluation, train_part, valid_part)
    memory.mark("prepare")
    with _clock(trained, "compile_seconds"):
        first = next(models)
        score(first[0], train_part.take(slice(1)))  # compiles the scoring, so that the clock of the epochs does not include it

    going = np.ones(len(trained), dtype=bool)
    for epoch in range(checkpoints.done + 1, job.epochs + 1):
        on = [one for one, goes in zip(trained, going, strict=True) if goes]
        with _clock(on, "train_seconds"):
            latest = models.send(going)
        last = epoch == job.epochs
        for j, one in enumerate(trained):
            one.model = latest[j]
            if going[j]:
                one.record.epochs = epoch
                with one.clock("evaluate_seconds"):
                    for scorer in one.scorers.values():
                        scorer.see(one.model)
                if last or epoch % job.model.evaluate_every == 0:
                    # The last epoch is always scored on train; without a valid part, every scored epoch is.
                    judged = _score_epoch(one, job.model.evaluate_train or last or valid_part is None)
                    if watch is not None and judged is not None and watch(one.job, epoch, judged) and not last:
                        one.record.outcome = "pruned"
                    going[j] = one.record.outcome == "completed" and not (valid_part is not None and _has_stalled(one))
        if not going.any():
            break
        checkpoints.keep(epoch, trained[0].model, trained[0].record)

    memory.mark("train")
    for one in trained:
        one.record.memory = memory.bytes
        one.model = one.model if one.best is None else one.best
        if isinstance(one.model, Spread):
            one.model = one.model.gathered()
        _summarise(one)
        if job.stage != "trial" and one.record.outcome == "completed":
            with one.clock("evaluate_seconds"):
                if one.record.train_rmse is None:  # the best epoch was not scored on train
                    one.record.train_rmse, one.record.train_mae = score(one.model, train_part)
                if leads():
                    _evaluate(one, parts, train_part, valid_part, purpose)
        one.record.ended = time.time()


def _training(job: Job, prepared: Prepared) -> Training:
    """The arguments of the backend for this job; its start depends on no other job."""
    model, has = job.model, job.hyper
    init, rng = model.init.model_dump(exclude_none=True), generator(model.seed, "start")
    start = draw_start(prepared.train, model.K if "K" in has else 0, init, False, rng)
    # Not the mean of the arranged ratings, whose sum may round differently.
    start = replace(start, mean=prepared.mean if model.center else 0.0)
    hyper = HyperParams(
        K=model.K if "K" in has else None,
        alpha=model.alpha if "alpha" in has else None,
        beta=model.beta if "beta" in has else None,
        epochs=job.epochs,
        bias=model.bias,
        step=model.step,
        decay=model.decay,
    )
    return Training(start, hyper, prepared.schedule, copy.deepcopy(prepared.rng))


def _models(backend: Backend, train: Ratings, trainings: Sequence[Training]) -> SideBySideTraining:
    """The models of all trainings, epoch by epoch; a single training uses the backend's `epochs`."""
    if len(trainings) > 1:
        assert isinstance(backend, SideBySide)
        yield from backend.epochs_many(train, trainings)
    else:
        (one,) = trainings
        for model in backend.epochs(train, one.start, one.hyper, one.schedule, one.rng):
            yield [model]


def _score_epoch(trained: Trained, on_train: bool) -> float | None:
    """Add the scores of an epoch to the record; return the value of its objective, None if it diverged or has none.

    Without a valid part, the value is the train RMSE.
    """
    record, objective = trained.record, trained.job.objective.name
    with trained.clock("evaluate_seconds"):
        scored: dict[str, float | None] = {"train_rmse": None, "train_mae": None}
        for name, scorer in trained.scorers.items():
            if name != "train" or on_train:
                scored[f"{name}_rmse"], scored[f"{name}_mae"] = scorer.score(trained.model)
        finite = all(math.isfinite(number) for number in scored.values() if number is not None)
        if trained.measure is not None:
            scored["objective"] = trained.measure(trained.model) if finite else None
    record.scores.add(record.epochs, record.clocks.train_seconds, scored)
    if not finite:
        record.outcome = "diverged"
        record.reason = f"the error was no longer a finite number after epoch {record.epochs}"
        return None
    return record.scores.of(objective)[-1] if "valid" in trained.scorers else scored["train_rmse"]


def _has_stalled(trained: Trained) -> bool:
    """Whether the objective has not improved for the job's patience; keeps the best model of a plain run."""
    job = trained.job
    if job.patience is None:
        return False
    since_best = trained.record.scores.since_best(job.objective)
    if job.stage == "run" and since_best == 0:
        trained.best = trained.model
    return since_best >= job.patience


def _summarise(trained: Trained) -> None:
    """Fill in the metrics of the whole run from its scores, see `Record`; a diverged run has none."""
    record, chosen_by = trained.record, trained.job.best
    scores = record.scores
    best = scores.best(record.objective)
    if record.outcome == "diverged" or best is None:
        return
    record.best_epoch = scores.epoch[best]
    for name in CURVES:
        if values := getattr(scores, name):
            setattr(record, name, values[best if record.stage == "trial" or trained.best is not None else -1])
    if trained.measure is not None:
        record.evaluation = {record.objective.name: scores.objective[best]}
        if record.judged is None:
            record.outcome, record.reason = "failed", f"{record.objective.name} was undefined in all scored epochs"
    if chosen_by is not None:
        record.valid_rmse, record.valid_mae = chosen_by.valid_rmse, chosen_by.valid_mae
        record.intervals = chosen_by.intervals


def _evaluate(trained: Trained, parts: Parts, train: Ratings, valid: Ratings | None, purpose: str) -> None:
    """Evaluate the model by all metrics: on test, which this opens, for a final run or floor; on valid for a plain run."""
    job, record, part, held_out = trained.job, trained.record, "valid", valid
    if job.stage in ("final", "floor") and "test" in parts.n:
        part, held_out = "test", open_test(parts, job.study, f"to {purpose}, whose training had ended")
        record.test_rmse, record.test_mae = score(trained.model, held_out)
    if held_out is not None:
        inherited = job.best.judged if job.best else {}
        record.evaluation = {**inherited, **evaluate(trained.model, train, held_out, part, job.spec.evaluation)}
        trained.errors = user_errors(trained.model, held_out)


@contextmanager
def _clock(trained: Sequence[Trained], name: str) -> Iterator[None]:
    """Add the elapsed time to that clock of each record, in equal shares."""
    start = time.perf_counter()
    yield
    share = (time.perf_counter() - start) / len(trained)
    for one in trained:
        clocks = one.record.clocks
        setattr(clocks, name, getattr(clocks, name) + share)
