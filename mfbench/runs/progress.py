"""Watchers, which are notified of the progress of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

from mfbench.runs.jobs import Job
from mfbench.runs.records import Record

FINALS = "final runs"
"""What follows the searches of a sweep, as a part of its work beside the backends."""


class Watcher:
    """Base class of watchers: ignores every event. Its methods may be called from any thread; it is a context manager."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def expect(self, runs: Mapping[str, int]) -> None:
        """The number of runs to come of each backend, and of FINALS; called again if some turn out to have fewer."""

    def trains(self) -> None:
        """Runs that have no record are about to be trained."""

    def epoch(self, job: Job, epoch: int, value: float) -> None:
        """A run scored an epoch with this value of its objective; train RMSE if the split has no valid part."""

    def done(self, record: Record) -> None:
        """A run is finished."""

    def found(self, record: Record) -> None:
        """A run was finished in an earlier session; by default this counts as done."""
        self.done(record)

    def batch(self, part: str) -> None:
        """The next runs of a backend, or of FINALS, that belong together are finished."""

    def exporting(self, left: int) -> None:
        """The runs are finished, and so many exports to MLflow are left."""

    def say(self, sentence: str) -> None:
        """A message for the user."""


class Watchers(Watcher):
    """Several watchers as one."""

    def __init__(self, watchers: Sequence[Watcher]):
        self._watchers = watchers

    def expect(self, runs: Mapping[str, int]) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.expect(runs)

    def trains(self) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.trains()

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

    def batch(self, part: str) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.batch(part)

    def exporting(self, left: int) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.exporting(left)

    def say(self, sentence: str) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.say(sentence)


class Once(Watchers):
    """Passes on everything, but each sentence only once."""

    def __init__(self, watcher: Watcher):
        super().__init__([watcher])
        self._said: set[str] = set()

    def say(self, sentence: str) -> None:
        """Notify the watcher, unless it has been told."""
        if sentence not in self._said:
            self._said.add(sentence)
            super().say(sentence)
