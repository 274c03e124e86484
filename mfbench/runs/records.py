"""Records: one JSON file a finished run, written whole or not at all. Everything else is derived from them.

`runs/<study>/<backend>/<stage>-<number>.json`, of a later repeat `<stage>-<number>-r2.json`, and beside the record of a
plain, final or floor run its model as `.npz`, and as `.errors.npz` its errors by user on the part that it is judged on.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from mfbench.core.paths import RUNS, file_safe
from mfbench.data.splits import DataDescription
from mfbench.runs.environment import Environment
from mfbench.spec import FIRST, Hyper, Spec

STUDY = "[A-Za-z0-9][A-Za-z0-9._-]*"  # a folder's name, never a way out of runs/; the laps of a race have one of their own
CURVES = ("train_rmse", "train_mae", "valid_rmse", "valid_mae")
"""The metrics that are scored epoch by epoch."""
METRICS = (*CURVES, "test_rmse", "test_mae")
"""All metrics that stand for a whole run, but for its evaluation."""

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

    @property
    def search_seconds(self) -> float:
        """What a trial costs its search: compiling, training and scoring."""
        return self.compile_seconds + self.train_seconds + self.evaluate_seconds


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
    def names(self) -> dict[str, Any]:
        """Its fields by name, to name another thing so."""
        return {name: getattr(self, name) for name in RunName.model_fields}

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
        return RUNS / self.study / file_safe(self.backend) / f"{name}.json"

    @staticmethod
    def of_key(run_key: str) -> RunName | None:
        """The run of that run key, None where it is not of that form."""
        words = re.fullmatch(rf"({STUDY})/(.+)/(\d+)/(run|trial|final|floor)(?:/(\d+))?", run_key)
        names = ("study", "backend", "number", "stage", "repeat")
        return RunName.model_validate(dict(zip(names, words.groups("0"), strict=True))) if words else None


class Record(RunName):
    """A finished run.

    hyper has the hyperparameters that the backend has a use for: K, alpha and beta, and what else was searched or given by
    the sweep. `planned_epochs` are those that it was told to train for,
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
    spec: Spec
    options: dict[str, Any]
    backend_digest: str | None = None
    hyper: Hyper
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
    data: DataDescription
    factors_digest: str | None = None
    clocks: Clocks
    memory: dict[str, int] = {}
    environment: Environment
    started: float
    ended: float
    seal: str | None = None

    _content: bytes | None = PrivateAttr(None)  # of the file that it was read from

    @model_validator(mode="before")
    @classmethod
    def _from_three_fields(cls, tree: Any) -> Any:
        """Records of before any hyperparameter could be searched have K, alpha and beta as fields of their own."""
        if not isinstance(tree, dict) or "hyper" in tree:
            return tree
        hyper = {name: tree[name] for name in FIRST if tree.get(name) is not None}
        return {**{name: value for name, value in tree.items() if name not in FIRST}, "hyper": hyper}

    @property
    def K(self) -> int | None:
        """Number of factors; None where the backend has no use for it."""
        return self.hyper.get("K")  # type: ignore[return-value]

    @property
    def alpha(self) -> float | None:
        """Step size; None likewise."""
        return self.hyper.get("alpha")  # type: ignore[return-value]

    @property
    def beta(self) -> float | None:
        """L2 penalty; None likewise."""
        return self.hyper.get("beta")  # type: ignore[return-value]

    @property
    def is_sealed(self) -> bool:
        """Whether the record is as it was written: nothing in it was changed since."""
        return self.seal == _digest(json.loads(self._content) if self._content else self.model_dump(mode="json"))

    @staticmethod
    def of_file(content: bytes) -> Record:
        """The record that a file holds; pydantic's ValidationError where it is damaged."""
        record = Record.model_validate_json(content)
        record._content = content
        return record

    def put_seal(self) -> None:
        """Seal what the record says now."""
        self._content = None
        self.seal = _digest(self.model_dump(mode="json"))

    def changed(self, update: dict[str, Any]) -> Record:
        """A copy with these fields changed, which is no longer what stands in any file."""
        copy = self.model_copy(update=update)
        copy._content = None
        return copy

    def as_json(self) -> bytes:
        """The record as it stands, or will stand, in its file."""
        return self._content or self.model_dump_json(indent=1).encode() + b"\n"

    @property
    def result(self) -> str:
        """16 hex digits over what must be the same when the run is made again: outcome, scores and factors."""
        kept = self.model_dump(
            include={"outcome", "epochs", "scores", "test_rmse", "test_mae", "evaluation", "factors_digest"},
            exclude={"scores": {"train_seconds"}},
        )
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def _digest(tree: dict[str, Any]) -> str:
    """sha256 over all that a record says but for its seal."""
    content = json.dumps({name: value for name, value in tree.items() if name != "seal"}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
