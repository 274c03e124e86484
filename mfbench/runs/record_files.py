"""Records as files: written atomically, read back, found by study; and the paths of the files beside them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from mfbench.core.arrays import Array
from mfbench.core.errors import LeftOutWarning, RecordError
from mfbench.core.files import load_model_arrays, write_whole
from mfbench.core.inert import visible
from mfbench.core.paths import RUNS
from mfbench.matrix.factors import check_digest
from mfbench.runs.records import Record, RunName, Stage
from mfbench.spec.faults import fault


def model_path(record: Path) -> Path:
    """The file with the arrays of a run's model."""
    return record.with_suffix(".npz")


def errors_path(record: Path) -> Path:
    """The file with a run's errors by user (see `evaluation.user_errors`): on test, or on valid for a plain run."""
    return record.with_suffix(".errors.npz")


def write_record(record: Record) -> Path:
    """Seal the record, write it atomically and return its path."""
    record.put_seal()
    # Trials are not flushed to disk: one damaged by a power failure is rerun, to the same bits, which costs less.
    write_whole(record.path, record.as_json(), wait=record.stage != "trial")
    return record.path


def read_record(path: Path) -> Record:
    """Read a record; RecordError if the file is missing or damaged."""
    record = record_at(path)
    if record is None:
        raise RecordError(f"{path}: there is no such record; check the run key, or the path under {RUNS}/")
    return record


def record_at(path: Path) -> Record | None:
    """As `read_record`, but None if the file is missing."""
    try:
        if path.exists() and not path.is_file():
            raise RecordError(f"{path}: this is not a file; move it away, or give the path of a record")
        record = Record.of_file(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        steps, _, detail = fault(error)
        where = visible(": ".join(filter(None, (".".join(steps), str(detail["msg"])))))[:200]
        raise RecordError(f"{path}: this record is damaged ({where}); delete it to have its run repeated") from None
    except OSError as error:
        raise RecordError(f"{path}: this record cannot be read ({error.strerror}); check its permissions") from None
    if path.is_relative_to(RUNS) and path != record.path:
        raise RecordError(f"{path}: this is the record of {record.run_key}; move it back to {record.path}, or delete it")
    return record


def check_unchanged(record: Record, path: Path) -> Record:
    """The record; RecordError if it was changed after it was written. The oldest records have no seal."""
    if record.seal is not None and not record.is_sealed:
        raise RecordError(f"{path}: this record was changed after it was written; restore it, or delete it to repeat its run")
    return record


def model_beside(record: Record) -> dict[str, Array] | None:
    """The arrays in the file of the run's model; None if it has none, or with a LeftOutWarning if they are not its own.

    A mean of several repeats stands for the first of them, whose file it is.
    """
    own = find_record(record) or record
    return _beside(model_path(own.path), own.factors_digest)


def errors_beside(record: Record) -> dict[str, Array] | None:
    """The run's errors by user, or None, likewise. Those of an old record, which has no digest of them, are not checked."""
    return _beside(errors_path(record.path), record.errors_digest, old=record.errors_digest is None)


def _beside(path: Path, digest: str | None, old: bool = False) -> dict[str, Array] | None:
    if not path.exists():
        return None
    try:
        arrays = load_model_arrays(path)
        if not old:
            check_digest(arrays, digest, path)
    except RecordError as error:
        leave_out(error)
        return None
    return arrays


def leave_out(error: RecordError) -> None:
    """Name what is damaged, where the command can go on without it."""
    warnings.warn(f"{error} (left out here)", LeftOutWarning, stacklevel=2)


def is_own(record: Record) -> bool:
    """Whether the record is one of this project: the same is at its place under `runs/`."""
    try:
        return record.path.read_bytes() == record.as_json()
    except OSError:
        return False


def find_record(run: RunName) -> Record | None:
    """The record of a run, or None if it has not finished."""
    return record_at(run.path)


def later_repeats(run: RunName) -> list[RunName]:
    """The repeats of a run after the first one that have a record."""
    found = (re.fullmatch(rf"{run.path.stem}-r(\d+)", path.stem) for path in run.path.parent.glob(f"{run.path.stem}-r*.json"))
    return [run.model_copy(update={"repeat": repeat}) for repeat in sorted(int(words[1]) for words in found if words)]


def study_records(study: str, *stages: Stage) -> Iterator[Record]:
    """Yield the records of a study, of all stages or only of these, sorted by path: by backend, stage and number.

    Without those that are damaged, changed, or of another run; of each of these a LeftOutWarning says so.
    """
    for found in _records(study, stages):
        if isinstance(found, Record):
            yield found
        else:
            leave_out(found)


def intact_records(study: str, *stages: Stage) -> Iterator[Record]:
    """As `study_records`, without a warning."""
    return (found for found in _records(study, stages) if isinstance(found, Record))


def _records(study: str, stages: Sequence[Stage]) -> Iterator[Record | RecordError]:
    for path in _record_paths(study, stages):
        try:
            yield check_unchanged(read_record(path), path)
        except RecordError as error:
            yield error


def _record_paths(study: str, stages: Sequence[Stage]) -> list[Path]:
    paths = sorted((RUNS / study).glob("*/*-*.json"))
    return [path for path in paths if not stages or path.name.partition("-")[0] in stages]


def studies_of(name: str) -> list[str]:
    """The keys of the studies of an experiment, oldest first."""
    folders = [p for p in RUNS.glob(f"{name}-*") if p.is_dir() and p.name.rpartition("-")[0] == name]
    return [p.name for p in sorted(folders, key=lambda p: (p.stat().st_ctime, p.name))]


def diff_path(digest: str) -> Path:
    """The file with the diff of that digest: the uncommitted changes of the code that ran."""
    return RUNS / ".diffs" / f"{digest}.diff"


def sweep_lock(study: str) -> FileLock:
    """The lock that a sweep of this study holds while it runs; its folder must exist."""
    return FileLock(RUNS / study / ".sweep.lock")


def remove_unfinished(study: str) -> None:
    """Remove the temporary files of a study that were left by processes killed while writing."""
    for left in (RUNS / study).glob("*/.*"):
        left.unlink(missing_ok=True)
