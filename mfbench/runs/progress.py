"""Being told what happens while runs are made: the base of all watchers, and the progress bar."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mfbench.runs.jobs import Job
from mfbench.runs.records import Record


class Watcher:
    """Told what happens, from any thread; does nothing with it. A context manager."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def study(self, backend: str, trials: int) -> None:
        """A study of that many trials begins."""

    def epoch(self, job: Job, epoch: int, value: float) -> None:
        """A run has a scored epoch with this RMSE, on valid where there is one."""

    def done(self, record: Record) -> None:
        """A run has its record, made now or before."""

    def say(self, sentence: str) -> None:
        """Something that a person should know."""


class Watchers(Watcher):
    """Several watchers as one."""

    def __init__(self, watchers: Sequence[Watcher]):
        self._watchers = watchers

    def study(self, backend: str, trials: int) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.study(backend, trials)

    def epoch(self, job: Job, epoch: int, value: float) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.epoch(job, epoch, value)

    def done(self, record: Record) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.done(record)

    def say(self, sentence: str) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.say(sentence)


class ProgressBar(Watcher):
    """A bar a study on stderr: trials done, the best value so far, the time left. Quiet where stderr is no terminal.

    A trial counts by its epochs, so a study of one slow trial moves too.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[best]}"),
            TimeRemainingColumn(), console=self._console, disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self._task: dict[str, TaskID] = {}
        self._best: dict[str, float] = {}
        self._seen: dict[str, float] = {}

    def __enter__(self) -> Watcher:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def study(self, backend: str, trials: int) -> None:
        """A new bar."""
        self._task[backend] = self._bars.add_task(backend, total=float(trials), best="")

    def epoch(self, job: Job, epoch: int, value: float) -> None:
        """The bar moves by a part of a trial."""
        if job.best is None:  # a final run is no trial, and its value is that of its own train part
            self._advance(job.backend, job.run_key, epoch / job.epochs, value)

    def done(self, record: Record) -> None:
        """The bar moves to the end of the trial."""
        if record.best_trial is None:
            self._advance(record.backend, record.run_key, 1.0, record.valid_rmse)

    def say(self, sentence: str) -> None:
        """Above the bars; this is printed without a terminal too."""
        self._console.print(sentence, style="yellow", highlight=False, soft_wrap=True)

    def _advance(self, backend: str, run_key: str, share: float, value: float | None) -> None:
        if backend not in self._task:
            return
        best = min(self._best.get(backend, float("inf")), float("inf") if value is None else value)
        self._best[backend] = best
        step, self._seen[run_key] = share - self._seen.get(run_key, 0.0), share
        self._bars.update(self._task[backend], advance=step, best=f"best RMSE {best:.4f}" if best < float("inf") else "")
