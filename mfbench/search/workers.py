"""Worker processes: each trains the jobs it receives, one task after another, and writes their records.

A worker is `python -m mfbench.search.workers`: it reads one task per line of JSON, and writes each scored epoch and the end
of the task as a line of JSON. A worker exits as soon as its parent is gone, so a killed sweep leaves no process behind.

Why no existing pool: multiprocessing imports the caller's main script again. In loky, as there, one killed process breaks
the pool, and all tasks in flight were lost; nor are epochs heard of before a task ends. Dask's LocalCluster lost no task,
but is 21 packages more, took 1.3 s of CPU to start two workers (these: 1.0 s, with mfbench and its compiled code loaded) and
on a busy machine 41 ms for an empty task (loky: 3 ms); and what drives it, in `search/cluster`, has 345 lines.
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
from typing import Any, Protocol

from pydantic import BaseModel

from mfbench.core.errors import InputError, MfbenchError, WorkError, is_disk_full, of_the_machine
from mfbench.core.machine import core_list
from mfbench.data.splits import Parts, parts_in
from mfbench.matrix.compiled import load
from mfbench.runs.jobs import Job, give_up
from mfbench.runs.preparation import Preparation
from mfbench.runs.record_files import read_record
from mfbench.runs.records import Record
from mfbench.runs.training import train_and_record
from mfbench.search.pruning import Prune, Pruning

DEATHS = 3
"""A task fails once this many worker processes have died on it."""

OnEpoch = Callable[[Job, int, float], None]
OnDone = Callable[[Record], None]


class Task(BaseModel):
    """One or more jobs for a worker, several of them to be trained side by side, and the folder of their parts.

    prune: a `Prune` as JSON; the same text for all tasks of a batch, so a worker builds its study once per batch.
    """

    jobs: list[Job]
    parts: Path
    prune: str | None = None


class Crew(Protocol):
    """Who runs the tasks of a batch; tasks: the number of tasks run so far. See `Workers` for its methods."""

    tasks: int

    def __len__(self) -> int: ...
    def start(self) -> None: ...
    def run_tasks(self, tasks: Sequence[Task], on_done: OnDone, on_epoch: OnEpoch) -> None: ...


class Workers:
    """One worker process for each share of the cores; a context manager. tasks: the number of tasks run so far."""

    def __init__(self, shares: Sequence[Sequence[int]]):
        self.tasks = 0
        self._shares = shares
        self._processes: list[_Process] = []
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the processes. `run_tasks` does so too, but it takes them a second until they are ready."""
        for share in self._shares[len(self._processes) :]:
            self._processes.append(_Process(share))
            self._idle.put(self._processes[-1])

    def __len__(self) -> int:
        return len(self._shares)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.stop()

    def run_tasks(self, tasks: Sequence[Task], on_done: OnDone, on_epoch: OnEpoch) -> None:
        """Run all tasks; `on_done` and `on_epoch` are called from threads, as records and epochs arrive.

        Raises InputError if a worker finds the user's input invalid, WorkError for a problem of the machine such as a full
        disk. The jobs of a task on which three workers have died count as failed.
        """
        if not tasks:
            return
        self.start()
        self.tasks += len(tasks)
        pool = ThreadPoolExecutor(max_workers=len(self))
        try:
            futures = [pool.submit(self._run_one, task, on_done, on_epoch) for task in tasks]
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _run_one(self, task: Task, on_done: OnDone, on_epoch: OnEpoch) -> None:
        process = self._idle.get()
        try:
            for _ in range(DEATHS):
                if process.run_task(task, on_epoch):
                    for job in task.jobs:
                        on_done(read_record(job.path))
                    return
            reason = f"the worker process died {DEATHS} times on this task, last {_in_words(process.status)}"
            for job in task.jobs:
                on_done(give_up(job, parts_in(task.parts), reason))
        finally:
            self._idle.put(process)


class _Process:
    """One worker, as seen from the parent process."""

    def __init__(self, share: Sequence[int]):
        self._share = share
        self._changing = threading.Lock()
        self._stopped = False
        self.status = 0
        self._start()

    def _start(self) -> None:
        # Same import path as this process; -P keeps the current folder off it, unless it is on sys.path here too.
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        with self._changing, _held_back(signal.SIGINT, signal.SIGTERM):
            if self._stopped:
                raise WorkError("the sweep was stopped")
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mfbench.search.workers", ",".join(map(str, self._share))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        self._ready = False

    def run_task(self, task: Task, on_epoch: OnEpoch) -> bool:
        """Run a task and return True; False if the process died on it and was replaced by a new one."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(task.model_dump_json() + "\n")
            for line in process.stdout:
                message = json.loads(line)
                if "ready" in message:
                    self._ready = True
                elif "epoch" in message:
                    on_epoch(task.jobs[message["job"]], message["epoch"], message["value"])
                elif "error" in message:
                    raise InputError(message["error"]) if message["input"] else WorkError(message["error"])
                else:
                    return True
        except BrokenPipeError:
            pass  # it died before it read the task: counts as dying on it
        self.status = process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()
        if not self._ready and self.status >= 0:
            raise WorkError(f"a worker process could not start (exit status {self.status}); see its output above")
        self._start()
        return False

    def stop(self) -> None:
        with self._changing:
            self._stopped = True
            self._process.kill()
        self._process.wait()


@contextmanager
def _held_back(*signals: signal.Signals) -> Iterator[None]:
    """Block these signals in a process started here: Ctrl-C reaches the whole group, but only the parent must react."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_words(status: int) -> str:
    if status == -signal.SIGKILL:
        return "killed (signal 9): out of memory?"
    return f"with exit status {status}" if status >= 0 else f"by signal {-status} ({signal.strsignal(-status)})"


def shares(n: int, asked: str = "--workers") -> list[list[int]]:
    """The cores that each of n workers may use: cores // n each, but at least one.

    InputError for more workers than any use of the cores can ask for: each is a process. asked: the option that asks for them.
    """
    cores = core_list()
    if n > (most := max(16, 4 * len(cores))):
        raise InputError(f"{asked} {n}: this machine has {len(cores)} cores; give at most {most} workers")
    each = max(1, len(cores) // n)
    return [[cores[(w * each + k) % len(cores)] for k in range(each)] for w in range(n)]


# --- inside the worker -----------------------------------------------------------------------------------------------


def main() -> None:
    """Run tasks from standard input until it is closed."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in sys.argv[1].split(",")])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries goes to stderr: stdout is for answers only
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(tasks,), daemon=True).start()

    def say(message: dict[str, Any]) -> None:
        try:
            answers.write(json.dumps(message) + "\n")
        except BrokenPipeError:
            os._exit(0)  # the parent is gone

    say({"ready": True})
    load()
    preparation = Preparation()
    while True:
        run_task(tasks.get(), preparation, say)


def _receive(tasks: queue.SimpleQueue[Task]) -> None:
    try:
        for line in sys.stdin:
            tasks.put(Task.model_validate_json(line))
    finally:
        os._exit(0)  # the parent is gone, or sent an invalid task


def run_task(task: Task, preparation: Preparation, say: Callable[[dict[str, Any]], object]) -> None:
    """Train the jobs of a task and write their records; say each scored epoch, and how it ended."""
    parts, prune = _parts(task.parts), task.prune
    index = {job.run_key: j for j, job in enumerate(task.jobs)}
    should_stop = {job.run_key: _pruning(prune).watch(job.number) for job in task.jobs} if prune else None

    def watch(job: Job, epoch: int, value: float) -> bool:
        say({"job": index[job.run_key], "epoch": epoch, "value": value})
        return should_stop is not None and should_stop[job.run_key](epoch, job.objective.cost(value))

    try:
        train_and_record(task.jobs, parts, watch, preparation)
    except MfbenchError as error:
        say({"error": str(error), "input": isinstance(error, InputError)})
    except OSError as error:  # a backend's own would have failed its run
        if error.filename is None and not is_disk_full(error):
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
