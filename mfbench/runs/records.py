"""Records: one JSON file a finished run, written whole or not at all. Everything else is derived from them.

`runs/<study>/<backend>/<stage>-<number>.json`, of a later repeat `<stage>-<number>-r2.json`, and beside the record of a
plain, final or floor run its model as `.npz`, and as `.errors.npz` its errors by user on the part that it is judged on.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mfbench.core.errors import RecordError
from mfbench.core.files import write_whole
from mfbench.core.paths import RUNS

STUDY = "[A-Za-z0-9][A-Za-z0-9._-]*"  # a folder's name, never a way out of runs/; the laps of a race have one of their own
Stage = Literal["run", "trial", "final", "floor"]
Outcome = Literal["completed", "diverged", "pruned", "failed"]


class Scores(BaseModel):
    """The scored epochs of a training; entry j of each list belongs to epoch `epoch[j]`.

    None stands for a number that is not finite or was not asked for; a list of a part that is not there is empty.
    train_seconds counts from the first update, training alone.
    """

    model_config = ConfigDict(extra="forbid")

    epoch: list[int] = []
    train_rmse: list[float | None] = []
    train_mae: list[float | None] = []
    valid_rmse: list[float | None] = []
    valid_mae: list[float | None] = []
    train_seconds: list[float] = []

    def add(self, epoch: int, train_seconds: float, score: Mapping[str, float | None]) -> None:
        """Append a scored epoch; `score` is by metric name, always with the same names."""
        self.epoch.append(epoch)
        self.train_seconds.append(train_seconds)
        for name, value in score.items():
            getattr(self, name).append(value if value is not None and math.isfinite(value) else None)

    @property
    def best(self) -> int | None:
        """The index of the best scored epoch, by valid RMSE, by train RMSE where nothing was scored on valid."""
        judged = [math.inf if value is None else value for value in self.valid_rmse or self.train_rmse]
        return judged.index(min(judged)) if judged else None


class Clocks(BaseModel):
    """Seconds of wall time, each clock apart from the others.

    setup: reading the parts, drawing the start, arranging the ratings. compile: until the first model is there. train: the
    epochs alone. evaluate: scoring them, and the test part. log: digesting the factors and writing the
    model; the record itself is written when all clocks have stopped, and MLflow is told beside the training.
    """

    model_config = ConfigDict(extra="forbid")

    setup_seconds: float = 0.0
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    log_seconds: float = 0.0


class Interval(BaseModel):
    """The 95 % interval of a mean over n repeats reaches half_width to either side of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    half_width: float
    n: int


class RunName(BaseModel):
    """Which run: its study, and its place in it. `repeat` tells runs of one number apart, see `Spec.repeat`."""

    study: Annotated[str, Field(pattern=rf"^(\.races/)?{STUDY}$")]
    backend: str
    number: int
    stage: Stage
    repeat: int = 0

    @property
    def run_key(self) -> str:
        """`study/backend/number/stage`, and `/repeat` from the second repeat on: its name wherever a person sees it."""
        return f"{self.study}/{self.backend}/{self.number}/{self.stage}" + (f"/{self.repeat}" if self.repeat else "")

    @property
    def title(self) -> str:
        """Its name within the study: `jax #17` for a trial, `jax final` and so on, `jax #17 r2` for a later repeat."""
        run = f"#{self.number}" if self.stage == "trial" else self.stage
        return f"{self.backend} {run}" + (f" r{self.repeat}" if self.repeat else "")

    @property
    def path(self) -> Path:
        """Where its record stands, under the current folder."""
        name = f"{self.stage}-{self.number:04d}" + (f"-r{self.repeat}" if self.repeat else "")
        return RUNS / self.study / self.backend.replace("/", "_").replace(":", "_") / f"{name}.json"

    @staticmethod
    def of_key(run_key: str) -> RunName | None:
        """The run of that run key, None where it is not of that form."""
        words = re.fullmatch(rf"({STUDY})/(.+)/(\d+)/(run|trial|final|floor)(?:/(\d+))?", run_key)
        names = ("study", "backend", "number", "stage", "repeat")
        return RunName.model_validate(dict(zip(names, words.groups("0"), strict=True))) if words else None


class Record(RunName):
    """A finished run.

    K, alpha, beta are None where the backend has no use for them. `planned_epochs` are those that it was told to train for,
    `epochs` those that it did; one that was pruned or diverged did fewer. The metrics that stand alone belong to the model
    that the run stands for: of a plain run the last epoch's, of a trial the best scored epoch's. Of a final run valid_rmse and
    valid_mae are those of the trial that it was chosen by, since its own training saw the valid part. evaluation has the
    other metrics of the contract (see `models.evaluation`) by name: on test of a final or floor, on valid of a plain run.
    intervals has, by name, those of the metrics that are means over repeats. spec is the whole spec, of this repeat, with
    every default filled in, options the backend's knobs likewise. backend_digest is of the file of a user's own backend,
    factors_digest of the last model that a run that did not diverge had, a trial's too. memory has bytes: resident
    `before`, and the peaks of `prepare` and `train`. `started` and `ended` are seconds since 1970. `seal` is a digest of all
    the rest, put on it when it is written.
    """

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome
    reason: str | None = None
    spec: dict[str, Any]
    options: dict[str, Any]
    backend_digest: str | None = None
    K: int | None
    alpha: float | None
    beta: float | None
    planned_epochs: int
    epochs: int
    scores: Scores
    best_epoch: int | None = None
    train_rmse: float | None = None
    train_mae: float | None = None
    valid_rmse: float | None = None
    valid_mae: float | None = None
    test_rmse: float | None = None
    test_mae: float | None = None
    intervals: dict[str, Interval] = {}
    evaluation: dict[str, float | int | None] = {}
    best_trial: int | None = None
    data: dict[str, Any]
    factors_digest: str | None = None
    clocks: Clocks
    memory: dict[str, int] = {}
    environment: dict[str, Any]
    started: float
    ended: float
    seal: str | None = None

    @property
    def is_sealed(self) -> bool:
        """Whether the record is as it was written: nothing in it was changed since."""
        return self.seal == self._digest()

    def _digest(self) -> str:
        content = json.dumps(self.model_dump(mode="json", exclude={"seal"}), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def oracle(self, part: str) -> dict[str, float] | None:
        """The RMSE and MAE that no model can beat on that part, by metric name, where the data knows them."""
        known: dict[str, float] = self.data.get("oracle", {})
        return {name: value for name, value in known.items() if name.startswith(f"{part}_")} or None

    @property
    def result(self) -> str:
        """16 hex digits over what must be the same when the run is made again: outcome, scores and factors."""
        kept = self.model_dump(
            include={"outcome", "epochs", "scores", "test_rmse", "test_mae", "evaluation", "factors_digest"},
            exclude={"scores": {"train_seconds"}},
        )
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def write_record(record: Record) -> Path:
    """Seal the record, write it to its place and give the path; nobody ever sees half of it."""
    record.seal = record._digest()
    # A trial that a loss of power damages is set aside and run again, to the same bits: cheaper than to wait for each.
    write_whole(record.path, record.model_dump_json(indent=1).encode() + b"\n", wait=record.stage != "trial")
    return record.path


def read_record(path: Path) -> Record:
    """The record in a file; RecordError where there is none, or it is damaged."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{path}: there is no such record") from None
    except (ValidationError, OSError) as error:
        fault = _first(error) if isinstance(error, ValidationError) else error.strerror
        raise RecordError(f"{path}: this record is damaged ({fault}); remove it and its run is made again") from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


def find_record(run: RunName) -> Record | None:
    """The record of a run, or None where it has not finished."""
    return read_record(run.path) if run.path.exists() else None


def later_repeats(run: RunName) -> list[RunName]:
    """The repeats after the first that a run has records of."""
    found = [int(path.stem.rpartition("-r")[2]) for path in run.path.parent.glob(f"{run.path.stem}-r*.json")]
    return [run.model_copy(update={"repeat": repeat}) for repeat in sorted(found)]


def study_records(study: str) -> Iterator[Record]:
    """All records of a study, by backend, stage and number."""
    for path in sorted((RUNS / study).glob("*/*-*.json")):
        yield read_record(path)


def studies_of(name: str) -> list[str]:
    """The keys of the studies of that experiment, oldest first."""
    found = [p for p in RUNS.glob(f"{name}-*") if p.is_dir() and p.name.rpartition("-")[0] == name]
    return [p.name for p in sorted(found, key=lambda p: (p.stat().st_ctime, p.name))]


def diff_path(digest: str) -> Path:
    """Where the diff of that digest stands, from a commit to the code that ran."""
    return RUNS / ".diffs" / f"{digest}.diff"


def remove_unfinished(study: str) -> None:
    """Remove what processes that were killed while they wrote a record or a model of the study have left."""
    for left in (RUNS / study).glob("*/.*"):
        left.unlink(missing_ok=True)


def model_path(record: Path) -> Path:
    """Where the arrays of a run's model stand."""
    return record.with_suffix(".npz")


def errors_path(record: Path) -> Path:
    """Where a run has what `evaluation.user_errors` says: of test, of a plain run of valid."""
    return record.with_suffix(".errors.npz")
