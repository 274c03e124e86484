"""What is exported to MLflow: the tags, params, metrics and files of a record and of a sweep. Pure functions."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path

import yaml

from mfbench.core.paths import file_safe
from mfbench.data.splits import DataDescription
from mfbench.matrix.factors import Factors
from mfbench.models.trained import fit
from mfbench.report.curves import residual_picture, run_curves
from mfbench.report.filled import filled_table
from mfbench.report.gallery import gallery
from mfbench.report.leaderboard import markdown, rows
from mfbench.report.results import search_files
from mfbench.report.style import COLOURS, hyperparameters, save
from mfbench.runs.record_files import diff_path, model_beside, model_path
from mfbench.runs.records import METRICS, Record
from mfbench.runs.scores import CURVES
from mfbench.search.outcome import Swept
from mfbench.spec import Spec

# MLflow's KILLED is for runs that a user stopped. A pruned trial ended as its search decided, and its name and tag say so.
STATUS = {"completed": "FINISHED", "diverged": "FAILED", "failed": "FAILED", "pruned": "FINISHED"}
RECORD = "record.json"
MODEL = "model"  # the artifact folder of the model: `runs:/<run id>/model`
DIGEST_LENGTH = 36  # MLflow's limit for the digest of a data set; the whole digest is in the tags

WITH_TOOLTIPS = ("learning_curves", "sweep")
"""The pictures of a sweep that are exported as HTML too, with tooltips."""

Metrics = list[tuple[str, float, int, int]]  # name, value, milliseconds since 1970, step


def milliseconds(seconds: float) -> int:
    """Seconds since 1970 as MLflow counts time."""
    return round(seconds * 1000)


# --- one run ---------------------------------------------------------------------------------------------------------


def run_name(record: Record) -> str:
    """The run's title; with its hyperparameters for a plain run, of which there may be many; with `pruned` if it was."""
    if record.stage == "run":
        return f"{record.title} {hyperparameters(record)}".rstrip()
    return f"{record.title} pruned" if record.outcome == "pruned" else record.title


def tags(record: Record) -> dict[str, str]:
    """The tags of a run, by which it is found again."""
    given = {
        "run_key": record.run_key,
        "result": record.result,
        "study": record.study,
        "stage": record.stage,
        "outcome": record.outcome,
        "data_digest": record.data.data_digest,
        "split_digest": record.data.split_digest,
        "git_commit": record.environment.git_commit,
    }
    return {f"mfbench.{name}": str(value) for name, value in given.items() if value is not None} | _colour(record)


def _colour(record: Record) -> dict[str, str]:
    """The tag with the backend's colour, as in our pictures; MLflow might give two backends the same one."""
    names = sorted({*(record.spec.sweep.backends if record.spec.sweep else []), record.backend})
    return {} if record.stage == "run" else {"mlflow.runColor": COLOURS[names.index(record.backend) % len(COLOURS)]}


def params(record: Record) -> dict[str, str]:
    """The hyperparameters and the backend's own knobs, without those that are None."""
    model = record.spec.model.with_hyper(record.backend, record.hyper)
    given = {
        **record.options,
        **record.hyper,
        "backend": record.backend,
        "epochs": record.epochs,
        **{name: getattr(model, name) for name in ("center", "bias", "seed")},
    }
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items() if v is not None}


def metrics(record: Record) -> Metrics:
    """The curves, a step per epoch, and the single numbers at step 0, which MLflow draws as bars.

    The clocks other than training time have names in `system/`, which MLflow shows last. For a run that diverged the last
    epoch is NaN; otherwise MLflow would show its last good epoch as the result.
    """
    scores = record.scores
    times = [milliseconds(record.started + seconds) for seconds in scores.train_seconds]
    found: Metrics = []
    for name in dict.fromkeys((*CURVES, record.objective.name)):
        for epoch, value, time in zip(scores.epoch, scores.of(name), times, strict=False):
            if value is not None:
                found.append((name, value, time, epoch))
            elif record.outcome == "diverged" and epoch == record.epochs:
                found.append((name, math.nan, time, epoch))
    clocks: dict[str, float] = record.clocks.model_dump()
    single: dict[str, float | int | None] = {"train_seconds": clocks.pop("train_seconds")}
    single |= {f"system/{name}": seconds for name, seconds in clocks.items()}
    if record.stage in ("trial", "run") and record.best_epoch in scores.epoch and scores.valid_rmse:
        at, judged = scores.epoch.index(record.best_epoch), record.objective.name
        best = {f"best_{name}": scores.of(name)[at] for name in ("valid_rmse", judged)}
        single |= {**best, "best_epoch": record.best_epoch}
    curves = {name for name, *_ in found}
    single |= {name: value for name, value in {**record.evaluation, **_numbers(record)}.items() if name not in curves}
    end = milliseconds(record.ended)
    found += [(name, float(value), end, 0) for name, value in single.items() if value is not None]
    return found


def data_set(data: DataDescription) -> dict[str, str]:
    """The fields of MLflow's Dataset."""
    sizes = {key: value for key, value in data.model_dump(exclude_none=True).items() if key.startswith("n_")}
    return {
        "name": data.name,
        "digest": data.data_digest[:DIGEST_LENGTH],
        "source_type": "mfbench",
        "source": data.name,
        "profile": json.dumps(sizes),
    }


def files(record: Record) -> dict[str, bytes]:
    """The files of a run by name, without its model; a trial has only its record."""
    made = {RECORD: record.as_json()}
    if record.stage != "trial":
        made["spec.yaml"] = _yaml(record.spec)
        made["environment.json"] = record.environment.model_dump_json(indent=1).encode() + b"\n"
        diff = record.environment.git_diff
        if diff is not None and diff_path(diff).exists():
            made["code.diff"] = diff_path(diff).read_bytes()
        if len(record.scores.epoch) > 1:
            made["learning_curves.png"] = save(run_curves(record))
        if (errs := residual_picture(record)) is not None:
            made["residuals.png"] = save(errs)
        if (filled := filled_table(record)) is not None:
            made["filled.csv"] = filled.encode()
    return made


def model(record: Record) -> Path | None:
    """The npz file of the run's model; None if it has none, as trials, or the file is damaged or not its own."""
    arrays = model_beside(record) if record.stage != "trial" else None
    factors = Factors.of(arrays) if arrays else None
    if arrays is None or (factors is not None and not fit(arrays, factors)):
        return None
    return model_path(record.path)


def _numbers(record: Record) -> dict[str, float]:
    return {name: value for name in METRICS if (value := getattr(record, name)) is not None}


def _yaml(spec: Spec) -> bytes:
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode()


# --- a sweep ---------------------------------------------------------------------------------------------------------


def digest(swept: Swept) -> str:
    """sha256 over the run keys and seals of all records of a sweep, in hex."""
    lines = sorted(f"{record.run_key} {record.seal or record.result}\n" for record in swept.records)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def parent_tags(record: Record) -> dict[str, str]:
    """The tags of the sweep that the record belongs to."""
    own = tags(record) | {"mfbench.run_key": record.study, "mfbench.stage": "sweep"}
    return {name: value for name, value in own.items() if name not in ("mfbench.outcome", "mfbench.result", "mlflow.runColor")}


def parent_metrics(swept: Swept) -> Metrics:
    """The metrics of a sweep's parent run, with names like `jax.test_rmse`.

    They are those of the finals and floors, `oracle.test_rmse` if it is known, `jax.importance_alpha` from the audit, and
    `test_openings`, the number of other studies that have opened the test part. With repeats they are means, and
    `jax.test_rmse_ci95` is half the width of the 95 % confidence interval. They carry the times of the records, so after
    a sweep was resumed MLflow shows those of its latest finals.
    """
    ended = milliseconds(swept.ended)
    found: Metrics = [(f"oracle.{name}", value, ended, 0) for name, value in (swept.oracle or {}).items()]
    if swept.audit:
        found.append(("test_openings", float(len(swept.audit.openings)), ended, 0))
    for backend, shares in swept.importances.items():
        found += [(f"{_in_metric(backend)}.importance_{name}", share, ended, 0) for name, share in shares.items()]
    for record in swept.finals:
        numbers = {**_numbers(record), "train_seconds": record.clocks.train_seconds}
        numbers |= {f"{name}_ci95": interval.half_width for name, interval in record.intervals.items()}
        found += [
            (f"{_in_metric(record.backend)}.{name}", value, milliseconds(record.ended), 0) for name, value in numbers.items()
        ]
    return found


def _in_metric(backend: str) -> str:
    """The name of a backend as part of a metric's, of which MLflow allows only these characters."""
    return re.sub(r"[^\w .-]", "_", file_safe(backend))


def parent_files(swept: Swept) -> dict[str, bytes]:
    """Leaderboard, audit, spec and pictures of a sweep, and with two objectives the Pareto front."""
    board = rows(swept.finals, swept.trials, run_ids={})
    texts = {"leaderboard.md": markdown(board, swept.oracle), **search_files(swept)}
    made = {name: text.encode() for name, text in texts.items()} | {"spec.yaml": _yaml(swept.spec)}
    for name, picture in gallery(swept).items() if swept.all_trials else ():
        made[f"{name}.png"] = picture.png
        if name in WITH_TOOLTIPS:
            made[f"{name}.html"] = picture.page(f"{swept.study}: {name}")
    return made
