"""Watchers, which are notified of the progress of runs: their base class and the progress bar."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mfbench.core.objective import Objective
from mfbench.runs.jobs import Job
from mfbench.runs.records import Record, RunName


class Watcher:
    """Base class of watchers: ignores every event. Its methods may be called from any thread; it is a context manager."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def study(self, backend: str, trials: int) -> None:
        """A study with this number of trials starts."""

    def epoch(self, job: Job, epoch: int, value: float) -> None:
        """A run scored an epoch with this value of its objective; train RMSE if the split has no valid part."""

    def done(self, record: Record) -> None:
        """A run is finished."""

    def found(self, record: Record) -> None:
        """A run was finished in an earlier session; by default this counts as done."""
        self.done(record)

    def say(self, sentence: str) -> None:
        """A message for the user."""


class Watchers(Watcher):
    """Several watchers as one."""

    def __init__(self, watchers: Sequence[Watcher]):
        self._watchers = watchers

    def study(self, backend: str, trials: int) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.study(backend, trials)

    def epoch(self, job: Job, epoch: int, value: float) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.epoch(job, epoch, value)

    def done(self, record: Record) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.done(record)

    def found(self, record: Record) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.found(record)

    def say(self, sentence: str) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.say(sentence)


class ProgressBar(Watcher):
    """One progress bar per study on stderr: trials done, best value so far, time left. Hidden if stderr is not a terminal.

    A trial in progress counts as the share of its epochs, so the bar of a study with one slow trial moves too.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[best]}"),
            TimeRemainingColumn(), console=self._console, disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self._task: dict[str, TaskID] = {}
        self._best: dict[str, tuple[float, str]] = {}
        self._seen: dict[str, float] = {}

    def __enter__(self) -> Watcher:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def study(self, backend: str, trials: int) -> None:
        """Add a bar."""
        self._task[backend] = self._bars.add_task(backend, total=float(trials), best="")

    def epoch(self, job: Job, epoch: int, value: float) -> None:
        """Advance the bar by a part of a trial."""
        if job.best is None:  # final runs do not count as trials, and their value is a train RMSE
            self._advance(job, epoch / job.epochs, job.objective, value)

    def done(self, record: Record) -> None:
        """Advance the bar to the end of the trial."""
        if record.best_trial is None:
            self._advance(record, 1.0, record.objective, record.judged)

    def say(self, sentence: str) -> None:
        """Print the message above the bars, even if stderr is not a terminal."""
        self._console.print(sentence, style="yellow", highlight=False, soft_wrap=True)

    def _advance(self, run: RunName, share: float, objective: Objective, value: float | None) -> None:
        backend = run.backend
        if backend not in self._task:
            return
        cost = objective.cost(value)
        if cost < self._best.get(backend, (math.inf, ""))[0]:
            name = "RMSE" if objective.name == "valid_rmse" else objective.title
            self._best[backend] = cost, f"best {name} {value:.4f}"
        step, self._seen[run.run_key] = share - self._seen.get(run.run_key, 0.0), share
        self._bars.update(self._task[backend], advance=step, best=self._best.get(backend, (math.inf, ""))[1])
