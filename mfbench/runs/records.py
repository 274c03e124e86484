"""Records: one JSON file per finished run, written atomically. Everything else is derived from them.

The file is `runs/<study>/<backend>/<stage>-<number>.json`, with `-r2` and so on before the suffix for a later repeat. Beside
the record of a plain, final or floor run are its model (`.npz`) and its errors by user on the held-out part (`.errors.npz`).
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from mfbench.core.objective import Objective
from mfbench.core.paths import RUNS, file_safe
from mfbench.data.splits import DataDescription
from mfbench.runs.environment import Environment
from mfbench.runs.scores import CURVES, Scores
from mfbench.spec import FIRST, Spec, Value
from mfbench.spec.fields import OwnFunction

STUDY = "[A-Za-z0-9][A-Za-z0-9._-]*"  # a folder name, so nothing outside runs/; races have theirs under .races/
# A backend's name becomes that of a folder (`file_safe`): no control characters, and neither `.` nor `..`.
BACKEND = r"^([\w-][\w .-]*|[^\x00-\x1f\x7f\\]+:\w+)$"
LONGEST = 200
"""Of a name. With {1,200} in the patterns, pydantic would take a tenth of a second at each start to compile them."""
# MLflow refuses other names, and paths among them.
MetricName = Annotated[str, Field(pattern=r"^[\w.+-]+$", max_length=LONGEST)]
MOST = 10**9
"""The highest number of a run, and of its repeat."""
METRICS = (*CURVES, "test_rmse", "test_mae")
"""All metrics of a whole run, except those in its evaluation."""

Stage = Literal["run", "trial", "final", "floor"]
Outcome = Literal["completed", "diverged", "pruned", "failed"]


class Clocks(BaseModel):
    """Seconds of wall time, measured by separate clocks that do not overlap.

    setup: reading the parts, drawing the start, arranging the ratings. compile: until the backend yields its first model.
    train: the epochs alone. evaluate: scoring the epochs, and the final evaluation. log: digesting the factors and writing
    the model. No clock covers writing the record, or logging to MLflow, which goes on beside the training.
    """

    model_config = ConfigDict(extra="forbid")

    setup_seconds: float = 0.0
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    log_seconds: float = 0.0

    @property
    def search_seconds(self) -> float:
        """The cost of a trial to its search: compiling, training and scoring."""
        return self.compile_seconds + self.train_seconds + self.evaluate_seconds


class MetricCode(BaseModel):
    """The code of a metric of the user's own: its place (`mine.py:mrr`), a digest of its file, and its direction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: OwnFunction
    digest: str
    higher_is_better: bool | None = None


class Interval(BaseModel):
    """The 95 % confidence interval of a mean over n repeats: the mean ± half_width."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    half_width: float
    n: int


class RunName(BaseModel):
    """The identity of a run: its study and its place in it. repeat: distinguishes the repeats of a run, see `Spec.repeat`."""

    study: Annotated[str, Field(pattern=rf"^(\.races/)?{STUDY}$")]
    backend: Annotated[str, Field(pattern=BACKEND, max_length=LONGEST)]
    number: Annotated[int, Field(ge=0, le=MOST)]
    stage: Stage
    repeat: Annotated[int, Field(ge=0, le=MOST)] = 0

    @property
    def names(self) -> dict[str, Any]:
        """The fields of the name, to give another object the same name."""
        return {name: getattr(self, name) for name in RunName.model_fields}

    @property
    def run_key(self) -> str:
        """`study/backend/number/stage`, and `/repeat` from the second repeat on: the run's name for people."""
        return f"{self.study}/{self.backend}/{self.number}/{self.stage}" + (f"/{self.repeat}" if self.repeat else "")

    @property
    def title(self) -> str:
        """Its name within the study: `jax #17` for a trial, `jax final` and so on, `jax #17 r2` for a later repeat."""
        run = f"#{self.number}" if self.stage == "trial" else self.stage
        return f"{self.backend} {run}" + (f" r{self.repeat}" if self.repeat else "")

    @property
    def path(self) -> Path:
        """The path of its record, relative to the current folder."""
        name = f"{self.stage}-{self.number:04d}" + (f"-r{self.repeat}" if self.repeat else "")
        return RUNS / self.study / file_safe(self.backend) / f"{name}.json"

    @staticmethod
    def of_key(run_key: str) -> RunName | None:
        """The run with that run key, or None if the text is not a run key."""
        words = re.fullmatch(rf"({STUDY})/(.+)/(\d+)/(run|trial|final|floor)(?:/(\d+))?", run_key)
        names = ("study", "backend", "number", "stage", "repeat")
        return RunName.model_validate(dict(zip(names, words.groups("0"), strict=True))) if words else None


@lru_cache(maxsize=64)
def _spec(text: str) -> Spec:
    return Spec.model_validate_json(text)


def _shared(tree: Any) -> Any:
    """The spec of a record in a file. Those of a study are a few, and to parse one takes half the time of its record."""
    try:
        return _spec(json.dumps(tree)) if isinstance(tree, dict) else tree
    except ValidationError:
        return tree  # so that its own validation says where the fault is


class Record(RunName):
    """A finished run.

    hyper: K, alpha and beta as far as the backend uses them, and all other hyperparameters that the sweep varied or set.
    planned_epochs: the number that the job asked for; epochs: the number trained, less if the run was pruned, diverged, or
    was stopped by its patience. train_rmse to test_mae: metrics of the last epoch, of a trial and of a plain run with
    patience those of the best scored epoch; valid_rmse and valid_mae of a final run are those of the best trial, as its own
    training includes the valid part. objective: by which the sweep judges its trials; of a plain run the valid RMSE.
    evaluation: all other metrics (see `models.evaluation`) by name, on test for a final or floor run, on valid for a plain
    run; of a trial only its objective at the best epoch, which its final run has too. own_metrics: the code of the user's
    own metrics that were computed, by name. intervals: by metric, for means over repeats. spec: of this repeat, with every
    default filled in; options: the backend's knobs, likewise. proposal: of a trial, the digest that shows that its search
    proposed it (see `study.Past`); None in older records. backend_digest: of the file of a user's own backend.
    factors_digest: of the last model, or of the one kept by patience; None if the run diverged. errors_digest: of its errors
    by user, in the file beside it; None without any, and in older records. memory: in bytes, resident `before` the run, and
    the peaks of `prepare` and `train`. started, ended: in seconds since 1970. seal: a digest of all other fields, added when
    the record is written.
    """

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome
    reason: str | None = None
    spec: Annotated[Spec, BeforeValidator(_shared)]
    options: dict[str, Any]
    backend_digest: str | None = None
    hyper: dict[Annotated[str, Field(pattern=r"^\w+$", max_length=LONGEST)], Value]
    proposal: str | None = None
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
    objective: Objective = Objective()
    intervals: dict[MetricName, Interval] = {}
    own_metrics: dict[MetricName, MetricCode] = {}
    evaluation: dict[MetricName, float | int | None] = {}
    best_trial: int | None = None
    data: DataDescription
    factors_digest: str | None = None
    errors_digest: str | None = None
    clocks: Clocks
    memory: dict[str, int] = {}
    environment: Environment
    started: float
    ended: float
    seal: str | None = None

    _content: bytes | None = PrivateAttr(None)  # of the file, if the record was read from one

    @model_validator(mode="before")
    @classmethod
    def _of_old(cls, tree: Any) -> Any:
        """Read old records: K, alpha and beta were fields of their own, and samplers proposed the first trials too."""
        if not isinstance(tree, dict):
            return tree
        spec = tree.get("spec")
        if isinstance(spec, dict) and isinstance(sweep := spec.get("sweep"), dict) and "first_trial" not in sweep:
            tree = {**tree, "spec": {**spec, "sweep": {**sweep, "first_trial": "sampler"}}}
        if "hyper" in tree:
            return tree
        hyper = {name: tree[name] for name in FIRST if tree.get(name) is not None}
        return {**{name: value for name, value in tree.items() if name not in FIRST}, "hyper": hyper}

    @property
    def K(self) -> int | None:
        """Number of factors; None if the backend does not use it."""
        return self.hyper.get("K")  # type: ignore[return-value]

    @property
    def alpha(self) -> float | None:
        """Step size; None if the backend does not use it."""
        return self.hyper.get("alpha")  # type: ignore[return-value]

    @property
    def beta(self) -> float | None:
        """L2 penalty; None if the backend does not use it."""
        return self.hyper.get("beta")  # type: ignore[return-value]

    def metric(self, name: str) -> float | int | None:
        """The value of a metric of the whole run by its name; None if the run does not have it."""
        value: float | int | None = getattr(self, name) if name in METRICS else self.evaluation.get(name)
        return value

    @property
    def judged(self) -> float | int | None:
        """The value of its objective."""
        return self.metric(self.objective.name)

    @property
    def cost(self) -> float:
        """The value of its objective as the search minimizes it, see `Objective.cost`."""
        return self.objective.cost(self.judged)

    @property
    def is_sealed(self) -> bool:
        """Whether the record is unchanged since it was written."""
        return self.seal == seal_of(json.loads(self._content) if self._content else self.model_dump(mode="json"))

    @staticmethod
    def of_file(content: bytes) -> Record:
        """Parse the content of a file; pydantic's ValidationError if it is damaged."""
        record = Record.model_validate_json(content)
        record._content = content
        return record

    def put_seal(self) -> None:
        """Seal the present content of the record."""
        self._content = None
        self.seal = seal_of(self.model_dump(mode="json"))

    def changed(self, update: dict[str, Any]) -> Record:
        """A copy with these fields changed, which no longer matches any file."""
        copy = self.model_copy(update=update)
        copy._content = None
        return copy

    def as_json(self) -> bytes:
        """The content of the record's file, even before it is written."""
        return self._content or self.model_dump_json(indent=1).encode() + b"\n"

    @property
    def result(self) -> str:
        """16 hex digits of a digest over all that a rerun must reproduce: outcome, scores and factors."""
        kept = self.model_dump(
            include={"outcome", "epochs", "scores", "test_rmse", "test_mae", "evaluation", "factors_digest"},
            exclude={"scores": {"train_seconds"} if self.scores.objective else {"train_seconds", "objective"}},
        )
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def seal_of(tree: dict[str, Any]) -> str:
    """sha256 over all fields, of a record or of an evaluation, except its seal."""
    content = json.dumps({name: value for name, value in tree.items() if name != "seal"}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
