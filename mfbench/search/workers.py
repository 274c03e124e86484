"""Worker processes: each takes one job after another, trains it, and writes its record.

A worker is `python -m mfbench.search.workers`: it reads tasks and writes scored epochs and ends, as lines of JSON. It is not
multiprocessing, which would import the caller's main script again, and where one dead process would break the whole pool. A
worker exits as soon as its parent is gone, so a killed sweep leaves nothing running.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel

from mfbench.core.errors import InputError, MfbenchError, WorkError, is_disk_full, of_the_machine
from mfbench.core.machine import core_list
from mfbench.data.splits import Parts, parts_in
from mfbench.runs.jobs import Job, give_up
from mfbench.runs.preparation import Preparation
from mfbench.runs.record_files import read_record
from mfbench.runs.records import Record
from mfbench.runs.training import train_and_record
from mfbench.search.pruning import Prune, Pruning

DEATHS = 3
"""So often may a worker die on the same job before the job counts as failed."""

STOPPED = "the sweep was stopped"
OnEpoch = Callable[[Job, int, float], None]
OnDone = Callable[[Record], None]


class Task(BaseModel):
    """What a worker is given: a job, or several to be trained side by side, and the folder of the parts it may read.

    prune: a `Prune` as JSON, the same text for all tasks of a batch, so that a worker makes its frozen study once a batch.
    """

    jobs: list[Job]
    parts: Path
    prune: str | None = None


class Workers:
    """A worker process for each share of the cores; a context manager. `tasks` counts what they have been given."""

    def __init__(self, shares: Sequence[Sequence[int]]):
        self.tasks = 0
        self._processes = [_Process(share) for share in shares]
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)

    def __len__(self) -> int:
        return len(self._processes)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.stop()

    def run_tasks(self, tasks: Sequence[Task], on_done: OnDone, on_epoch: OnEpoch) -> None:
        """Have all tasks done; `on_done` and `on_epoch` are called from threads, as things happen.

        Raises InputError where a worker finds the user's input wrong, WorkError where the machine is in trouble, as with a
        full disk. A task on which a worker died three times is failed.
        """
        self.tasks += len(tasks)
        pool = ThreadPoolExecutor(max_workers=len(self._processes))
        try:
            futures = [pool.submit(self._one, task, on_done, on_epoch) for task in tasks]
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _one(self, task: Task, on_done: OnDone, on_epoch: OnEpoch) -> None:
        process = self._idle.get()
        try:
            for _ in range(DEATHS):
                if process.run_task(task, on_epoch):
                    for job in task.jobs:
                        on_done(read_record(job.path))
                    return
            reason = f"the worker process died {DEATHS} times on it, last {_in_words(process.status)}"
            for job in task.jobs:
                on_done(give_up(job, parts_in(task.parts), reason))
        finally:
            self._idle.put(process)


class _Process:
    """The parent's end of one worker."""

    def __init__(self, share: Sequence[int]):
        self._share = share
        self._changing = threading.Lock()
        self._stopped = False
        self.status = 0
        self._start()

    def _start(self) -> None:
        # It finds modules where this process does: not in the current folder (-P), but for a script's own folder and the like.
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        with self._changing, _held_back(signal.SIGINT, signal.SIGTERM):
            if self._stopped:
                raise WorkError(STOPPED)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mfbench.search.workers", ",".join(map(str, self._share))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        self._ready = False

    def run_task(self, task: Task, on_epoch: OnEpoch) -> bool:
        """Whether the task was done; False when the process died on it, and another has been started in its place."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(task.model_dump_json() + "\n")
            for line in process.stdout:
                said = json.loads(line)
                if "ready" in said:
                    self._ready = True
                elif "epoch" in said:
                    on_epoch(task.jobs[said["job"]], said["epoch"], said["value"])
                elif "error" in said:
                    raise InputError(said["error"]) if said["input"] else WorkError(said["error"])
                else:
                    return True
        except BrokenPipeError:
            pass  # it died before it could read the task: the same as dying on it
        self.status = process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()
        if not self._ready and self.status >= 0:
            raise WorkError(f"a worker process cannot start (it ended with status {self.status}); what it said is above")
        self._start()
        return False

    def stop(self) -> None:
        with self._changing:
            self._stopped = True
            self._process.kill()
        self._process.wait()


@contextmanager
def _held_back(*signals: signal.Signals) -> Iterator[None]:
    """A process that is started here never sees these signals, which may reach a whole group: its parent decides."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_words(status: int) -> str:
    if status == -signal.SIGKILL:
        return "killed (signal 9): out of memory?"
    return f"with status {status}" if status >= 0 else f"by signal {-status} ({signal.strsignal(-status)})"


def shares(n: int) -> list[list[int]]:
    """For each of n workers the cores it may use: cores // n each, at least one."""
    there = core_list()
    each = max(1, len(there) // n)
    return [[there[(w * each + k) % len(there)] for k in range(each)] for w in range(n)]


# --- inside the worker -----------------------------------------------------------------------------------------------


def main() -> None:
    """Take tasks from standard input until it ends."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in sys.argv[1].split(",")])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not stand between the answers
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(tasks,), daemon=True).start()

    def say(said: dict[str, Any]) -> None:
        try:
            answers.write(json.dumps(said) + "\n")
        except BrokenPipeError:
            os._exit(0)  # the parent is gone

    say({"ready": True})
    preparation = Preparation()
    while True:
        _run_task(tasks.get(), preparation, say)


def _receive(tasks: queue.SimpleQueue[Task]) -> None:
    try:
        for line in sys.stdin:
            tasks.put(Task.model_validate_json(line))
    finally:
        os._exit(0)  # the parent is gone, or cannot be understood


def _run_task(task: Task, preparation: Preparation, say: Callable[[dict[str, Any]], object]) -> None:
    parts, place = _parts(task.parts), {job.run_key: j for j, job in enumerate(task.jobs)}
    prune = task.prune
    should_stop = {job.run_key: _pruning(prune).watch(job.number) for job in task.jobs} if prune else None

    def watch(job: Job, epoch: int, value: float) -> bool:
        say({"job": place[job.run_key], "epoch": epoch, "value": value})
        return should_stop is not None and should_stop[job.run_key](epoch, value)

    try:
        train_and_record(task.jobs, parts, watch, preparation)
    except MfbenchError as error:
        say({"error": str(error), "input": isinstance(error, InputError)})
    except OSError as error:
        if not is_disk_full(error):
            raise
        say({"error": str(of_the_machine(error)), "input": False})
    else:
        say({"done": True})


@lru_cache(maxsize=1)
def _parts(folder: Path) -> Parts:
    return parts_in(folder)


@lru_cache(maxsize=1)
def _pruning(prune: str) -> Pruning:
    return Pruning(Prune.model_validate_json(prune))


if __name__ == "__main__":
    main()
