"""Finding the record of one run: by the file it stands in, by its run key, by its MLflow run id."""

from __future__ import annotations

import re
from pathlib import Path

from mfbench.errors import InputError
from mfbench.records import RUNS, Record, RunName, find_record, read_record, studies_of
from mfbench.tracking import exported_record

RUN_ID = re.compile("[0-9a-f]{8,32}")


def find_run(what: str) -> Record | None:
    """The record of a run; None where `what` is not of a form that means one, InputError where there is no such run.

    what: the path of a record; a run key (study/backend/number/stage, and /repeat), of a run under `runs/`; or an MLflow
    run id, whole or the first 8 digits or more, as boards show it. Of an MLflow run it is the record that was exported with
    it, so it is found where `runs/` is gone.
    """
    if what.endswith(".json"):
        if not Path(what).is_file():
            raise InputError(f"{what}: there is no such record; give the path of one under {RUNS}")
        return read_record(Path(what))
    if RUN_ID.fullmatch(what) and not (RUNS / what).is_dir() and not studies_of(what):
        return exported_record(what)
    run = RunName.of_key(what)
    if run is None:
        return None
    record = find_record(run)
    if record is None:
        raise InputError(f"{what}: there is no record of this run under {RUNS}/{run.study}")
    return record


def one_run(what: str) -> Record:
    """As `find_run`; InputError for what means no run."""
    record = find_run(what)
    if record is None:
        raise InputError(f"{what}: give a run key (study/backend/number/stage), an MLflow run id, or the path of a record")
    return record
