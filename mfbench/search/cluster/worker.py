"""What runs in a worker of a Dask cluster: a folder of its own with train and valid, and one task after another."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

from mfbench.core.files import write_whole
from mfbench.core.paths import RUNS
from mfbench.runs.preparation import Preparation
from mfbench.search.workers import Task, run_task

EPOCHS = "mfbench-epochs"
"""Dask's topic of scored epochs."""
NEWS = 0.2
"""Seconds between two reports of a task's epochs."""


class Luggage(WorkerPlugin):  # type: ignore[misc]
    """Gives a worker, also one that joins later, a folder of its own to work in, with the files that it needs.

    cores: of the workers of one machine that have a number for a name, so that they share its cores.
    """

    def __init__(self, files: Mapping[str, bytes], cores: Sequence[Iterable[int]]):
        self.files, self.cores = files, cores

    def setup(self, worker: Any) -> None:
        """Called by Dask on the worker."""
        folder = Path(worker.local_directory) / "mfbench"
        for name, content in self.files.items():
            write_whole(folder / name, content, wait=False)
        os.chdir(folder)
        if self.cores and hasattr(os, "sched_setaffinity"):
            for thread in threading.enumerate():
                if thread.native_id is not None:
                    os.sched_setaffinity(thread.native_id, self.cores[int(worker.name) % len(self.cores)])


_ONE = threading.Lock()  # a worker with several threads still trains one task at a time, with all its cores
_PREPARATION = Preparation()


def train(task_json: str) -> dict[str, Any]:
    """Run a task in this worker; the files that it wrote under runs/, by name, or its error."""
    task, worker, last = Task.model_validate_json(task_json), get_worker(), [0.0]
    key = worker.get_current_task()
    answer: dict[str, Any] = {"error": None, "input": False}

    def hear(message: dict[str, Any]) -> None:
        if "epoch" in message and time.monotonic() - last[0] > NEWS:
            last[0] = time.monotonic()
            worker.log_event(EPOCHS, {"key": key, **message})
        answer.update({name: value for name, value in message.items() if name in answer})

    with _ONE:
        run_task(task, _PREPARATION, hear)
        written = [path for path in RUNS.rglob("*") if path.is_file()]
        files = {path.relative_to(RUNS).as_posix(): path.read_bytes() for path in written}
        for path in written:
            path.unlink()
    return {**answer, "files": files}
