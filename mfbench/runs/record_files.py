"""Records as files: written whole or not at all, read back, found by study; and what stands beside each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from mfbench.core.errors import RecordError
from mfbench.core.files import write_whole
from mfbench.core.paths import RUNS
from mfbench.runs.records import Record, RunName
from mfbench.spec.faults import fault


def model_path(record: Path) -> Path:
    """Where the arrays of a run's model stand."""
    return record.with_suffix(".npz")


def errors_path(record: Path) -> Path:
    """Where a run has what `evaluation.user_errors` says: of test, of a plain run of valid."""
    return record.with_suffix(".errors.npz")


def write_record(record: Record) -> Path:
    """Seal the record, write it to its place and give the path; nobody ever sees half of it."""
    record.put_seal()
    # A trial that a loss of power damages is set aside and run again, to the same bits: cheaper than to wait for each.
    write_whole(record.path, record.as_json(), wait=record.stage != "trial")
    return record.path


def read_record(path: Path) -> Record:
    """The record in a file; RecordError where there is none, or it is damaged."""
    try:
        return Record.of_file(path.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{path}: there is no such record") from None
    except ValidationError as error:
        steps, _, detail = fault(error)
        where = ": ".join(filter(None, (".".join(steps), str(detail["msg"]))))
        raise RecordError(f"{path}: this record is damaged ({where}); remove it and its run is made again") from None
    except OSError as error:
        raise RecordError(f"{path}: this record cannot be read ({error.strerror})") from None


def find_record(run: RunName) -> Record | None:
    """The record of a run, or None where it has not finished."""
    return read_record(run.path) if run.path.exists() else None


def later_repeats(run: RunName) -> list[RunName]:
    """The repeats after the first that a run has records of."""
    found = [int(path.stem.rpartition("-r")[2]) for path in run.path.parent.glob(f"{run.path.stem}-r*.json")]
    return [run.model_copy(update={"repeat": repeat}) for repeat in sorted(found)]


def study_records(study: str) -> Iterator[Record]:
    """All records of a study, by backend, stage and number."""
    for path in sorted((RUNS / study).glob("*/*-*.json")):
        yield read_record(path)


def studies_of(name: str) -> list[str]:
    """The keys of the studies of that experiment, oldest first."""
    found = [p for p in RUNS.glob(f"{name}-*") if p.is_dir() and p.name.rpartition("-")[0] == name]
    return [p.name for p in sorted(found, key=lambda p: (p.stat().st_ctime, p.name))]


def diff_path(digest: str) -> Path:
    """Where the diff of that digest stands, from a commit to the code that ran."""
    return RUNS / ".diffs" / f"{digest}.diff"


def remove_unfinished(study: str) -> None:
    """Remove what processes that were killed while they wrote a record or a model of the study have left."""
    for left in (RUNS / study).glob("*/.*"):
        left.unlink(missing_ok=True)
