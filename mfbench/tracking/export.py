"""The export of records to MLflow: in the background during the training, or afterwards with `mfbench sync`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from filelock import Timeout

from mfbench.core.errors import InputError, MfbenchError, WorkError
from mfbench.runs.progress import Watcher, Watchers
from mfbench.runs.record_files import study_records, sweep_lock
from mfbench.runs.records import Record
from mfbench.search.outcome import Swept
from mfbench.search.progress_bar import ProgressBar
from mfbench.tracking.client import Tracker
from mfbench.tracking.exported import ids_if_complete, running_sweeps
from mfbench.tracking.store import DamagedStoreError, is_away, shown, sqlite_path, store_uri, why

FAILURES = 6  # in a row after the end of the training; then the rest is left to `mfbench sync`
# Seconds without progress after the training until the export gives up. A server that has answered may be restarting; a file
# is slow only because this machine is busy.
SERVER_PATIENCE, FILE_PATIENCE = 60.0, 600.0
STOP_SECONDS = 3.0  # for what is left of the export after ^C
# Seconds to wait after a failure: at first, at most during the training, at most after it.
FIRST_PAUSE, LONGEST_PAUSE, LAST_PAUSE = 0.25, 15.0, 1.0


class Export:
    """Exports records in a thread of its own during the training, which a failure of MLflow never stops.

        with Export(spec.name) as export:
            export.put(record)

    Failures are retried until the block ends, and a few times more at its end, which waits until everything is exported or
    there was no progress for `patience` seconds, and tells `watcher` how much is left. Then `run_ids` has the MLflow run ids
    by run key, and `problem` is None or one sentence.
    """

    def __init__(self, name: str, patience: float | None = None, watcher: Watcher | None = None) -> None:
        self.run_ids: dict[str, str] = {}
        self.problem: str | None = None
        self._name = name
        self._watcher = watcher or Watcher()
        self._patience = patience or (FILE_PATIENCE if sqlite_path(store_uri()) else SERVER_PATIENCE)
        self._jobs: deque[Callable[[Tracker], None]] = deque()
        self._put: set[str] = set()
        self._swept: list[Record] = []
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._progress = time.monotonic()
        # A daemon thread: a call to a server that never answers must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="mlflow-export", daemon=True)

    def __enter__(self) -> Export:
        self._thread.start()
        return self

    def make_ready(self) -> None:
        """Import mlflow and open the store, which takes seconds, before there is something to export."""
        self._add(lambda _: None)

    def put(self, record: Record) -> None:
        """Queue this record for export; a run of a sweep becomes a child of the sweep's run."""
        if record.stage != "run":
            self._swept.append(record)
        self._queue(record)

    def found(self, record: Record) -> None:
        """Note a record of an earlier session, which `close_sweep` exports unless it has been."""
        self._swept.append(record)

    def _queue(self, record: Record) -> None:
        def job(tracker: Tracker) -> None:
            self.run_ids[record.run_key] = _export(tracker, record)

        self._put.add(record.run_key)
        self._add(job)

    def close_sweep(self, swept: Swept) -> None:
        """Queue the records of the sweep that are not exported, and then the end of its parent run.

        A resumed sweep does not put the records from before, and their export may have been interrupted. If the sweep was
        finished and exported before, nothing is sent, and only the ids of its finals and floors are found.
        """
        older = [record for record in swept.records if record.run_key not in self._put]
        if len(older) == len(swept.records) and (known := ids_if_complete(self._name, swept)) is not None:
            self.run_ids |= known
            return

        def start(tracker: Tracker) -> None:
            parent = tracker.open_sweep(swept.records[0])
            if tracker.is_complete(parent, swept):
                self._put -= {record.run_key for record in older}
                self.run_ids |= tracker.run_ids(swept.study, trials=False)
            else:
                self._queue_missing(tracker, older)
                self._add(end)

        def end(tracker: Tracker) -> None:
            if tracker.unite(swept.study):
                self._queue_missing(tracker, swept.records)
            parent = tracker.open_sweep(swept.records[0])
            if not tracker.is_closed(parent, swept):
                tracker.close_sweep(parent, swept)
            if all(record.run_key in self.run_ids for record in swept.records):
                tracker.complete(parent, swept)
            self.run_ids[swept.study] = parent

        self._put |= {swept.study, *(record.run_key for record in older)}
        self._add(start)

    def _queue_missing(self, tracker: Tracker, records: Sequence[Record]) -> None:
        """Queue those of these records of one study that are not exported."""
        known = tracker.exported(records[0].study) if records else {}
        for record in records:
            if run_id := known.get((record.run_key, record.result)):
                self.run_ids[record.run_key] = run_id
            else:
                self._queue(record)

    def stop_sweep(self, status: str = "KILLED") -> None:
        """Queue the end of the parent run of a sweep without final runs, so that MLflow does not show it as running."""
        if swept := Swept.of(self._swept.copy()):
            older = [record for record in swept.records if record.run_key not in self._put]
            self._add(lambda tracker: tracker.stop_sweep(tracker.open_sweep(swept.records[0]), swept, status))
            self._add(lambda tracker: self._queue_missing(tracker, older))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        # After ^C do not keep the user waiting: the records are saved, and are exported when the sweep is resumed.
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        left_at = self._progress = time.monotonic()
        while self._thread.is_alive():
            now = time.monotonic()
            if now - self._progress > self._patience or (stopped and now - left_at > STOP_SECONDS):
                break
            self._watcher.exporting(len(self._jobs))
            self._thread.join(0.05)
        if missing := len(self._put - set(self.run_ids)):
            reason = why(self._error) if self._error else "timeout"
            self.problem = (
                f"MLflow at {shown(store_uri())}: {missing} of {len(self._put)} runs are not exported ({reason});"
                f" export them later with `mfbench sync{' --anew' if isinstance(self._error, DamagedStoreError) else ''}`"
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
                with self._changed:
                    self._changed.wait_for(lambda: self._jobs or self._closing)
                    if not self._jobs:
                        return
                    job = self._jobs[0]
                if tracker is None:
                    tracker = Tracker(self._name)
                    self._progress = time.monotonic()
                job(tracker)
            except Exception as error:  # whatever MLflow raises; `problem` reports it
                self._error = error
                failures += 1
                if tracker is not None:
                    self._jobs.rotate(-1)  # a record that MLflow refuses must not hold up the others
                restarts = tracker is not None and is_away(error)
                if isinstance(error, DamagedStoreError) or (closing and failures >= FAILURES and not restarts):
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
    """Export all records of a study that MLflow lacks, and return their number; WorkError if MLflow cannot be reached.

    If every backend of the sweep has its final run, the sweep's parent run is ended too, as the sweep itself would do; if
    not, and no process is at the sweep, it is stopped, see `stop_killed`.
    """
    found = sorted(study_records(study), key=lambda record: record.started)
    if not found:
        raise InputError(f"study {study}: no record of it under runs/; give the key of a study that has run")
    sent = 0
    try:
        tracker = Tracker(found[0].spec.name)
        for _ in range(2):  # runs that another folder began are completed the second time
            known = tracker.exported(study)
            for record in found:
                if (record.run_key, record.result) not in known:
                    _export(tracker, record)
                    sent += 1
            if not tracker.unite(study):
                break
        swept = Swept.of(found)
        if swept and swept.has_all_finals:
            parent = tracker.open_sweep(swept.records[0])
            if not tracker.is_closed(parent, swept):
                tracker.close_sweep(parent, swept)
            tracker.complete(parent, swept)
        elif swept:
            stop_killed(tracker, swept)
    except MfbenchError:
        raise
    except Exception as error:  # whatever MLflow raises
        raise WorkError(
            f"MLflow at {shown(store_uri())}: the export failed after {sent} of {len(found)} runs ({why(error)});"
            " rerun `mfbench sync` to resume"
        ) from error
    return sent


def stop_killed(tracker: Tracker, swept: Swept) -> bool:
    """Mark the parent run of a sweep as KILLED if MLflow shows it as running and it is not; whether that was so.

    A process that is killed (SIGKILL, a power failure) cannot do so itself. The sweep's lock tells whether it runs.
    """
    parent = tracker.running_sweep(swept.study)
    if parent is None:
        return False
    try:
        with sweep_lock(swept.study).acquire(timeout=0):
            tracker.stop_sweep(parent, swept, "KILLED")
    except Timeout:
        return False
    return True


def stop_killed_sweeps() -> None:
    """As `stop_killed`, for all studies of this project that an SQLite store shows as running."""
    for study in running_sweeps():
        found = list(study_records(study))
        if swept := Swept.of(found):
            stop_killed(Tracker(swept.spec.name), swept)


def _export(tracker: Tracker, record: Record) -> str:
    return tracker.export(record, None if record.stage == "run" else tracker.open_sweep(record))


class _Exporting(Watcher):
    """Puts each finished record into the export."""

    def __init__(self, export: Export):
        self._export = export

    def trains(self) -> None:
        self._export.make_ready()

    def done(self, record: Record) -> None:
        self._export.put(record)

    def found(self, record: Record) -> None:
        self._export.found(record)


@contextmanager
def watched(name: str) -> Iterator[tuple[Watcher, Export]]:
    """Show a progress bar and export to MLflow during the block; report it at the end if the export failed."""
    with ProgressBar() as bar:
        export = Export(name, watcher=bar)
        with export:
            yield Watchers([bar, _Exporting(export)]), export
        if export.problem:
            bar.say(export.problem)
