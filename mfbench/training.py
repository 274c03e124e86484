"""One training from start to record: the loop over epochs, its clocks, its outcome."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict

from mfbench import backends
from mfbench.backends.base import Backend, Model
from mfbench.environment import environment
from mfbench.factors import HyperParams, digest_of, draw_start
from mfbench.memory import Memory
from mfbench.metrics import rmse_and_mae
from mfbench.randomness import generator
from mfbench.ratings import Ratings
from mfbench.records import Clocks, Record, Scores, Stage, model_path, record_path, write_model, write_record
from mfbench.spec import Spec
from mfbench.splits import Parts, open_test

Watch = Callable[[int, float], bool]
"""Told each scored epoch and its valid RMSE (train RMSE without a valid part); True ends the training as pruned."""


class BestTrial(BaseModel):
    """What a final run inherits of the trial that it was chosen by."""

    model_config = ConfigDict(frozen=True)

    number: int
    valid_rmse: float | None
    valid_mae: float | None


class Job(BaseModel):
    """One training to be made: where its record belongs, and its hyperparameters."""

    model_config = ConfigDict(frozen=True)

    study: str
    backend: str
    number: int
    stage: Stage
    spec: Spec
    K: int | None
    alpha: float | None
    beta: float | None
    epochs: int
    best: BestTrial | None = None

    @property
    def run_key(self) -> str:
        """As `Record.run_key`."""
        return f"{self.study}/{self.backend}/{self.number}/{self.stage}"


def backend_of(spec: Spec, name: str) -> Backend:
    """The backend of that name with the knobs that the spec gives it; SpecError for a name or a knob that is not known."""
    for known in spec.model.options:
        backends.resolve(known, spec.model.options[known])  # also those that are not asked for: a typo must not pass
    return backends.resolve(name, spec.model.options.get(name, {}))


def carry_out(job: Job, parts: Parts, watch: Watch | None = None) -> Record:
    """Train, score, write the model where the stage keeps one, write the record, and give it.

    A trial or a plain run trains on train and is scored on valid. A final run or a floor trains on train and valid
    together, and opens the test part once its training has ended.
    """
    record = blank(job, parts)
    model = train(job, parts, record, watch)
    if job.stage != "trial" and record.outcome == "completed":
        arrays = dict(model.arrays())
        record.factors_digest = digest_of(arrays)
        path = record_path(job.study, job.backend, job.stage, job.number)
        write_model(model_path(path), {**arrays, **parts.ids()})
    write_record(record)
    return record


def blank(job: Job, parts: Parts) -> Record:
    """The record of a job before its training."""
    now = time.time()
    return Record(
        study=job.study,
        backend=job.backend,
        number=job.number,
        stage=job.stage,
        outcome="completed",
        spec=job.spec.model_dump(mode="json"),
        options={},
        K=job.K,
        alpha=job.alpha,
        beta=job.beta,
        epochs=0,
        scores=Scores(),
        best_trial=job.best.number if job.best else None,
        data=parts.described(),
        clocks=Clocks(),
        environment=environment(),
        started=now,
        ended=now,
    )


def give_up(job: Job, parts: Parts, reason: str) -> Record:
    """Write the record of a job that failed, with the reason."""
    record = blank(job, parts)
    record.outcome, record.reason = "failed", reason
    write_record(record)
    return record


def train(job: Job, parts: Parts, record: Record, watch: Watch | None = None) -> Model:
    """The training itself: fills in the record's outcome, scores and clocks, and gives the last model."""
    model_spec, clocks, last_stage = job.spec.model, record.clocks, job.stage in ("final", "floor")
    with _clock(clocks, "setup_seconds"):
        backend = backend_of(job.spec, job.backend)
        memory = Memory(record.memory)
        record.options = backends.knobs(backend)
        train_part, valid_part = parts.train, parts.valid
        if last_stage and valid_part is not None:
            train_part, valid_part = train_part.with_(valid_part), None
        hyper = HyperParams(job.K, job.alpha, job.beta, job.epochs, model_spec.bias)
        init = model_spec.init.model_dump(exclude_none=True)
        start = draw_start(train_part, job.K or 0, init, model_spec.center, generator(model_spec.seed, "start"))
        rng = generator(model_spec.seed, "order")
        arranged, schedule = backend.arrange(train_part, rng)
        models = backend.epochs(arranged, start, hyper, schedule, rng)
    memory.mark("prepare")
    with _clock(clocks, "compile_seconds"):
        model = next(models)

    for epoch in range(1, job.epochs + 1):
        with _clock(clocks, "train_seconds"):
            model = next(models)
        record.epochs = epoch
        last = epoch == job.epochs
        if epoch % model_spec.evaluate_every and not last:
            continue
        with _clock(clocks, "evaluate_seconds"):
            # The last epoch is always scored on train: without a valid part it is the only number there is.
            on_train = model_spec.evaluate_train or last or valid_part is None
            score = _score(model, train_part if on_train else None, valid_part)
        record.scores.add(epoch, clocks.train_seconds, score)
        judged = score["valid_rmse" if valid_part is not None else "train_rmse"]
        if not all(math.isfinite(number) for number in score.values()):
            record.outcome = "diverged"
            record.reason = f"the error was no longer a finite number after epoch {epoch}"
            break
        if watch is not None and watch(epoch, judged) and not last:
            record.outcome = "pruned"
            break

    memory.mark("train")
    _summarise(record, job)
    if last_stage and record.outcome == "completed" and "test" in parts.n:
        test = open_test(parts, job.study, f"to score {job.run_key}, whose training had ended")
        record.test_rmse, record.test_mae = rmse_and_mae(test.values, model.predict(test.users, test.items))
    record.ended = time.time()
    return model


def _score(model: Model, train_part: Ratings | None, valid_part: Ratings | None) -> dict[str, float]:
    """RMSE and MAE of each part that is given, by metric name."""
    score: dict[str, float] = {}
    for name, part in (("train", train_part), ("valid", valid_part)):
        if part is not None:
            rmse, mae = rmse_and_mae(part.values, model.predict(part.users, part.items))
            score |= {f"{name}_rmse": rmse, f"{name}_mae": mae}
    return score


def _summarise(record: Record, job: Job) -> None:
    """Put the numbers that stand for the whole run beside its scores: see `Record`."""
    scores = record.scores
    column = scores.train_rmse if all(v is None for v in scores.valid_rmse) else scores.valid_rmse
    judged = {j: v for j, v in enumerate(column) if v is not None}
    if not judged:
        return
    best = min(judged, key=judged.__getitem__)
    record.best_epoch = scores.epoch[best]
    at = best if record.stage == "trial" else max(judged)
    for name in ("train_rmse", "train_mae", "valid_rmse", "valid_mae"):
        setattr(record, name, getattr(scores, name)[at])
    if job.best is not None:
        record.valid_rmse, record.valid_mae = job.best.valid_rmse, job.best.valid_mae


@contextmanager
def _clock(clocks: Clocks, name: str) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        setattr(clocks, name, getattr(clocks, name) + time.perf_counter() - begun)
