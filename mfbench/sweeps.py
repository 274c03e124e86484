"""The sweep: for each backend a study on the same parts and the same budget, then its final run; test is opened last."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from filelock import FileLock, Timeout

from mfbench import backends
from mfbench.backends.base import Backend, SideBySide
from mfbench.errors import RecordError, SpecError, WorkError
from mfbench.pruning import Prune
from mfbench.records import RUNS, Record, Stage, find_record, record_path, remove_unfinished, studies_of, study_records
from mfbench.search import Finished, check_search, grid_points, propose
from mfbench.spec import Space, Spec, Sweep, study_key
from mfbench.splits import Parts, prepare
from mfbench.training import BestTrial, Job, backend_of
from mfbench.watching import Watcher
from mfbench.workers import Task, Workers, shares


@dataclass(frozen=True)
class Swept:
    """What a sweep leaves: the trials and the final run of each backend, all of them records.

    One that was stopped in time has no final run at all. budgets: the number of trials that each backend is to have.
    """

    spec: Spec
    study: str
    budgets: dict[str, int]
    trials: dict[str, list[Record]]
    finals: list[Record]

    @property
    def oracle(self) -> dict[str, float] | None:
        """The RMSE and MAE that no model can beat on the test part, where the data knows them."""
        return self.records()[0].oracle("test")

    @property
    def stopped(self) -> str | None:
        """How far a sweep is that was stopped in time, None for one that is done."""
        far = ", ".join(f"{len(trials)} of {self.budgets[name]} trials of {name}" for name, trials in self.trials.items())
        return None if self.finals else f"the time was up before the final runs; {far} are finished"

    @property
    def failures(self) -> list[str]:
        """A sentence for each backend that has no usable final run, but for a sweep that was stopped before these."""
        if self.stopped:
            return []
        completed = {record.backend for record in self.finals if record.outcome == "completed"}
        broken = {record.backend: [record] for record in self.finals}
        return [
            f"{name} has no final run: {_why_none(broken.get(name, trials))}"
            for name, trials in self.trials.items()
            if name not in completed
        ]

    def records(self) -> list[Record]:
        """All of them."""
        return [*(trial for trials in self.trials.values() for trial in trials), *self.finals]


@dataclass(frozen=True)
class Plan:
    """A sweep that can be carried out: its spec is found right, its data is there and cut."""

    spec: Spec
    studies: list[Study]
    parts: Parts

    @staticmethod
    def of(source: Spec) -> Plan:
        """The plan of a spec; InputError for what is wrong with it or its data, before any work."""
        if source.sweep is None:
            raise SpecError(f"{source.name}: this spec has no sweep section; add one, or use `mfbench run`")
        key = study_key(source)
        studies = [Study.of(source, key, name, backend_of(source, name)) for name in source.backends()]
        parts = prepare(source)
        if "valid" not in parts.n:
            raise SpecError("split: a sweep chooses by the valid part, and this split has none; give valid a share")
        return Plan(source, studies, parts)

    def carry_out(self, workers: int, watcher: Watcher, timeout: float | None = None) -> Swept:
        """Carry out the sweep, or go on with it: runs that have a record are not made again.

        timeout: seconds after which no other batch is begun, nor the final runs. A batch is made even so, or the final runs
        if they are all that is left, so that any timeout gets on.
        WorkError where no trial of any backend gave a usable model.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        key, budgets = self.studies[0].key, {study.backend: study.budget for study in self.studies}
        trials: dict[str, list[Record]] = {name: [] for name in budgets}
        _tell_what_is_new(self.spec, key, watcher)
        self._tell_limits(watcher)
        with _alone(key, watcher), Workers(shares(workers)) as crew:
            for study in self.studies:
                watcher.study(study.backend, study.budget)
                for batch in _search(study, self.parts, crew, watcher):
                    trials[study.backend] += batch
                    if crew.tasks and time.monotonic() > end:
                        return Swept(self.spec, key, budgets, trials, [])
            jobs = [job for study in self.studies if (job := study.final(trials[study.backend]))]
            finals = _records_of(jobs, self.parts, None, crew, watcher)
        if not finals:
            told = "; ".join(f"{name}: {_why_none(found)}" for name, found in trials.items())
            raise WorkError(f"{key}: no trial of any backend completed ({told}); the records are in {RUNS / key}")
        return Swept(self.spec, key, budgets, trials, finals)

    def _tell_limits(self, watcher: Watcher) -> None:
        """Say what the search cannot promise, and what it leaves out."""
        if "train_seconds" in self.studies[0].sweep.objectives:
            watcher.say("train_seconds is a clock: with it as an objective this sweep cannot be repeated to the same trials")
        for study in self.studies:
            if study.points and study.budget < study.points:
                watcher.say(
                    f"{study.backend}: the sweep visits {study.budget} of the {study.points} points of the grid;"
                    f" `--trials {study.points}` visits all of them"
                )


@dataclass(frozen=True)
class Study:
    """The search for one backend: its space, cut down to what the backend has a use for, and its budget of trials."""

    spec: Spec
    key: str
    sweep: Sweep
    backend: str
    tunable: frozenset[str]
    space: Space
    together: bool

    @staticmethod
    def of(spec: Spec, key: str, name: str, backend: Backend) -> Study:
        """The study of that backend under a spec with a sweep."""
        assert spec.sweep is not None
        space = Space(**{key: value for key, value in spec.sweep.space_of(name) if key in backend.tunable})
        check_search(spec.sweep, name, space)
        asked = spec.sweep.side_by_side
        together = isinstance(backend, SideBySide) and (backend.accelerated if asked is None else asked)
        return Study(spec, key, spec.sweep, name, backend.tunable, space, together)

    @property
    def budget(self) -> int:
        """The number of trials; one where there is nothing to search, and no more than a grid has points."""
        if self.space == Space():
            return 1
        return min(self.sweep.trials, self.points) if self.points else self.sweep.trials

    @property
    def points(self) -> int | None:
        """How many points the grid has, None where the search is no grid."""
        return len(grid_points(self.sweep, self.space, 0)) if self.sweep.sampler == "grid" else None

    def prune(self, finished: Sequence[Finished]) -> str | None:
        """What the trials of the batch after these are pruned by, for the workers; None where they are not."""
        if self.sweep.pruner == "none" or self.space == Space():
            return None
        return Prune(
            study=f"{self.key}/{self.backend}", kind=self.sweep.pruner, epochs=self.spec.model.epochs,
            batch=self.sweep.batch, finished=list(finished),
        ).model_dump_json()  # fmt: skip

    def trial(self, number: int, params: Mapping[str, Any]) -> Job:
        """A trial with these hyperparameters; what is not searched has the model's value."""
        model = self.spec.model
        hyper = {name: params.get(name, getattr(model, name)) for name in self.tunable}
        return self._job(number, "trial", hyper, model.epochs if self.tunable else 1, None)

    def final(self, trials: Sequence[Record]) -> Job | None:
        """The final run of the best completed trial: its hyperparameters, its best epoch. None where none completed.

        It has the number of the trial that it was chosen by, so a longer search that finds a better one makes another.
        """
        completed = [trial for trial in trials if trial.outcome == "completed" and trial.valid_rmse is not None]
        if not completed:
            return None
        best = min(completed, key=lambda trial: (trial.valid_rmse, trial.number))
        chosen = BestTrial(number=best.number, valid_rmse=best.valid_rmse, valid_mae=best.valid_mae)
        hyper = {name: getattr(best, name) for name in self.tunable}
        return self._job(best.number, "final" if self.tunable else "floor", hyper, best.best_epoch or 1, chosen)

    def _job(self, number: int, stage: Stage, hyper: Mapping[str, Any], epochs: int, best: BestTrial | None) -> Job:
        return Job(
            study=self.key, backend=self.backend, number=number, stage=stage, spec=self.spec,
            K=hyper.get("K"), alpha=hyper.get("alpha"), beta=hyper.get("beta"), epochs=epochs, best=best,
        )  # fmt: skip


def _search(study: Study, parts: Parts, crew: Workers, watcher: Watcher) -> Iterator[list[Record]]:
    """The trials of a study, batch after batch."""
    trials: list[Record] = []
    while len(trials) < study.budget:
        first, size = len(trials), min(study.sweep.batch, study.budget - len(trials))
        finished = [Finished.of(trial) for trial in trials]
        proposals = propose(study.spec, study.space, first // study.sweep.batch, size, finished)
        jobs = [study.trial(first + k, params) for k, params in enumerate(proposals)]
        made = _records_of(jobs, parts, study.prune(finished), crew, watcher, study.together)
        trials += made
        yield made


def _records_of(
    jobs: Sequence[Job], parts: Parts, prune: str | None, crew: Workers, watcher: Watcher, together: bool = False
) -> list[Record]:
    """The records of the jobs, in their order; those that have none yet are carried out, a group a worker if together."""
    records = {job.run_key: record for job in jobs if (record := _record_of(job, parts, watcher))}
    for record in records.values():
        watcher.done(record)

    def on_done(record: Record) -> None:
        records[record.run_key] = record
        watcher.done(record)

    missing = [job for job in jobs if job.run_key not in records]
    step = len(crew) if together else max(1, len(missing))
    groups = [group for first in range(step) if (group := missing[first::step])]
    tasks = [Task(jobs=group, parts=parts.folder, prune=prune) for group in groups]
    crew.carry_out(tasks, on_done, watcher.epoch)
    return [records[job.run_key] for job in jobs]


def _record_of(job: Job, parts: Parts, watcher: Watcher) -> Record | None:
    """The job's record from before; one that is damaged, or not of this very job, is set aside, and the job done again."""
    path = record_path(job.study, job.backend, job.stage, job.number)
    try:
        record = find_record(job.study, job.backend, job.stage, job.number)
        fault = record and _not_of(record, job, parts)
    except RecordError as error:
        record, fault = None, str(error)
    if fault:
        path.replace(path.with_suffix(".aside"))
        watcher.say(f"{path}: {fault}; it is set aside as {path.with_suffix('.aside').name}, and the run is made again")
    return None if fault else record


def _not_of(record: Record, job: Job, parts: Parts) -> str | None:
    """Why a record does not stand for the job, None if it does."""
    if record.outcome == "failed":
        return f"this run failed ({record.reason})"
    if not record.is_sealed:
        return "this record was changed after it was written"
    if (record.K, record.alpha, record.beta) != (job.K, job.alpha, job.beta):
        return "this run had other hyperparameters than the search now proposes"
    if record.data.get("split_digest") != parts.split_digest:
        return "this run was made on other data"
    if record.backend_digest != backends.digest(job.backend):
        return f"{job.backend} has changed since this run"
    return None


def _why_none(records: Sequence[Record]) -> str:
    """How the runs of a backend ended, and the commonest reason."""
    reasons = [record.reason or record.outcome for record in records if record.outcome != "completed"]
    return f"{len(reasons)} of {len(records)} did not complete, mostly: {max(reasons, key=reasons.count)}"


def _tell_what_is_new(spec: Spec, key: str, watcher: Watcher) -> None:
    """Say, where a new study begins, in which keys its spec differs from that of the last one of this name."""
    others = [other for other in studies_of(spec.name) if other != key]
    if (RUNS / key).exists() or not others:
        return
    before = next((record.spec for record in study_records(others[-1]) if record.stage != "run"), None)
    if before is not None:
        now, then = _flat(spec.model_dump(mode="json")), _flat(before)
        changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        watcher.say(f"{key} is a new study; it differs from {others[-1]} in {', '.join(changed) or 'the content of its data'}")


def _flat(tree: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{under}{name}.") if isinstance(value, dict) and value else {f"{under}{name}": value}
    return flat


@contextmanager
def _alone(study: str, watcher: Watcher) -> Iterator[None]:
    """Only one sweep of a study at a time; a second waits for the first."""
    folder = RUNS / study
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".sweep.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        watcher.say(f"{study}: another sweep of this study is running; waiting for it to end")
        lock.acquire()
    try:
        remove_unfinished(study)
        yield
    finally:
        lock.release()
