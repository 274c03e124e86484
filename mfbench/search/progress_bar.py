"""Progress for people, on stderr: bars in a terminal, elsewhere a line per batch. It measures time, and decides nothing."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from mfbench.core.inert import visible
from mfbench.core.objective import Objective
from mfbench.runs.jobs import Job
from mfbench.runs.progress import FINALS, Watcher
from mfbench.runs.records import Record

EXPORT = "MLflow export"
WHOLE = "all"
LONG = 10.0
"""Seconds after which the wait for the export to MLflow is reported where there is no terminal."""


@dataclass
class Part:
    """The runs of one backend, or the final runs.

    done: finished runs. trained: those of them that were trained in this session. shares: how much of a run in progress is
    done, by run key. seconds: the time spent on them in this session. cost, best: of the best value so far. told: `trained`
    when a line was last printed.
    """

    runs: int
    done: int = 0
    trained: int = 0
    shares: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cost: float = math.inf
    best: str = ""
    told: int = 0

    @property
    def completed(self) -> float:
        """The number of finished runs, and the shares of those in progress."""
        return min(self.runs, self.done + sum(self.shares.values()))

    @property
    def worked(self) -> float:
        """The number of runs trained in this session, and the shares of those in progress."""
        return self.trained + sum(self.shares.values())

    def judge(self, objective: Objective, value: float | None) -> None:
        """Keep the best value so far, in words."""
        cost = objective.cost(value)
        if cost < self.cost:
            name = "RMSE" if objective.name == "valid_rmse" else objective.title
            self.cost, self.best = cost, f"best {name} {value:.4f}"


def seconds_left(parts: dict[str, Part]) -> float | None:
    """The time that the rest of all parts will take: each at its own pace, one that has not begun at that of the others.

    None as long as nothing has been trained.
    """
    worked = sum(part.worked for part in parts.values())
    if not worked:
        return None
    pace = sum(part.seconds for part in parts.values()) / worked
    return sum((part.runs - part.completed) * (part.seconds / part.worked if part.worked else pace) for part in parts.values())


class ProgressBar(Watcher):
    """In a terminal a bar for each backend, the final runs and the export, with the best RMSE and the time left of all.

    Without a terminal, as in a log file, a line after each batch says the same. A run in progress counts as the share of
    its epochs, so the bar of a search with one slow trial moves too. clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<13}", markup=False), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[says]}"), console=self._console, disable=not self._shows,
        )  # fmt: skip
        self._clock, self._last = clock, clock()
        self._parts: dict[str, Part] = {}
        self._tasks: dict[str, TaskID] = {}
        self._export: tuple[float, int] | None = None  # when the wait for it began, and the most exports that were left
        self._changing = threading.RLock()

    @property
    def _shows(self) -> bool:
        return self._console.is_terminal

    def __enter__(self) -> Watcher:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def expect(self, runs: Mapping[str, int]) -> None:
        """Add bars, or change their lengths."""
        with self._changing:
            for name, number in runs.items():
                self._parts.setdefault(name, Part(number)).runs = number
            self._last = self._clock()
            self._draw()

    def epoch(self, job: Job, epoch: int, value: float) -> None:
        """Advance the bar by a part of a run."""
        with self._changing:
            part = self._part(job.backend, final=job.best is not None)
            if part:
                part.shares[job.run_key] = epoch / job.epochs
                if job.best is None:  # the value of a final run is a train RMSE
                    part.judge(job.objective, value)
                self._spend(part)

    def done(self, record: Record) -> None:
        """Advance the bar to the end of the run."""
        with self._changing:
            part = self._finish(record)
            if part:
                part.trained += 1
                self._spend(part)

    def found(self, record: Record) -> None:
        """Advance the bar by a run that has cost no time now."""
        with self._changing:
            self._finish(record)
            self._last = self._clock()
            self._draw()

    def batch(self, part: str) -> None:
        """Without a terminal, a line about the whole work, if it has moved."""
        with self._changing:
            one = self._parts.get(part)
            if one and not self._shows and one.trained > one.told:
                one.told = one.trained
                self._print(self._line(part, one))

    def exporting(self, left: int) -> None:
        """Show a bar of the export; without a terminal a line, if it takes long."""
        with self._changing:
            since, most = self._export or (self._clock(), 0)
            late = self._clock() - since > LONG
            if late and not self._shows and since < math.inf:
                self._print(f"waiting for the export to MLflow: {left} left")
                since = math.inf  # once
            self._export = since, max(most, left)
            if self._shows and left:
                self._task(EXPORT, self._export[1], self._export[1] - left, "")

    def say(self, sentence: str) -> None:
        """Print the message above the bars, even if stderr is not a terminal."""
        self._print(sentence, style="yellow")

    def _part(self, backend: str, final: bool) -> Part | None:
        return self._parts.get(FINALS if final and FINALS in self._parts else backend)

    def _finish(self, record: Record) -> Part | None:
        part = self._part(record.backend, final=record.best_trial is not None)
        if part:
            part.shares.pop(record.run_key, None)
            part.done += 1
            if record.best_trial is None:
                part.judge(record.objective, record.judged)
        return part

    def _spend(self, part: Part) -> None:
        """Count the time since the last event for this part."""
        now = self._clock()
        part.seconds, self._last = part.seconds + now - self._last, now
        self._draw()

    def _line(self, name: str, part: Part) -> str:
        best = f", {part.best}" if part.best else ""
        sentence = f"{name}: {part.done} of {part.runs} runs{best}"
        if len(self._parts) > 1:
            every = self._parts.values()
            sentence += f"; {sum(one.done for one in every)} of {sum(one.runs for one in every)} in all"
        return f"{sentence}; {self._left()}"

    def _left(self) -> str:
        seconds = seconds_left(self._parts)
        if seconds is None:
            return ""
        return f"about {_rough(seconds)} left" if seconds > 0 else "done"

    def _draw(self) -> None:
        if not self._shows:
            return
        several = len(self._parts) > 1
        for name, part in self._parts.items():
            self._task(name, part.runs, part.completed, part.best if several else f"{part.best}  {self._left()}".strip())
        if several:
            parts = self._parts.values()
            self._task(WHOLE, sum(one.runs for one in parts), sum(one.completed for one in parts), self._left())

    def _task(self, name: str, total: float, completed: float, says: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, says=says)
        self._bars.update(self._tasks[name], total=total, completed=completed, says=says)

    def _print(self, sentence: str, style: str | None = None) -> None:
        self._console.print(visible(sentence), style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _rough(seconds: float) -> str:
    """A duration in two digits.

    >>> _rough(52.3), _rough(600), _rough(12_345)
    ('52 s', '10 min', '3.4 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
