"""`evaluate`: the metrics of a stored model, computed again or anew, without training and without touching its record."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfbench.commands.evaluations.stored import StoredEvaluation
from mfbench.commands.find import check_code, check_file, one_run
from mfbench.core.errors import InputError, RecordError
from mfbench.core.objective import OBJECTIVES, is_built_in, list_length
from mfbench.data.sealed import open_test
from mfbench.data.splits import parts_of
from mfbench.models.evaluation import Metrics
from mfbench.models.evaluation import evaluate as metrics_of
from mfbench.models.own_metrics import OwnMetric, own_metrics
from mfbench.models.saved import saved_model
from mfbench.models.scoring import score
from mfbench.runs.environment import environment
from mfbench.runs.record_files import model_path
from mfbench.runs.records import MetricCode, Record
from mfbench.spec import Evaluation

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Evaluated:
    """An evaluation and the path of its file."""

    stored: StoredEvaluation
    path: Path

    def __repr__(self) -> str:
        return f"<evaluation of {self.stored.run_key}: {len(self.values)} metrics on {self.stored.part}>"

    @property
    def values(self) -> dict[str, float | int | None]:
        """The values by the names of the metrics."""
        return self.stored.values

    def to_frame(self) -> pd.DataFrame:
        """One row per metric: its name and value."""
        import pandas as pd

        return pd.DataFrame({"metric": list(self.values), "value": list(self.values.values())})

    def summary(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        kept = self.stored.model_dump(mode="json", exclude={"environment", "made", "seal"})
        return {**kept, "evaluation_path": str(self.path)}


def evaluate(run: str | Path, metrics: Sequence[str] = (), trust: bool = False) -> Evaluated:
    """Evaluate the stored model of a plain run, a final run or a floor, and write the values beside its record.

    run: a run key, an MLflow run id, or the path of a record under `runs/`. metrics: names such as `ndcg_20`, and own
    functions such as `mine.py:first_hit` (see `mfbench.models.own_metrics`); by default RMSE, MAE and all metrics of the
    run's spec. A final run is evaluated on test, which opens the test part, and that is logged; a plain run on valid.
    trust: whether to import metrics that the record names, and to read its ratings file, also from outside this project.
    InputError for an unknown metric or a run without a model, RecordError if the record or the model was changed.

    >>> import mfbench
    >>> data = {"planted": {"users": 60, "items": 80, "ratings": 2000}}  # generated ratings
    >>> model = {"backend": "loop", "K": 4, "alpha": 0.02, "epochs": 5}
    >>> result = mfbench.run({"name": "example", "data": data, "split": {"kind": "random", "valid": 0.1}, "model": model})
    >>> again = mfbench.evaluate(result.record.run_key, ["ndcg_10", "ndcg_20"])
    >>> list(again.values), again.values["valid_ndcg_10"] == result.record.evaluation["valid_ndcg_10"]
    (['valid_ndcg_10', 'valid_ndcg_20'], True)
    """
    record = one_run(str(run))
    if record.stage == "trial":
        raise InputError(f"{record.run_key}: trials keep no model; give a plain run, a final run or a floor")
    if not record.is_sealed or record.seal is None:
        raise RecordError(f"{record.run_key}: this record was changed after it was written; restore the original")
    part = "valid" if record.stage == "run" else "test"
    check_file(record, trust)
    names, own = _asked(record, part, metrics, trust)
    model = saved_model(model_path(record.path), record.factors_digest)
    parts = parts_of(record.spec)
    if parts.split_digest != record.data.split_digest:
        raise InputError(f"{record.run_key}: its data has changed since the run; restore that data, or rerun the run")
    if part not in parts.n:
        raise InputError(f"{record.run_key}: its split has no {part} part to evaluate on; give a run of a split that has one")
    train, held_out = parts.train, parts.valid
    if part == "test":
        train = train if held_out is None else train.with_(held_out)
        by = f" by {', '.join(metrics)}" if metrics else ""
        held_out = open_test(parts, record.study, f"to evaluate {record.run_key}{by}")
    assert held_out is not None

    asked = record.spec.evaluation
    lengths = sorted({length for name in names if (length := list_length(name))}) if metrics else asked.k
    built_in = Evaluation(k=lengths, relevant=asked.relevant)
    errors = zip(("rmse", "mae"), score(model, held_out), strict=True)
    found: Metrics = {f"{part}_{name}": value if math.isfinite(value) else None for name, value in errors}
    found |= metrics_of(model, train, held_out, part, built_in)
    if own:  # with the lists of the run's spec, whatever else is asked for
        of_own = Evaluation(k=asked.k, relevant=asked.relevant, extra=[one.target for one in own])
        values = metrics_of(model, train, held_out, part, of_own)
        found |= {f"{part}_{one.name}": values[f"{part}_{one.name}"] for one in own}
    if metrics:
        wanted = [*(_whole(name, part) for name in names), *(f"{part}_{one.name}" for one in own)]
        if lacking := [name for name in wanted if name not in found]:
            raise InputError(f"{record.run_key}: it has no {lacking[0]}, as its {part} part has no such ratings; leave it out")
        found = {name: found[name] for name in wanted}
    codes = {
        one.name: MetricCode(code=one.target, digest=one.digest, higher_is_better=one.higher_is_better) for one in own
    }  # fmt: skip
    stored = StoredEvaluation(
        run_key=record.run_key, record_seal=record.seal, part=part, values=found, own_metrics=codes,
        k=sorted({*lengths, *(asked.k if own else [])}), relevant=asked.relevant, environment=environment(), made=time.time(),
    )  # fmt: skip
    return Evaluated(stored, stored.write(record.path))


def _asked(record: Record, part: str, metrics: Sequence[str], trust: bool) -> tuple[list[str], list[OwnMetric]]:
    """The built-in metrics, without the name of a part, and the user's own; InputError for one that is neither."""
    asked = record.spec.evaluation
    if not metrics:
        check_code(record, trust, asked.extra)
        return [], own_metrics(asked, check=True)
    names, targets = [], []
    for given in dict.fromkeys(metrics):
        name = given.removeprefix(f"{part}_")
        if name in asked.own:
            check_code(record, trust, [asked.own[name]])
            targets.append(asked.own[name])
        elif ":" in given:
            targets.append(given)
        elif is_built_in(name) and not name.startswith("n_"):
            names.append(name)
        else:
            raise InputError(
                f"--metric {given}: unknown metric; choose from {OBJECTIVES.replace('evaluation.k', 'your choice')}, or give"
                " your own as mine.py:FUNCTION"
            )
    return names, own_metrics(Evaluation(k=asked.k, relevant=asked.relevant, extra=targets), check=True)


def _whole(metric: str, part: str) -> str:
    return f"n_{part}" if metric == "n" else f"{part}_{metric}"
