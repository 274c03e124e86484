"""What a user calls: `mfbench.run(spec)`, `mfbench.sweep(spec)` and so on; the command line calls the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mfbench.answers import RunResult, SweepResult
from mfbench.errors import InputError, MfbenchError, RecordError, WorkError
from mfbench.evaluation import none_relevant
from mfbench.export import Export
from mfbench.factorization import Factorization, factorize
from mfbench.finding import RUN_ID, one_run
from mfbench.jobs import Job, backend_of
from mfbench.model_files import model_path
from mfbench.races import Lap, carry_out_race, target_of, write_race
from mfbench.recommending import Recommender
from mfbench.records import Record, read_record
from mfbench.reproduction import Reproduction, make_again
from mfbench.spec import Spec, load_spec, run_study_key
from mfbench.splits import prepare
from mfbench.sweeps import Plan
from mfbench.tracking import exported_model
from mfbench.trained_model import TrainedModel
from mfbench.training import carry_out
from mfbench.watching import ProgressBar, Watcher, Watchers

__all__ = [
    "Factorization", "Recommender", "Reproduction", "RunResult", "SweepResult", "TrainedModel",
    "factorize", "load_model", "race", "recommender", "reproduce", "run", "sweep",
]  # fmt: skip

SpecSource = str | Path | Mapping[str, Any] | Spec


def run(spec: SpecSource, changes: Iterable[str] = ()) -> RunResult:
    """One run of the spec's model: trained on train, scored on train and valid; the test part stays sealed.

    Of a k-fold split it is one on each fold, or on the fold that the split names.
    spec: a file, a mapping or a Spec; changes: like `model.K=32`. InputError says what is wrong with them.
    """
    checked = load_spec(spec, changes)
    model = checked.model
    tunable = backend_of(checked, model.backend).tunable
    K, alpha, beta = (getattr(model, name) if name in tunable else None for name in ("K", "alpha", "beta"))
    jobs = [
        Job(
            study=run_study_key(checked), backend=model.backend, number=0, stage="run", repeat=r, spec=checked.repeat(r),
            K=K, alpha=alpha, beta=beta, epochs=model.epochs if tunable else 1,
        )
        for r in range(checked.folds)
    ]  # fmt: skip
    parts = [prepare(job.spec) for job in jobs]
    with _watched(checked.name) as (watcher, export):
        for sentence in none_relevant(checked.evaluation, parts[0].highest) if "valid" in parts[0].n else []:
            watcher.say(sentence)
        watcher.study(model.backend, len(jobs))
        records = []

        def watch(job: Job, epoch: int, value: float) -> bool:
            watcher.epoch(job, epoch, value)
            return False

        for job, folder in zip(jobs, parts, strict=True):
            records += carry_out([job], folder, watch)
            watcher.done(records[-1])
    return RunResult(records, dict(export.run_ids))


def sweep(
    spec: SpecSource,
    trials: int | None = None,
    workers: int = 1,
    changes: Iterable[str] = (),
    timeout: float | None = None,
) -> SweepResult:
    """The sweep of a spec, or what is left of it: a study a backend, then the final runs, test opened once at the end.

    trials: instead of the spec's number. The result does not depend on the number of workers. timeout: seconds after which
    the sweep stops between two batches, without final runs; the same call goes on with it.
    """
    checked = load_spec(spec, [*changes, *([f"sweep.trials={trials}"] if trials is not None else [])])
    plan = Plan.of(checked)
    with _watched(checked.name) as (watcher, export):
        try:
            swept = plan.carry_out(workers, watcher, timeout)
        except BaseException as error:
            export.stop_sweep("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        if swept.stopped:
            export.stop_sweep()
        else:
            export.close_sweep(swept.records, swept.oracle)
    return SweepResult(swept, dict(export.run_ids))


def race(spec: SpecSource, target: str | None = None, changes: Iterable[str] = ()) -> list[Lap]:
    """The race of a spec, each backend in turn, round after round; written to `results/<name>/` too.

    target: like `valid_rmse=0.87`, of a metric that is scored each epoch.
    """
    checked = load_spec(spec, changes)
    with ProgressBar() as bar:
        laps = carry_out_race(checked, target_of(target) if target else None, bar)
    write_race(checked.name, laps)
    return laps


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
    return Recommender.of(record, _model_of(str(run), record))


def reproduce(run: str | Path, strict: bool = False, data: str | None = None) -> Reproduction:
    """Make a run again from its record alone, and compare every number of it, and the digest of its factors.

    run: a run key, an MLflow run id, or the path of a record. strict: do not run where something differs that can change a
    bit. data: the file that has the ratings now, of a run on a file of one's own. The record is left as it is.
    """
    try:
        record = one_run(str(run))
    except RecordError as error:
        raise InputError(str(error)) from None
    with ProgressBar() as bar:
        try:
            return make_again(record, bar, strict, data)
        except Exception as error:
            if record.is_sealed or isinstance(error, WorkError):
                raise
            why = f"{type(error).__name__}: {error}" if not isinstance(error, MfbenchError) else error
            raise InputError(
                f"{run}: this record was changed after it was written, and cannot be run as it is ({why})"
            ) from None


def _model_of(given: str, record: Record) -> TrainedModel:
    """The model of the run that was given so, whose record this is."""
    path = model_path(Path(given) if given.endswith(".json") else record.path)
    try:
        return TrainedModel.read(path, record.factors_digest)
    except RecordError:
        with TemporaryDirectory() as folder:
            exported = exported_model(given, Path(folder)) if RUN_ID.fullmatch(given) else None
            if exported is None:
                raise
            return TrainedModel.read(exported, record.factors_digest)


class _Exporting(Watcher):
    """Sends each record on to MLflow."""

    def __init__(self, export: Export):
        self._export = export

    def done(self, record: Record) -> None:
        self._export.put(record)


@contextmanager
def _watched(name: str) -> Iterator[tuple[Watcher, Export]]:
    """A progress bar and an export to MLflow beside the work; a sentence at the end where the export did not get through."""
    with ProgressBar() as bar:
        export = Export(name)
        with export:
            yield Watchers([bar, _Exporting(export)]), export
        if export.problem:
            bar.say(export.problem)
