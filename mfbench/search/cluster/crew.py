"""A crew on a Dask cluster: Dask carries the tasks of a batch to its workers, and brings back the records.

What to try next stays a function of the finished records, and only this process writes them. So trials, numbers and winner
are those of local workers, whatever workers come and go. Each worker gets the train and valid parts once, by Dask's own
worker plugins; the test part never leaves this machine, so the final runs are trained here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import dask
from distributed import CancelledError, Client, KilledWorker, wait
from distributed.comm import CommClosedError

from mfbench.core.errors import InputError, WorkError
from mfbench.core.files import write_whole
from mfbench.core.paths import RUNS
from mfbench.data.splits import Parts, parts_in
from mfbench.runs.environment import environment
from mfbench.runs.jobs import give_up
from mfbench.runs.record_files import read_record
from mfbench.runs.records import Record
from mfbench.search.cluster.description import ClusterFile, described, started
from mfbench.search.cluster.worker import EPOCHS, Luggage, train
from mfbench.search.workers import DEATHS, OnDone, OnEpoch, Task, shares

CONNECT = "10s"
"""How long to try to reach a scheduler."""


class Cluster:
    """The workers of a Dask cluster, with the interface of `workers.Workers`; a context manager.

    where: the address of a scheduler, a YAML file (`ClusterFile`), or `local:N` for N processes of this machine. parts: of
    all folds. code: the names of backends and metrics; the file of a user's own one is sent too, if its path is relative.
    say: is given sentences for people. tasks: the number of tasks run so far.
    """

    def __init__(self, where: str, parts: Sequence[Parts], code: Iterable[str], say: Callable[[str], None]):
        self.tasks = 0
        self._where, self._parts, self._code, self._say = where, parts, code, say
        self._file: ClusterFile = described(where)
        self._owned: Any = None
        self._client: Client | None = None
        self._heard: dict[str, float] = {}  # when a task was last heard of, by its key at Dask
        self._workers = 0
        self._processors = {environment().cpu}

    def __len__(self) -> int:
        return max(1, self._workers)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # workers that are stopped complain of it
        for one in (self._client, self._owned):
            if one is not None:
                one.close()

    def start(self) -> None:
        """Connect to the cluster, starting it if it is this sweep's own, and send its workers the parts."""
        if self._client is not None:
            return
        dask.config.set({"distributed.scheduler.allowed-failures": DEATHS - 1, "distributed.comm.timeouts.connect": CONNECT})
        logging.getLogger("distributed").setLevel(logging.ERROR)
        for name in ("tornado.application", "asyncio"):  # of a worker that dies as it starts: the count of workers tells it
            logging.getLogger(name).setLevel(logging.CRITICAL)
        cores = shares(self._file.workers, "--cluster with local workers:") if self._where.startswith("local:") else []
        try:
            self._owned = started(self._file)
            self._client = Client(self._owned or self._where)
            self._client.wait_for_workers(1, timeout=self._file.deadline)
            self._client.subscribe_topic(EPOCHS, self._on_event)
            self._send(Luggage(_files(self._parts, self._code), cores))
        except TimeoutError:
            waited = f"{self._file.deadline:.0f} s"
            raise WorkError(f"{self._where}: no worker of the cluster came within {waited}; start some") from None
        except (OSError, TypeError, ValueError, ImportError) as error:
            raise WorkError(f"{self._where}: the cluster cannot be used ({error}); check its address and workers") from None
        self._count_workers()

    def _send(self, luggage: Luggage) -> None:
        """Give all workers, and those that come later, what they need; again if one dies meanwhile."""
        assert self._client is not None
        for left in reversed(range(DEATHS)):
            try:
                self._client.register_plugin(luggage, name="mfbench")
                return
            except CommClosedError:
                if not left or self._client.status != "running":
                    raise

    def run_tasks(self, tasks: Sequence[Task], on_done: OnDone, on_epoch: OnEpoch) -> None:
        """As `Workers.run_tasks`. WorkError if the cluster goes away; what was finished by then has its records."""
        if not tasks:
            return
        self.start()
        assert self._client is not None
        self._on_epoch = on_epoch
        waiting: dict[Any, Task] = {}
        for task in tasks:
            self.tasks += 1
            key = f"{task.jobs[0].run_key}#{self.tasks}"
            future = self._client.submit(
                train,
                _for_worker(task),
                key=key,
                pure=False,
                retries=0,
                priority=-self.tasks,
                resources=self._file.resources or None,
            )
            waiting[future] = task
        self._tasks = {future.key: task for future, task in waiting.items()}
        try:
            while waiting:
                try:
                    ended = wait(list(waiting), timeout=1, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    ended = set()
                for future in ended:
                    self._take(future, waiting.pop(future), on_done)
                self._look_after()
        except (CancelledError, CommClosedError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, CommClosedError) and error.errno is not None:
                raise  # of this machine: a full disk, say
            raise WorkError(f"{self._where}: the cluster has gone away; rerun the command to resume") from None
        finally:
            self._client.cancel(list(waiting), force=True, reason="the sweep was stopped")

    def _take(self, future: Any, task: Task, on_done: OnDone) -> None:
        """Write what a task brought back, its records last."""
        self._heard.pop(future.key, None)
        try:
            answer = future.result()
        except KilledWorker:
            for job in task.jobs:
                on_done(give_up(job, parts_in(task.parts), f"the worker died {DEATHS} times on this task"))
            return
        if answer["error"] is not None:
            raise InputError(answer["error"]) if answer["input"] else WorkError(answer["error"])
        for name, content in sorted(answer["files"].items(), key=lambda file: file[0].endswith(".json")):
            write_whole(RUNS / name, content, wait=False)
        for job in task.jobs:
            on_done(self._checked(read_record(job.path)))

    def _checked(self, record: Record) -> Record:
        """The record, if the code that made it is this one; another processor is reported once."""
        made, here = record.environment, environment()
        if made.source != here.source:
            record.path.unlink()
            raise WorkError(
                f"{self._where}: its workers have another version of mfbench than this machine; install this version there"
            )
        if made.cpu not in self._processors:
            self._processors.add(made.cpu)
            self._say(
                f"some trials are trained on another processor ({made.cpu}); their last bits may differ from those made here"
            )
        return record

    def _look_after(self) -> None:
        """Notice workers that come and go, a cluster that is gone, and tasks that hang."""
        assert self._client is not None
        if self._client.status in ("closed", "closing"):
            raise CancelledError(self._where)
        if self._client.status != "running":
            return  # it is connecting again
        self._count_workers()
        now = time.monotonic()
        for worker, keys in self._client.processing().items():
            for key in map(str, keys):
                if now - self._heard.setdefault(key, now) > self._file.deadline:
                    self._say(f"{key.partition('#')[0]}: no epoch for {self._file.deadline:.0f} s, so its worker is restarted")
                    self._heard.pop(key)
                    self._client.restart_workers([worker], raise_for_error=False)

    def _count_workers(self) -> None:
        assert self._client is not None
        count = len(self._client.scheduler_info(n_workers=-1)["workers"])
        if count != self._workers:
            self._workers = count
            self._say(f"{self._where}: {count} worker{'s' if count != 1 else ''} of the cluster")

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        self._heard[message["key"]] = time.monotonic()
        if (task := self._tasks.get(message["key"])) is not None:
            self._on_epoch(task.jobs[message["job"]], message["epoch"], message["value"])


def _files(parts: Sequence[Parts], code: Iterable[str]) -> dict[str, bytes]:
    """The files that a worker needs, by their path there: all of the parts but the sealed one, and the user's own code."""
    names = ("card.json", "train.npz", "valid.npz")
    files = {f"splits/{one.folder.name}/{name}": (one.folder / name).read_bytes() for one in parts for name in names}
    own = {name.rpartition(":")[0] for name in code if ".py:" in name}
    return files | {
        path: Path(path).read_bytes() for path in own if not Path(path).is_absolute() and ".." not in Path(path).parts
    }


def _for_worker(task: Task) -> str:
    return task.model_copy(update={"parts": Path("splits") / task.parts.name}).model_dump_json()
