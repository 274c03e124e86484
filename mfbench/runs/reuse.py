"""Whether a run that has a record must be trained again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mfbench.backends import registry
from mfbench.core.errors import RecordError
from mfbench.data.splits import Parts
from mfbench.runs.jobs import Job
from mfbench.runs.progress import Watcher
from mfbench.runs.record_files import find_record
from mfbench.runs.records import Record


def usable_record(job: Job, parts: Parts, watcher: Watcher, read: Mapping[Path, Record | None]) -> Record | None:
    """The existing record of the job; one that is damaged or does not match the job is renamed to `.aside`.

    read: records by path, as far as they have been read.
    """
    path, aside = job.path, job.path.with_suffix(".aside")
    try:
        record = read.get(path) or find_record(job)
        fault = record and why_not(record, job, parts)
    except RecordError as error:
        record, fault = None, str(error).removeprefix(f"{path}: ").partition("; ")[0]
    if fault:
        path.replace(aside)
        if fault == _changed(job):  # as are all its runs, so it is the same sentence for each
            watcher.say(f"{fault}; its runs in {path.parent} are renamed to *{aside.suffix} and trained again")
        else:
            watcher.say(f"{path}: {fault}; renamed it to {aside.name} and training the run again")
    return None if fault else record


def why_not(record: Record, job: Job, parts: Parts) -> str | None:
    """Why a record cannot be used for the job; None if it can."""
    if record.outcome == "failed":
        return f"this run failed ({record.reason})"
    if not record.is_sealed:
        return "this record was changed after it was written"
    if record.names != job.names:
        return f"this is the record of {record.run_key}"
    if record.hyper != job.hyper:
        return "the hyperparameters of this run differ from what the search now proposes"
    if record.data.split_digest != parts.split_digest:
        return "this run was trained on different data"
    if job.stage != "trial" and record.spec.evaluation != job.spec.evaluation:
        return "this run was scored with different evaluation settings"
    if record.backend_digest != registry.digest(job.backend):
        return _changed(job)
    if changed := [now.code for name, now in job.own_metrics().items() if record.own_metrics.get(name) != now]:
        return f"{changed[0]} has changed since this run"
    return None


def _changed(job: Job) -> str:
    return f"{job.backend} has changed since it was last trained"
