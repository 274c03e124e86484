"""The model of a run, as it is asked for."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from mfbench.commands.find import RUN_ID, one_run
from mfbench.core.errors import InputError, RecordError
from mfbench.data.splits import parts_of
from mfbench.models.recommender import Recommender
from mfbench.models.trained import TrainedModel
from mfbench.runs.record_files import model_path, read_record
from mfbench.runs.records import Record
from mfbench.tracking.client import exported_model


def load_model(run: str | Path) -> TrainedModel:
    """The trained model of a plain, final or floor run, to predict with; trials keep none.

    run: a run key, an MLflow run id, or the path of a record, which its model lies beside. Of an MLflow run it is the model
    that was exported with it, where `runs/` has not the same. InputError for a run that is not there, RecordError for one
    without a model, or whose model is damaged, not that of its record, or not one of factors.
    """
    given = str(run)
    return _model_of(given, read_record(Path(given)) if given.endswith(".json") else one_run(given))


def recommender(run: str | Path) -> Recommender:
    """What the model of a run recommends and finds alike; run: as for `load_model`. Its data is fetched if need be."""
    record = one_run(str(run))
    model = _model_of(str(run), record)
    parts = parts_of(record.spec)
    if parts.split_digest != record.data.split_digest:
        raise InputError(f"{record.run_key}: its data is not what it was; get that data again, or make the run again")
    train, valid = parts.train, parts.valid
    known = train if valid is None else train.with_(valid)
    return Recommender(model, known, model.ridge, record.spec.model.seed)


def _model_of(given: str, record: Record) -> TrainedModel:
    """The model of the run that was given so, whose record this is."""
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
