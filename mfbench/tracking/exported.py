"""Reading an exported run back: its record and its model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mfbench.core.errors import InputError
from mfbench.runs.record_files import read_record
from mfbench.runs.records import Record
from mfbench.tracking.contents import MODEL, RECORD
from mfbench.tracking.model import ARRAYS
from mfbench.tracking.store import make_store, quoted, shown, store_errors, store_uri


def exported_record(run_id: str) -> Record:
    """The record exported with an MLflow run, which is given by its id or the first digits of it.

    InputError if no run of mfbench, or more than one, has an id that begins so.
    """
    with store_errors(), tempfile.TemporaryDirectory() as folder:
        client, run = _exported(run_id)
        if run.data.tags["mfbench.stage"] == "sweep":
            raise InputError(f"run {run_id}: this MLflow run is a whole sweep; give one of its child runs")
        if RECORD not in {file.path for file in client.list_artifacts(run.info.run_id)}:
            raise InputError(f"run {run_id}: MLflow has no {RECORD} for this run; finish its export with `mfbench sync`")
        return read_record(Path(client.download_artifacts(run.info.run_id, RECORD, folder)))


def exported_model(run_id: str, folder: Path) -> Path | None:
    """Download the model file exported with an MLflow run into the folder, and return its path; None if there is none."""
    with store_errors():
        client, run = _exported(run_id)
        name = f"{MODEL}/{ARRAYS}"
        if name not in {file.path for file in client.list_artifacts(run.info.run_id, MODEL)}:
            return None
        return Path(client.download_artifacts(run.info.run_id, name, str(folder)))


def _exported(run_id: str) -> tuple[Any, Any]:
    """The client, and the run of mfbench whose id begins with these digits."""
    client = make_store()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"attributes.run_id LIKE {quoted(f'{run_id}%')}", max_results=2)
    ours = [run for run in found if "mfbench.run_key" in run.data.tags]
    if not ours:
        raise InputError(
            f"run {run_id}: MLflow at {shown(store_uri())} has no such run of mfbench;"
            " give a run key (study/backend/number/stage) or another MLflow run id"
        )
    if len(found) > 1:
        raise InputError(f"run {run_id}: ambiguous run id; give more digits")
    return client, ours[0]
