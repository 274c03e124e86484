"""Bring in the records of another machine, or of another folder: `mfbench merge OTHER/runs`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from mfbench.core.errors import InputError, RecordError
from mfbench.core.files import load_model_arrays, write_whole
from mfbench.core.paths import RUNS
from mfbench.data.sealed import LOG
from mfbench.matrix.factors import digest_of
from mfbench.runs.record_files import errors_path, find_record, model_path, read_record, sweep_lock
from mfbench.runs.records import STUDY, Record


@dataclass
class Merged:
    """What came of a merge, by run key. added: the new runs. same: how many were here already, with the same result. others: a
    sentence for each run that was left out, because another one is here under its key, or because it is damaged or changed.
    """

    added: list[str] = field(default_factory=list)
    same: int = 0
    others: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<merge: {len(self.added)} new runs, {self.same} here already, {len(self.others)} left out>"

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {"added": self.added, "same": self.same, "others": self.others}


def merge(other: str | Path) -> Merged:
    """Copy the records that are not here yet from another `runs` folder, with their models and errors by user.

    Only sealed records whose key is that of their place are taken, and models and errors with the digests of their record; a
    link that leads out of that folder is not followed. The same run is taken once; where its result differs from that of the
    run here, this one stays. The log of openings of the test parts is merged too. A study can then be resumed as if all had
    been run here. InputError if there are no records in that folder.

    >>> import mfbench, shutil
    >>> spec = {
    ...     "name": "example",
    ...     "data": {"planted": {"users": 60, "items": 80, "ratings": 2000}},  # generated ratings
    ...     "split": {"kind": "random", "valid": 0.1},
    ...     "model": {"backend": "loop", "K": 2, "epochs": 3},
    ... }
    >>> key = mfbench.run(spec).record.run_key
    >>> folder = shutil.move("runs", "elsewhere")  # say, from another machine
    >>> mfbench.merge("elsewhere").added == [key]
    True
    """
    source, merged, studies = Path(other), Merged(), dict[str, list[Path]]()
    for path in sorted(source.glob("*/*/*-*.json")):
        if re.fullmatch(STUDY, path.parents[1].name):
            studies.setdefault(path.parents[1].name, []).append(path)
    if not studies:
        raise InputError(f"{other}: there are no records in this folder; give a runs folder, such as other/{RUNS}")
    if source.resolve() == RUNS.resolve():
        raise InputError(f"{other}: this is the folder to merge into; give another one")
    for study, paths in studies.items():
        (RUNS / study).mkdir(parents=True, exist_ok=True)
        with sweep_lock(study):
            for path in paths:
                _take(path, source, merged)
            if _is_inside(log := source / study / LOG, source):
                _merge_openings(log, RUNS / study / LOG)
    return merged


def _take(path: Path, source: Path, merged: Merged) -> None:
    """Copy the record at that path, unless it is here, or not what it should be."""
    try:
        if not _is_inside(path, source):
            raise RecordError(f"{path}: this is not a file in {source}; copy it there")
        record = read_record(path)
        if not record.is_sealed:
            raise RecordError(f"{path}: this record was changed after it was written; copy it again")
        if record.path.relative_to(RUNS) != path.relative_to(source):
            raise RecordError(f"{path}: this is the record of {record.run_key}; rename the file")
        here = None
        with suppress(RecordError):  # a damaged one here is replaced
            here = find_record(record)
        if here is None:
            _copy(path, source, record)
            merged.added.append(record.run_key)
        elif here.result == record.result:
            merged.same += 1
        else:
            merged.others.append(
                f"{record.run_key}: its result differs from that of the run here, {_difference(record, here)}"
            )
    except RecordError as error:
        merged.others.append(str(error))


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether there is a file with that path, and no link on it leads out of the folder."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _copy(path: Path, source: Path, record: Record) -> None:
    """Copy the files of a run, its record last."""
    model, errors = model_path(path), errors_path(path)
    for beside, digest in ((model, record.factors_digest), (errors, record.errors_digest)):
        if os.path.lexists(beside) and not _is_inside(beside, source):
            raise RecordError(f"{beside}: this is not a file in {source}; copy it there")
        old = beside == errors and digest is None
        if beside.exists() and digest_of(load_model_arrays(beside)) != digest and not old:
            raise RecordError(f"{beside}: this file does not match its record; copy it again")
    for beside, place in ((model, model_path(record.path)), (errors, errors_path(record.path))):
        if beside.exists():
            write_whole(place, beside.read_bytes())
    changes = record.environment.git_diff
    diff = source / ".diffs" / f"{changes}.diff"
    if changes is not None and _is_inside(diff, source) and hashlib.sha256(diff.read_bytes()).hexdigest() == changes:
        (RUNS / ".diffs").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(diff, RUNS / ".diffs" / diff.name)
    write_whole(record.path, path.read_bytes())


def _difference(record: Record, here: Record) -> str:
    """Where two records of one run differ, in words."""
    for name in ("outcome", "epochs", "valid_rmse", "train_rmse", "test_rmse"):
        there, ours = getattr(record, name), getattr(here, name)
        if there != ours:
            where = [one.environment.cpu for one in (record, here)]
            return f"{name} {there} there and {ours} here" + (
                f" (on {where[0]} and {where[1]})" if where[0] != where[1] else ""
            )
    return "in its curves or its factors"


def _merge_openings(theirs: Path, ours: Path) -> None:
    """Add the openings of a test part that are not logged here."""
    logged = set(_openings(ours))
    new = [line for line in _openings(theirs) if line not in logged]
    if new:
        with FileLock(ours.with_name(".openings.lock")), ours.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in new)


def _openings(log: Path) -> Iterator[str]:
    """The whole lines of a log."""
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                yield json.dumps(json.loads(line))
