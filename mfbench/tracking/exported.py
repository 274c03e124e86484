"""Reading back what is exported: the record and the model of a run, and the ids of runs and experiments.

Ids are read from the tables of MLflow's SQLite database where that is possible, because importing mlflow takes 2 seconds.
A store of another kind, or whose tables are not as expected, is asked through the client.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from mfbench.core.errors import InputError
from mfbench.runs.record_files import read_record
from mfbench.runs.records import Record
from mfbench.search.outcome import Swept
from mfbench.tracking import contents
from mfbench.tracking.addresses import VIEW_TAG
from mfbench.tracking.client import EXPORTED, Tracker
from mfbench.tracking.contents import MODEL, RECORD, milliseconds
from mfbench.tracking.model import ARRAYS
from mfbench.tracking.store import make_store, quoted, shown, sqlite_path, store_errors, store_uri


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


# --- without mlflow, where that is possible --------------------------------------------------------------------------


def experiment_id(name: str) -> str:
    """The id of an experiment, which is created if it is missing; WorkError if the store cannot be reached."""
    return _experiment(name) or Tracker(name).experiment_id


def run_ids(name: str, study: str, trials: bool = True) -> dict[str, str]:
    """As `Tracker.run_ids`, of a study of that experiment."""
    found = _tags_of(name, study) if _experiment(name) else None
    if found is None:
        return Tracker(name).run_ids(study, trials)
    return {tags["run_key"]: run for run, tags in found.items() if trials or tags["stage"] != "trial"}


def ids_if_complete(name: str, swept: Swept) -> dict[str, str] | None:
    """The ids of a sweep, its finals and floors by run key; None if it is not known to be exported, as `is_complete` says."""
    found = _tags_of(name, swept.study) or {}
    parents = [run for run, tags in found.items() if tags["stage"] == "sweep"]
    if not parents or found[parents[-1]].get(EXPORTED.removeprefix(OURS)) != contents.digest(swept):
        return None
    ended = _rows("SELECT status, end_time FROM runs WHERE run_uuid = ?", parents[-1])
    return run_ids(name, swept.study, trials=False) if ended == [("FINISHED", milliseconds(swept.ended))] else None


def running_sweeps() -> list[str]:
    """The keys of the studies whose sweep an SQLite store shows as running."""
    query = """SELECT study.value FROM runs JOIN tags stage USING (run_uuid) JOIN tags study USING (run_uuid)
        WHERE status = 'RUNNING' AND lifecycle_stage = 'active' AND stage.key = 'mfbench.stage' AND stage.value = 'sweep'
        AND study.key = 'mfbench.study'"""
    return [study for (study,) in _rows(query) or []]


def has_view(name: str, view: str, content: str) -> bool:
    """Whether the experiment is known to have that view, see `Tracker.keep_view`."""
    query = "SELECT value FROM experiment_tags WHERE experiment_id = ? AND key = ?"
    return _rows(query, _experiment(name), f"{VIEW_TAG}{view}") == [(content,)]


OURS = "mfbench."
"""How our tags begin."""


def _experiment(name: str) -> str | None:
    """The id of an experiment that is neither missing nor deleted."""
    found = _rows("SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = ?", name) or []
    return str(found[0][0]) if [stage for _, stage in found] == ["active"] else None


def _tags_of(name: str, study: str) -> dict[str, dict[str, str]] | None:
    """Our tags of all runs of a study, by run id, in the order in which they started."""
    query = """SELECT run_uuid, tags.key, tags.value FROM runs JOIN tags USING (run_uuid) JOIN tags study USING (run_uuid)
        WHERE experiment_id = ? AND lifecycle_stage = 'active' AND study.key = 'mfbench.study' AND study.value = ?
        AND tags.key LIKE 'mfbench.%' ORDER BY start_time"""
    found = _rows(query, _experiment(name), study)
    if found is None:
        return None
    tags: dict[str, dict[str, str]] = {}
    for run, key, value in found:
        tags.setdefault(run, {})[key.removeprefix(OURS)] = value
    return tags


def _rows(query: str, *values: str | None) -> list[tuple[Any, ...]] | None:
    """The answer of the SQLite database, which is not changed; None if there is none, or it has no such tables."""
    path = sqlite_path(store_uri())
    if path is None or not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()
    except sqlite3.Error:
        return None
