"""Finding records: of a run by path, run key or MLflow run id; of a study by spec file or experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mfbench.backends.foreign import is_installed, is_within, named_code
from mfbench.core.errors import InputError
from mfbench.core.paths import RUNS
from mfbench.runs.record_files import find_record, is_own, read_record, studies_of, study_records
from mfbench.runs.records import Record, RunName
from mfbench.spec import load_spec, run_study_key, study_key
from mfbench.tracking.exported import exported_record

RUN_ID = re.compile("[0-9a-f]{8,32}")


def find_run(what: str) -> Record | None:
    """The record of a run; None if `what` does not have the form of a run, InputError if there is no such run.

    what: the path of a record; a run key (study/backend/number/stage or study/backend/number/stage/repeat) of a run under
    `runs/`; or an MLflow run id, at least its first 8 digits, as leaderboards show them. For an MLflow run it is the record
    that was exported with it, so `runs/` is not needed.
    """
    if what.endswith(".json"):
        if not Path(what).is_file():
            raise InputError(f"{what}: no such record; give the path of a record under {RUNS}/")
        return read_record(Path(what))
    if RUN_ID.fullmatch(what) and not (RUNS / what).is_dir() and not studies_of(what):
        return exported_record(what)
    run = RunName.of_key(what)
    if run is None:
        return None
    record = find_record(run)
    if record is None:
        raise InputError(
            f"{what}: no record of this run under {RUNS}/{run.study}; check the run key, or give an MLflow run id"
        )
    return record


def one_run(what: str) -> Record:
    """As `find_run`, but InputError if `what` does not have the form of a run."""
    record = find_run(what)
    if record is None:
        raise InputError(
            f"{what}: not a run; give a run key (study/backend/number/stage), an MLflow run id, or the path of a record"
        )
    return record


def check_code(record: Record, trust: bool, imported: Iterable[str] | None = None) -> None:
    """InputError if the record names code that is neither installed nor, for a record of this project, in this project.

    trust: accept all code. A record is of this project if it is at its place under `runs/`, as it was written. imported:
    what is to be imported, by default all that the record names.
    """
    own = is_own(record) and record.is_sealed
    if imported is None:
        spec = record.spec.model_dump(mode="json", exclude={"name", "data"})
        imported = named_code([record.backend, spec, [one.code for one in record.own_metrics.values()]])
    for name in () if trust else dict.fromkeys(imported):
        if not is_installed(name) and not (own and is_within(name, Path.cwd())):
            where = "outside this project" if own else "that is not installed, and the record is not one of this project"
            raise InputError(
                f"{record.run_key}: this record would import {name}, code {where}; read it, and add --trust to import it"
            )


def check_file(record: Record, trust: bool) -> None:
    """InputError if the record is not of this project and its ratings lie outside, or at an address. trust: accept them."""
    file, here = record.spec.data.read_from, Path.cwd().resolve()
    entry = record.spec.data.entry
    if not trust and entry is not None and entry.address is not None and not is_own(record):
        raise InputError(
            f"{record.run_key}: this record is not one of this project, and would download {entry.address};"
            " add --trust to do so"
        )
    if not trust and file is not None and not Path(file).expanduser().resolve().is_relative_to(here) and not is_own(record):
        raise InputError(
            f"{record.run_key}: this record is not one of this project, and would read {file}, a file outside of it;"
            " add --trust to read it"
        )


def studies(what: Sequence[str]) -> list[str]:
    """The study keys of spec files and experiments, by default of all experiments; InputError for one without runs."""
    found = []
    for one in what or all_experiments():
        if one.endswith((".yaml", ".yml")):
            spec = load_spec(one)
            keys = [key for key in (study_key(spec), run_study_key(spec)) if (RUNS / key).is_dir()]
        elif (RUNS / one).is_dir():
            keys = [one]
        else:
            keys = list(filter(_has_records, studies_of(one)))
        if not keys:
            raise InputError(
                f"{one}: no runs found; give a spec that has run, an experiment ({_listed()}), a run key or an MLflow run id"
            )
        found += keys
    return found


def charted(what: str | None) -> list[Record]:
    """The records of the study to show for a spec file or an experiment, by default the latest experiment.

    Of several studies it is the latest with final runs, or if there is none the latest. Empty if nothing has run yet.
    """
    name = what or _latest_experiment()
    found = [records for key in studies([name]) if (records := list(study_records(key)))] if name else []
    finals = ("final", "floor")
    key = lambda records: (any(r.stage in finals for r in records), max(r.ended for r in records))  # noqa: E731
    return max(found, key=key, default=[])


def _latest_experiment() -> str | None:
    newest = max(RUNS.glob("*-*/*/*.json"), key=lambda path: path.stat().st_mtime_ns, default=None)
    return newest.parents[1].name.rpartition("-")[0] if newest else None


def all_experiments() -> list[str]:
    """The names of all experiments that have runs."""
    return sorted({path.name.rpartition("-")[0] for path in RUNS.glob("*-*") if path.is_dir() and _has_records(path.name)})


def _has_records(study: str) -> bool:
    """Whether the study has a record: its folder is made before the first one, which a full disk may prevent."""
    return any((RUNS / study).glob("*/*-*.json"))


def _listed() -> str:
    return ", ".join(all_experiments()) or f"none under {RUNS}/ yet"
