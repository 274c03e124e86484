"""The client of the MLflow store: exports records as runs.

Every step is idempotent. A run is found by its run key and the digest of its result. A run that a killed process left
RUNNING is sent again; its metrics carry the recorded timestamps, so MLflow merges the duplicates.

mlflow is imported inside functions, for the start-up time (1 to 4 seconds).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from mfbench.core.errors import WorkError
from mfbench.core.paths import RUNS
from mfbench.data.splits import DataDescription
from mfbench.report.description import descriptions
from mfbench.runs.record_files import intact_records
from mfbench.runs.records import Record, RunName
from mfbench.search.outcome import Swept, standing
from mfbench.tracking import contents
from mfbench.tracking.addresses import VIEW_TAG
from mfbench.tracking.contents import MODEL, milliseconds
from mfbench.tracking.model import put_model
from mfbench.tracking.store import LOCK_SECONDS, make_store, quoted, shown, sqlite_path, store_errors, store_uri

METRICS_PER_CALL = 1000  # MLflow's limit
EXPORTED = "mfbench.exported"
"""The tag of a sweep's parent run with `contents.digest` of the records that were exported when it ended."""


class Tracker:
    """Exports the runs of one experiment."""

    def __init__(self, name: str) -> None:
        with store_errors():
            self.client = make_store()
            self.experiment_id = self._experiment(name)
        self._parents: dict[str, str] = {}

    def open_sweep(self, record: Record) -> str:
        """The id of the parent run of the record's sweep; if missing, it is created with the record's data and commit."""
        study = record.study
        if study not in self._parents:
            with _exporting(study):
                run = self._find(study, None)
                if run is None:
                    start, tags = milliseconds(record.started), contents.parent_tags(record)
                    run = self.client.create_run(self.experiment_id, start, tags, f"sweep {study}")
            self._parents[study] = run.info.run_id
        return self._parents[study]

    def running_sweep(self, study: str) -> str | None:
        """The id of the parent run of the study's sweep if its status is RUNNING."""
        with store_errors():
            run = self._find(study, None)
        return str(run.info.run_id) if run is not None and run.info.status == "RUNNING" else None

    def exported(self, study: str) -> dict[tuple[str, str], str]:
        """The ids of the study's runs that are exported completely, by run key and result."""
        with store_errors():
            runs = [run for run in self._search(_of_study(study)) if run.info.status != "RUNNING"]
        keys = [(run.data.tags["mfbench.run_key"], run.data.tags.get("mfbench.result", "")) for run in runs]
        return {key: str(run.info.run_id) for key, run in zip(keys, runs, strict=True)}

    def export(self, record: Record, parent_run_id: str | None) -> str:
        """Create the run of a record, or complete it if an export was interrupted, and return its id."""
        # The lock is held to the end, so a run found RUNNING is one that no other process is exporting.
        with _exporting(record.study):
            run = self._find(record.run_key, record.result)
            if run is not None and run.info.status != "RUNNING":
                return str(run.info.run_id)
            if run is None:
                tags = contents.tags(record) | ({"mlflow.parentRunId": parent_run_id} if parent_run_id else {})
                start, name = milliseconds(record.started), contents.run_name(record)
                run = self.client.create_run(self.experiment_id, start, tags, name)
            run_id = str(run.info.run_id)
            # MLflow refuses to change a param, and a retry on another machine may have another value.
            params = {k: v for k, v in contents.params(record).items() if k not in run.data.params}
            self._send(run_id, contents.metrics(record), params)
            self._send_data(run_id, record.data)
            self._send_files(run, contents.files(record), record)
            self.client.set_terminated(run_id, contents.STATUS[record.outcome], milliseconds(record.ended))
            return run_id

    def close_sweep(self, parent_run_id: str, swept: Swept) -> None:
        """Put the finals' metrics, pictures and leaderboard on the parent, descriptions on it and the finals, and end it."""
        self._send(parent_run_id, contents.parent_metrics(swept), {})
        self._send_files(self.client.get_run(parent_run_id), contents.parent_files(swept))
        for run_key, text in descriptions(swept).items():
            if (run := self._find(run_key, None)) is not None:
                self.client.set_tag(run.info.run_id, "mlflow.note.content", text)
        self._set_apart(swept)
        self._finish_pruned(swept.study)
        self.client.set_terminated(parent_run_id, "FINISHED", milliseconds(swept.ended))

    def stop_sweep(self, parent_run_id: str, swept: Swept, status: str) -> None:
        """End the parent run of a sweep that was interrupted before its final runs; `close_sweep` does so if it is resumed."""
        self.client.set_terminated(parent_run_id, status, milliseconds(swept.ended))

    def is_closed(self, parent_run_id: str, swept: Swept) -> bool:
        """Whether the parent run was ended after the last of these records, so the sweep has not been resumed since."""
        info = self.client.get_run(parent_run_id).info
        return str(info.status) == "FINISHED" and info.end_time == milliseconds(swept.ended)

    def is_complete(self, parent_run_id: str, swept: Swept) -> bool:
        """Whether the sweep was ended when all of these records, and no others, had been exported."""
        tags = self.client.get_run(parent_run_id).data.tags
        return tags.get(EXPORTED) == contents.digest(swept) and self.is_closed(parent_run_id, swept)

    def complete(self, parent_run_id: str, swept: Swept) -> None:
        """Note on the parent that all of these records have been exported, so that the next time none has to be looked for."""
        self.client.set_tag(parent_run_id, EXPORTED, contents.digest(swept))

    def run_ids(self, study: str, trials: bool = True) -> dict[str, str]:
        """MLflow run ids by run key, of the study's sweep and all its runs; of two runs with one key, the later.

        trials: whether to include the trials. A thousand of them take a second.
        """
        query = _of_study(study) if trials else f"{_of_study(study)} and tags.`mfbench.stage` != 'trial'"
        with store_errors():
            return {run.data.tags["mfbench.run_key"]: str(run.info.run_id) for run in self._search(query)}

    def unite(self, study: str) -> bool:
        """Delete all but one of the runs that several folders have made of one record at once; False for an SQLite file.

        The one with the smallest id stays, which all choose, and which may not be complete. Whoever ends last sees all runs.
        """
        if sqlite_path(store_uri()):
            return False
        kept: dict[tuple[str, str | None], Any] = {}
        for run in sorted(self._search(_of_study(study)), key=lambda run: str(run.info.run_id)):
            tags = run.data.tags
            if kept.setdefault((tags["mfbench.run_key"], tags.get("mfbench.result")), run) is not run:
                self.client.delete_run(run.info.run_id)
        if sweep := kept.get((study, None)):
            self._parents[study] = parent = str(sweep.info.run_id)
            for run in kept.values():
                if run.data.tags.get("mlflow.parentRunId", parent) != parent:
                    self.client.set_tag(run.info.run_id, "mlflow.parentRunId", parent)
        return True

    def keep_view(self, name: str, view: str) -> None:
        """Store a view of the experiment's runs under that name, see `addresses.charts_view`."""
        with store_errors():
            self.client.set_experiment_tag(self.experiment_id, f"{VIEW_TAG}{name}", view)

    def _set_apart(self, swept: Swept) -> None:
        """Mark the finals and floors that a longer search, or another evaluation, has replaced, see `outcome.standing`.

        They keep their data but get the stage `replaced`, so that charts of the finals leave them out, and another name.
        """
        finals = standing(list(intact_records(swept.study, "final", "floor")))
        by_key = {record.run_key: record for record in finals}
        for run in self._search(f"{_of_study(swept.study)} and tags.`mfbench.stage` != 'trial'"):
            tags, record = run.data.tags, by_key.get(run.data.tags["mfbench.run_key"])
            if tags["mfbench.stage"] in ("run", "sweep"):
                continue
            counts = record is not None and tags["mfbench.result"] == record.result
            name = RunName.of_key(tags["mfbench.run_key"])
            stage = name.stage if name and counts else "replaced"
            if name and stage != tags["mfbench.stage"]:
                title = name.title if counts else f"{name.title} of #{name.number}, replaced"
                self.client.set_tag(run.info.run_id, "mfbench.stage", stage)
                self.client.update_run(run.info.run_id, name=title)

    def _finish_pruned(self, study: str) -> None:
        """Give pruned trials that an older version exported as KILLED the status and the name that they have now."""
        for run in self._search(f"{_of_study(study)} and tags.`mfbench.outcome` = 'pruned' and attributes.status = 'KILLED'"):
            self.client.update_run(run.info.run_id, name=f"{run.info.run_name} pruned")
            self.client.set_terminated(run.info.run_id, contents.STATUS["pruned"], run.info.end_time)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            # By default MLflow puts artifacts into the current folder; they belong beside the database.
            path = sqlite_path(store_uri())
            place = str(path.parent.resolve() / "mlruns" / name) if path else None
            try:
                return str(self.client.create_experiment(name, place))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = self.client.get_experiment_by_name(name)  # another process has just created it
        if experiment.lifecycle_stage == "deleted":
            raise WorkError(
                f"the experiment {name} was deleted in MLflow at {shown(store_uri())}; restore it with"
                f" `mlflow experiments restore --experiment-id {experiment.experiment_id}`"
            )
        return str(experiment.experiment_id)

    def _search(self, query: str) -> Iterator[Any]:
        """All runs that match, in the order in which they started."""
        token = None
        while True:
            order = ["attributes.start_time ASC"]
            page = self.client.search_runs([self.experiment_id], query, order_by=order, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _find(self, run_key: str, result: str | None) -> Any:
        query = f"tags.`mfbench.run_key` = {quoted(run_key)}"
        if result is not None:
            query += f" and tags.`mfbench.result` = '{result}'"
        return next(iter(self.client.search_runs([self.experiment_id], query, max_results=1)), None)

    def _send(self, run_id: str, metrics: contents.Metrics, params: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, Param

        sent = [Param(name, value) for name, value in params.items()]
        made = [Metric(*metric) for metric in metrics]
        first = METRICS_PER_CALL - len(sent)  # params count against the limit too
        self.client.log_batch(run_id, made[:first], sent)
        for at in range(first, len(made), METRICS_PER_CALL):
            self.client.log_batch(run_id, made[at : at + METRICS_PER_CALL])

    def _send_data(self, run_id: str, data: DataDescription) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(**contents.data_set(data))
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def _send_files(self, run: Any, files: Mapping[str, bytes], record: Record | None = None) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            if record is not None and (model := contents.model(record)) is not None:
                Path(folder, MODEL).mkdir()
                put_model(Path(folder, MODEL), record, model)
            # The client's log_artifacts would fetch the run again, a tenth of an export's time.
            get_artifact_repository(run.info.artifact_uri, tracking_uri=self.client.tracking_uri).log_artifacts(folder)


# --- helpers ---------------------------------------------------------------------------------------------------------


@contextmanager
def _exporting(study: str) -> Iterator[None]:
    """A lock, so that one process at a time looks for and creates runs of a study."""
    folder = RUNS / study
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".export.lock", timeout=LOCK_SECONDS):
        yield


def _of_study(study: str) -> str:
    return f"tags.`mfbench.study` = {quoted(study)}"
