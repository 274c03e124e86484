"""Records on their way to MLflow: beside the training, or afterwards with `mfbench sync`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from mfbench.core.errors import InputError, MfbenchError, WorkError
from mfbench.runs.progress import ProgressBar, Watcher, Watchers
from mfbench.runs.record_files import study_records
from mfbench.runs.records import Record
from mfbench.search.outcome import Swept
from mfbench.tracking.client import Tracker
from mfbench.tracking.store import shown, sqlite_path, store_uri, why

FAILURES = 6  # in a row, once the training has ended, before the rest is left to `mfbench sync`
# So many seconds may pass at the end without a run getting through. Behind a file there is nobody who might not answer: only
# this machine, which may have other work to do.
SERVER_PATIENCE, FILE_PATIENCE = 30.0, 600.0
STOP_SECONDS = 3.0  # so long may the export go on after ^C
FIRST_PAUSE, LONGEST_PAUSE, LAST_PAUSE = 0.25, 15.0, 1.0  # seconds after a failure, in training, at the end


class Export:
    """Exports records in a thread of its own while the training goes on; whatever MLflow does, it stops nothing.

        with Export(spec.name) as export:
            export.put(record)
            export.close_sweep(swept)
        export.run_ids, export.problem

    What fails is tried again as long as the block lasts, and a few times more at its end, which waits until everything
    is through, or nothing has got through for `patience` seconds. Then `run_ids` has MLflow's run id by run key, and
    `problem` is None or one sentence.
    """

    def __init__(self, name: str, patience: float | None = None) -> None:
        self.run_ids: dict[str, str] = {}
        self.problem: str | None = None
        self._name = name
        self._patience = patience or (FILE_PATIENCE if sqlite_path(store_uri()) else SERVER_PATIENCE)
        self._jobs: deque[Callable[[Tracker], None]] = deque()
        self._put: set[str] = set()
        self._swept: list[Record] = []
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._progress = time.monotonic()
        # A daemon: a call to a server that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="mlflow-export", daemon=True)

    def __enter__(self) -> Export:
        self._thread.start()
        return self

    def put(self, record: Record) -> None:
        """Export this record, soon; a run of a sweep goes under its parent run."""

        def job(tracker: Tracker) -> None:
            self.run_ids[record.run_key] = _export(tracker, record)

        self._put.add(record.run_key)
        if record.stage != "run":
            self._swept.append(record)
        self._add(job)

    def close_sweep(self, swept: Swept) -> None:
        """End the sweep's parent run, after all its records; those that were not put yet are.

        A sweep that goes on makes no record twice, but an export before it may have been cut short.
        """
        for record in swept.records:
            if record.run_key not in self._put:
                self.put(record)

        def job(tracker: Tracker) -> None:
            parent = tracker.open_sweep(swept.records[0])
            if not tracker.is_closed(parent, swept):
                tracker.close_sweep(parent, swept)
            self.run_ids[swept.study] = parent

        self._put.add(swept.study)
        self._add(job)

    def stop_sweep(self, status: str = "KILLED") -> None:
        """End the parent run of a sweep that ended before its final runs, so that MLflow does not show it running."""
        if swept := Swept.of(self._swept.copy()):
            self._add(lambda tracker: tracker.stop_sweep(tracker.open_sweep(swept.records[0]), swept, status))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        # Whoever presses ^C wants an end; the records are there, and are exported when the sweep goes on.
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        left_at = self._progress = time.monotonic()
        while self._thread.is_alive():
            now = time.monotonic()
            if now - self._progress > self._patience or (stopped and now - left_at > STOP_SECONDS):
                break
            self._thread.join(0.05)
        missing = len(self._put - set(self.run_ids))
        if missing:
            reason = why(self._error) if self._error else "no answer in time"
            self.problem = (
                f"MLflow at {shown(store_uri())}: {missing} of {len(self._put)} runs are not exported ({reason});"
                " `mfbench sync` exports what is missing"
            )

    def _add(self, job: Callable[[Tracker], None]) -> None:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def _work(self) -> None:
        tracker: Tracker | None = None
        failures, pause, closing = 0, FIRST_PAUSE, False
        while True:
            if self._closing and not closing:
                failures, pause, closing = 0, FIRST_PAUSE, True
            try:
                # Before the first record: importing mlflow and making a store take seconds.
                if tracker is None:
                    tracker = Tracker(self._name)
                    self._progress = time.monotonic()
                with self._changed:
                    self._changed.wait_for(lambda: self._jobs or self._closing)
                    if not self._jobs:
                        return
                    job = self._jobs[0]
                job(tracker)
            except Exception as error:  # whatever MLflow raises; told in `problem`
                self._error = error
                failures += 1
                if tracker is not None:
                    self._jobs.rotate(-1)  # one record that MLflow refuses does not hold up the others
                if closing and failures >= FAILURES:
                    return
                self._rest(pause, closing)
                pause = min(2 * pause, LAST_PAUSE if closing else LONGEST_PAUSE)
            else:
                self._jobs.popleft()
                failures, pause, self._progress = 0, FIRST_PAUSE, time.monotonic()

    def _rest(self, seconds: float, closing: bool) -> None:
        if closing:
            time.sleep(seconds)
        else:
            with self._changed:
                self._changed.wait_for(lambda: self._closing, seconds)


def sync(study: str) -> int:
    """Export every record of a study that MLflow lacks, and give their number; WorkError where MLflow cannot be had.

    The sweep's parent run is ended, as by the sweep itself, once each of its backends has its final run.
    """
    found = sorted(study_records(study), key=lambda record: record.started)
    if not found:
        raise InputError(f"study {study}: there is no record of it under runs/; give the key of a study that has run")
    sent = 0
    try:
        tracker = Tracker(found[0].spec.name)
        for record in found:
            if not tracker.is_exported(record):
                _export(tracker, record)
                sent += 1
        swept = Swept.of(found)
        if swept and _complete(swept):
            parent = tracker.open_sweep(swept.records[0])
            if not tracker.is_closed(parent, swept):
                tracker.close_sweep(parent, swept)
    except MfbenchError:
        raise
    except Exception as error:  # whatever MLflow raises
        raise WorkError(
            f"MLflow at {shown(store_uri())}: {sent} of {len(found)} runs exported, then it failed ({why(error)});"
            " run `mfbench sync` again"
        ) from error
    return sent


def _export(tracker: Tracker, record: Record) -> str:
    return tracker.export(record, None if record.stage == "run" else tracker.open_sweep(record))


def _complete(swept: Swept) -> bool:
    """Whether each backend of the latest spec has its final, or is a floor that has run."""
    latest = max(swept.records, key=lambda record: record.started).spec
    return set(latest.backends()) <= {record.backend for record in swept.finals}


class _Exporting(Watcher):
    """Sends each record on to MLflow."""

    def __init__(self, export: Export):
        self._export = export

    def done(self, record: Record) -> None:
        self._export.put(record)


@contextmanager
def watched(name: str) -> Iterator[tuple[Watcher, Export]]:
    """A progress bar and an export to MLflow beside the work; a sentence at the end where the export did not get through."""
    with ProgressBar() as bar:
        export = Export(name)
        with export:
            yield Watchers([bar, _Exporting(export)]), export
        if export.problem:
            bar.say(export.problem)
