"""The export of trials to a journal file of Optuna, for its dashboard and for `optuna.load_study`.

Each backend of a study is an Optuna study, `<study>/<backend>`, in which trials have the same numbers as in their records. The
file follows from the records and can be deleted at any time; a search never reads it. Only trials are exported, so nothing
about the test part is in it.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from mfbench.core.errors import RecordError, WorkError
from mfbench.core.paths import RUNS, workspace
from mfbench.runs.record_files import record_at
from mfbench.runs.records import Record
from mfbench.runs.repeats import mean_of
from mfbench.search.sampling.finished import Finished
from mfbench.search.sampling.optuna_trials import distributions_of, load_optuna, optuna_trial
from mfbench.search.searched import Searched
from mfbench.spec import Spec
from mfbench.spec.split import KFoldSplit

JOURNAL = workspace() / "optuna.journal"
FOLDER, FILES = "records", "mfbench:files"
"""The attribute of a study that names the folder of its records, and that of a trial that identifies its files."""

STATES = {"completed": "COMPLETE", "pruned": "PRUNED", "diverged": "FAIL", "failed": "FAIL"}


def open_journal() -> Any:
    """The journal file in the current folder as a storage of Optuna; WorkError if it is damaged."""
    journal = load_optuna().storages.journal
    with _alone():
        _cut_unfinished_line()
        try:
            return journal.JournalStorage(journal.JournalFileBackend(str(JOURNAL), _alone()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # of Optuna, which does not check the lines
            raise WorkError(
                f"{JOURNAL}: this journal is damaged ({type(error).__name__}); delete it, and it is rebuilt from the records"
            ) from None


def update(storage: Any) -> int:
    """Bring the journal up to date with the records under `runs/`; returns the number of trials added.

    Trials are added in the order of their numbers, so one that finishes early waits for those before it. A study whose
    exported records have changed since is exported again as a whole, and one without records is removed.
    """
    with _alone():
        exported = {one.user_attrs[FOLDER]: one for one in storage.get_all_studies() if FOLDER in one.user_attrs}
        folders = {folder.as_posix(): folder for folder in _folders()}
        for name in exported.keys() - folders.keys():
            storage.delete_study(exported[name]._study_id)
        return sum(_update_study(storage, folder, exported.get(name)) for name, folder in folders.items())


def _update_study(storage: Any, folder: Path, exported: Any) -> int:
    optuna, trials = load_optuna(), _trials_in(folder)
    try:
        files = [_identity(trial) for trial in trials]
    except FileNotFoundError:
        return 0  # a sweep has just set a record aside
    done = storage.get_all_trials(exported._study_id, deepcopy=False) if exported else []
    if [trial.system_attrs.get(FILES) for trial in done] != files[: len(done)]:
        storage.delete_study(exported._study_id)
        exported, done = None, []
    if len(done) == len(trials):
        return 0
    first = record_at(trials[len(done)][0])
    if first is None or (count := _settled(folder, trials, first.spec)) <= len(done):
        return 0
    sweep = first.spec.sweep
    assert sweep is not None
    if exported:
        study = optuna.load_study(study_name=exported.study_name, storage=storage)
    else:
        name, directions = f"{first.study}/{first.backend}", ["minimize"] * len(sweep.objectives)
        study = optuna.create_study(study_name=name, directions=directions, storage=storage, load_if_exists=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(_names(first))
        study.set_user_attr(FOLDER, folder.as_posix())  # last: without it, an interrupted export makes the study again
    for trial in range(len(done), count):
        repeats = [record for path in trials[trial] if (record := record_at(path))]
        if len(repeats) < len(trials[trial]):
            return trial - len(done)
        study.add_trial(_exported(mean_of(repeats), files[trial]))
    return count - len(done)


def _names(record: Record) -> list[str]:
    """The names of the values, all of which are minimized: `-valid_ndcg_10` for an objective of which more is better."""
    first, *second = record.spec.sweep.objectives if record.spec.sweep else ["valid_rmse"]
    return [f"-{first}" if record.objective.higher_is_better else first, *second]


def _exported(record: Record, files: list[list[int]]) -> Any:
    """The record of a trial as a trial of Optuna."""
    sweep = record.spec.sweep
    assert sweep is not None
    space = Searched.of(record.backend, [record], sweep).space
    for name, given in space.items():
        if not given.holds(record.hyper[name]):
            raise RecordError(
                f"{record.path}: this record was changed, since {name} = {record.hyper[name]} is outside its range;"
                " rerun the sweep to train the trial again"
            )
    trial = optuna_trial(Finished.of(record), distributions_of(space), sweep.objectives, STATES[record.outcome])
    trial.datetime_start, trial.datetime_complete = map(datetime.fromtimestamp, (record.started, record.ended))
    trial.system_attrs = {FILES: files}
    shown = {
        "run_key": record.run_key,
        "backend": record.backend,
        "outcome": record.outcome,
        "reason": record.reason,
        "epochs": record.epochs,
        "best_epoch": record.best_epoch,
        "train_seconds": record.clocks.train_seconds,
        **{name: value for name, value in record.hyper.items() if name not in space},
    }
    trial.user_attrs = {name: value for name, value in shown.items() if value is not None}
    return trial


def _folders() -> Iterator[Path]:
    """The folders with records of trials, one per study and backend."""
    return (folder for folder in sorted(RUNS.glob("*/*")) if any(folder.glob("trial-*.json")))


def _trials_in(folder: Path) -> list[list[Path]]:
    """The record files of trials 0, 1, ... up to the first trial that has none: for each trial those of its repeats."""
    files: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("trial-*.json"), key=lambda path: (len(path.name), path.name)):
        files.setdefault(int(path.stem.split("-")[1]), []).append(path)
    return [files[number] for number in itertools.takewhile(files.__contains__, itertools.count())]


def _identity(files: Sequence[Path]) -> list[list[int]]:
    return [[found.st_mtime_ns, found.st_size] for found in (path.stat() for path in files)]


def _settled(folder: Path, trials: Sequence[object], spec: Spec) -> int:
    """The number of trials to which no repeat will be added; with repeats, a trial may get more while its batch runs."""
    assert spec.sweep is not None
    repeated = spec.seeds > 1 or isinstance(spec.split, KFoldSplit)
    if not repeated or any(folder.glob("final-*.json")) or any(folder.glob("floor-*.json")):
        return len(trials)
    last = max(int(path.stem.split("-")[1]) for path in folder.glob("trial-*.json"))
    return min(len(trials), last - last % spec.sweep.batch)


def _alone() -> FileLock:
    """The lock with which one process at a time changes the journal.

    Optuna's own locks outlive a killed process by 30 s; this one does not. A singleton, since Optuna acquires it again.
    """
    return FileLock(JOURNAL.with_name(f"{JOURNAL.name}.update.lock"), is_singleton=True)


def _cut_unfinished_line() -> None:
    """Remove the line that a full disk or a power failure has left unfinished: Optuna would append the next line to it."""
    content = JOURNAL.read_bytes() if JOURNAL.exists() else b""
    if not content.endswith(b"\n") and content:
        with JOURNAL.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
