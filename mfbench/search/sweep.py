"""The sweep: one study per backend on the same parts with the same budget, then the final runs; test is opened last."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import Timeout

from mfbench.core.errors import InputError, RecordError, SpecError, WorkError
from mfbench.core.paths import RUNS
from mfbench.data.sealed import openers, worn
from mfbench.data.splits import Parts, parts_of
from mfbench.models.evaluation import check_metrics, none_relevant
from mfbench.runs.jobs import Job
from mfbench.runs.progress import FINALS, Once, Watcher
from mfbench.runs.record_files import find_record, remove_unfinished, studies_of, study_records, sweep_lock
from mfbench.runs.records import Record, RunName
from mfbench.runs.repeats import averaged, whole_spec
from mfbench.runs.reuse import usable_record
from mfbench.search.outcome import Swept
from mfbench.search.sampling.finished import Finished, since_best
from mfbench.search.study import Past, Study, check_names
from mfbench.search.workers import Crew, Task, Workers, shares
from mfbench.spec import FIRST, Spec, study_key


@dataclass(frozen=True)
class Plan:
    """A sweep that is ready to run: the spec is validated and the data is prepared. parts: by fold."""

    spec: Spec
    studies: list[Study]
    parts: list[Parts]

    @staticmethod
    def of(source: Spec) -> Plan:
        """Validate a spec and prepare its data; InputError if either is invalid, before anything is trained."""
        if source.sweep is None:
            raise SpecError(f"{source.name}: this spec has no sweep section; add one, or use `mfbench run`")
        key = study_key(source)
        studies = [Study.of(source, key, name) for name in source.backends()]
        check_names(source, studies)
        parts = [parts_of(source.repeat(fold)) for fold in range(source.folds)]
        if "valid" not in parts[0].n:
            raise SpecError(
                "split: a sweep needs a valid part to choose the best trial, but this split has none; give valid a share"
            )
        check_metrics(source, parts[0].highest)
        for study in studies:
            study.check_size(parts[0])
        return Plan(source, studies, parts)

    def execute(self, workers: int, watcher: Watcher, timeout: float | None = None, cluster: str | None = None) -> Swept:
        """Run or resume the sweep: runs that have a record are not trained again.

        timeout: seconds after which no further batch is started, nor the final runs. At least one batch, or the final runs
        if only they are left, is always run, so a sweep makes progress with any timeout. cluster: see `cluster.Cluster`;
        it trains the trials, and the workers of this machine the final runs.
        WorkError if no trial of any backend completed.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        key, budgets, made = self.studies[0].key, {study.backend: study.budget for study in self.studies}, list[Record]()
        watcher, seeds = Once(watcher), self.spec.seeds
        watcher.say(self.parts[0].says)
        _tell_what_is_new(self.spec, key, watcher)
        self._tell_limits(watcher)
        with _alone(key, watcher), Workers(shares(workers)) as own, self._crew(cluster, own, watcher) as crew:
            runs = {study.backend: study.budget * self.spec.folds * seeds for study in self.studies}
            watcher.expect({**runs, FINALS: len(self.studies) * seeds})
            for study in self.studies:
                before = len(made)
                for batch in _search(study, self.parts, crew, watcher):
                    made += batch
                    watcher.batch(study.backend)
                    if crew.tasks and time.monotonic() > end:
                        return Swept(self.spec, key, made, budgets)
                watcher.expect({study.backend: len(made) - before})
            searched = Swept(self.spec, key, made, budgets)
            jobs = [job for study in self.studies for job in study.finals(searched.trials[study.backend])]
            if jobs:
                _tell_how_worn(self.parts[0], key, watcher)
            watcher.expect({FINALS: len(jobs)})
            finals = _records_of(jobs, self.parts, None, own, watcher)
            watcher.batch(FINALS)
        if not finals:
            raise WorkError(searched.none_completed)
        return Swept(self.spec, key, made + finals, budgets)

    def _crew(self, cluster: str | None, own: Workers, watcher: Watcher) -> AbstractContextManager[Crew]:
        """Who trains the trials."""
        if cluster is None:
            return nullcontext(own)
        try:
            from mfbench.search.cluster.crew import Cluster  # Dask is an extra, and slow to import
        except ImportError as error:
            raise InputError(f"--cluster needs Dask ({error}); install it with pip install 'mfbench[cluster]'") from None
        return Cluster(cluster, self.parts, [*self.spec.backends(), *self.spec.evaluation.extra], watcher.say)

    def _tell_limits(self, watcher: Watcher) -> None:
        """Report what the search cannot guarantee, and what it leaves out."""
        if "test" not in self.parts[0].n:
            watcher.say("split: there is no test part, so the only score of a final run is the valid score of its trial")
        else:
            for sentence in none_relevant(self.spec.evaluation, self.parts[0].highest):
                watcher.say(sentence)
            data = self.parts[0].described()
            if data.too_small is not None:
                users = data.n_users_in["test"]
                watcher.say(f"the test part has {data.n_test:,} ratings by {users:,} users: {data.too_small}")
        if "train_seconds" in self.studies[0].sweep.objectives:
            watcher.say("sweep.objectives: train_seconds varies from run to run, so a repeated sweep may propose other trials")
        for study in self.studies:
            if study.points and study.budget < study.points:
                watcher.say(
                    f"{study.backend}: the sweep tries {study.budget} of the {study.points} grid points;"
                    f" use `--trials {study.points}` to try all of them"
                )


def _search(study: Study, parts: Sequence[Parts], crew: Crew, watcher: Watcher) -> Iterator[list[Record]]:
    """Yield the records of the trials of a study, batch by batch.

    With repeats, only the first repeat of a trial may be pruned, and only by the first repeats of earlier trials, because
    another fold or seed may be harder. The other repeats are trained for the trials whose first repeat completed.
    """
    past, trials, firsts = Past(study), list[Record](), list[Finished]()
    while not study.is_over(trials):
        first, size = len(trials), min(study.sweep.batch, study.budget - len(trials))
        found = dict(_read(study, number) for number in range(first, first + size))
        if None in found.values():
            crew.start()  # now, since they need a second to be ready, as the proposals may
        jobs = [job for trial in past.jobs(list(found.values())) for job in trial]
        now = [job for job in jobs if job.repeat == 0] if study.prunes else jobs
        made = _records_of(now, parts, partial(study.prune, firsts), crew, watcher, study.together, found)
        if study.prunes:
            firsts += map(Finished.of, made)
            completed = {record.number for record in made if record.outcome == "completed"}
            later = [job for job in jobs if job.repeat and job.number in completed]
            made += _records_of(later, parts, None, crew, watcher, study.together)
            made.sort(key=lambda record: (record.number, record.repeat))
        runs = averaged(made)
        trials += runs
        past.add(map(Finished.of, runs))
        yield made
    if len(trials) < study.budget:
        watcher.say(
            f"{study.backend}: none of the last {since_best(trials)} trials was better, so the search ended after"
            f" {len(trials)} of {study.budget}; raise `sweep.stop` to go on"
        )


def _read(study: Study, number: int) -> tuple[Path, Record | None]:
    """The path of the record of a trial's first repeat, and the record; None if there is none that can be read."""
    run = RunName(study=study.key, backend=study.backend, stage="trial", number=number)
    try:
        return run.path, find_record(run)
    except RecordError:
        return run.path, None


def _records_of(
    jobs: Sequence[Job],
    parts: Sequence[Parts],
    prune: Callable[[], str | None] | None,
    crew: Crew,
    watcher: Watcher,
    together: bool = False,
    read: Mapping[Path, Record | None] = MappingProxyType({}),
) -> list[Record]:
    """The records of the jobs, in order; jobs without a record are run.

    parts: by fold. together: train jobs side by side, split evenly among the workers. read: records by path, as far as
    they have been read. prune: gives the `Task.prune` of jobs that have no record.
    """
    records = {job.run_key: record for job in jobs if (record := usable_record(job, _fold_of(job, parts), watcher, read))}
    for record in records.values():
        watcher.found(record)

    def on_done(record: Record) -> None:
        records[record.run_key] = record
        watcher.done(record)

    # Longest jobs first, so that the workers finish a batch at about the same time.
    missing = [job for job in jobs if job.run_key not in records]
    missing.sort(key=lambda job: -job.model.K if "K" in job.hyper else 0)
    # Jobs with the same data, order and program next to each other: a worker reuses what it has prepared for the last job.
    alike: dict[Any, list[Job]] = {}
    for job in sorted(missing, key=lambda job: job.repeat):
        alike.setdefault((job.repeat, *_program(job)), []).append(job)
    step = len(crew) if together else max(1, len(missing))
    groups = [group for same in alike.values() for first in range(step) if (group := same[first::step])]
    rule = prune() if groups and prune else None
    tasks = [Task(jobs=group, parts=_fold_of(group[0], parts).folder, prune=rule) for group in groups]
    if tasks:
        watcher.trains()
    crew.run_tasks(tasks, on_done, watcher.epoch)
    return [records[job.run_key] for job in jobs]


def _program(job: Job) -> list[tuple[str, Any]]:
    """The hyperparameters that must be equal in jobs trained side by side: those a program does not take as arrays."""
    return [(name, value) for name, value in job.hyper.items() if name not in (*FIRST, "init")]


def _fold_of(job: Job, parts: Sequence[Parts]) -> Parts:
    return parts[job.repeat % len(parts)]


def _tell_what_is_new(spec: Spec, key: str, watcher: Watcher) -> None:
    """If the study is new, report in which keys its spec differs from the last study of the same name."""
    others = [other for other in studies_of(spec.name) if other != key]
    if (RUNS / key).exists() or not others:
        return
    before = [record for record in study_records(others[-1]) if record.stage != "run"]
    if before:
        now, then = _flat(spec.model_dump(mode="json")), _flat(whole_spec(before).model_dump(mode="json"))
        changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        keys = ", ".join(changed) or "the contents of its data"
        watcher.say(f"{key} is a new study; it differs from {others[-1]} in {keys}")


def _tell_how_worn(parts: Parts, key: str, watcher: Watcher) -> None:
    """Before a study first opens the test part, report which other studies have opened it."""
    before = openers(parts.test_digest)
    if key not in before:
        for sentence in worn(parts.test_digest, before):
            watcher.say(sentence)


def _flat(tree: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{under}{name}.") if isinstance(value, dict) and value else {f"{under}{name}": value}
    return flat


@contextmanager
def _alone(study: str, watcher: Watcher) -> Iterator[None]:
    """Run one sweep of a study at a time: a second one waits for the first."""
    (RUNS / study).mkdir(parents=True, exist_ok=True)
    lock = sweep_lock(study)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        watcher.say(f"{study}: another sweep of this study is running; waiting for it to finish")
        lock.acquire()
    try:
        remove_unfinished(study)
        yield
    finally:
        lock.release()
