"""Loading the trained model of a run: to predict with, or to recommend with."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mfbench.commands.find import RUN_ID, check_file, one_run
from mfbench.core.errors import InputError, RecordError
from mfbench.data.splits import parts_of
from mfbench.models.recommender import Recommender
from mfbench.models.trained import TrainedModel
from mfbench.runs.record_files import model_path, read_record
from mfbench.runs.records import Record
from mfbench.tracking.exported import exported_model


def load_model(run: str | Path) -> TrainedModel:
    """Load the trained model of a plain run, a final run or a floor; trials keep no model.

    run: a run key, an MLflow run id, or the path of a record with its model file beside it. For an MLflow run id, the model
    exported with that run is used if the one under `runs/` is missing or does not match. InputError if there is no such run;
    RecordError if it has no model, or the model is damaged, does not match its record, or has no factors P and Q.

    >>> import mfbench
    >>> data = {"planted": {"users": 60, "items": 80, "ratings": 2000}}  # generated; the ids are 1, 2, 3, ...
    >>> model = {"backend": "loop", "K": 4, "alpha": 0.02, "epochs": 5, "center": True}
    >>> result = mfbench.run({"name": "example", "data": data, "split": {"kind": "random", "valid": 0.1}, "model": model})
    >>> trained = mfbench.load_model(result.record.run_key)
    >>> answer = trained.predict(users=[1, 999], items=[10, 10])
    >>> answer.prediction.shape, answer.known.tolist()  # nothing is known of user 999
    ((2,), ['both', 'item only'])
    """
    given = str(run)
    return _model_of(given, read_record(Path(given)) if given.endswith(".json") else one_run(given))


def recommender(run: str | Path, trust: bool = False) -> Recommender:
    """Load the model of a run to recommend with: `recommend`, `explain`, `similar`, `groups` and `fill`.

    run: as for `load_model`. The run's data is prepared again, and downloaded if necessary. InputError if it has changed.
    trust: whether to read a ratings file outside this project for a record that is not of this project.

    >>> import mfbench
    >>> data = {"planted": {"users": 60, "items": 80, "ratings": 2000}}  # generated; the ids are 1, 2, 3, ...
    >>> model = {"backend": "loop", "K": 4, "alpha": 0.02, "epochs": 5, "center": True}
    >>> result = mfbench.run({"name": "example", "data": data, "split": {"kind": "random", "valid": 0.1}, "model": model})
    >>> recommender = mfbench.recommender(result.record.run_key)
    >>> unseen = recommender.recommend(users=[1], n=3)[1]
    >>> len(unseen), unseen[0].score >= unseen[1].score
    (3, True)
    """
    record = one_run(str(run))
    check_file(record, trust)
    model = _model_of(str(run), record)
    parts = parts_of(record.spec)
    if parts.split_digest != record.data.split_digest:
        raise InputError(f"{record.run_key}: its data has changed since the run; restore that data, or rerun the run")
    ids = parts.ids()
    if not (np.array_equal(ids["user_ids"], model.user_ids) and np.array_equal(ids["item_ids"], model.item_ids)):
        raise RecordError(
            f"{record.run_key}: the ids in its model file are not those of its data; delete both, then train again"
        )
    train, valid = parts.train, parts.valid
    known = train if valid is None else train.with_(valid)
    return Recommender(model, known, model.ridge, record.spec.model.seed)


def _model_of(given: str, record: Record) -> TrainedModel:
    """The model of a run. given: the `run` argument of `load_model`; record: the record found for it."""
    ridge = (record.beta or 0.0) / 2
    path = model_path(Path(given) if given.endswith(".json") else record.path)
    try:
        return TrainedModel.read(path, record.factors_digest, ridge)
    except RecordError:
        with TemporaryDirectory() as folder:
            exported = exported_model(given, Path(folder)) if RUN_ID.fullmatch(given) else None
            if exported is None:
                raise
            return TrainedModel.read(exported, record.factors_digest, ridge)
