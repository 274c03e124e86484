"""What MLflow is told of a record: tags, params, metrics, files. Pure functions; MLflow itself is in `tracking`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mfbench.report.curves import mae_curves, residual_picture, run_curves, trial_curves
from mfbench.report.description import descriptions
from mfbench.report.filled import filled_table
from mfbench.report.leaderboard import markdown, rows
from mfbench.report.search_pictures import alpha_beta_map, importance_bars, sweep_picture
from mfbench.report.style import COLOURS, save, save_page
from mfbench.runs.records import Record, diff_path, model_path
from mfbench.runs.repeats import averaged, whole_spec
from mfbench.search.audit import audit
from mfbench.search.pareto import as_csv, front

STATUS = {"completed": "FINISHED", "diverged": "FAILED", "failed": "FAILED", "pruned": "KILLED"}
CURVES = ("train_rmse", "train_mae", "valid_rmse", "valid_mae")
RECORD = "record.json"  # the artifact
DIGEST_LENGTH = 36  # of a data set, MLflow's limit; the whole digest is in the tags

Metrics = list[tuple[str, float, int, int]]  # name, value, milliseconds since 1970, step


def milliseconds(seconds: float) -> int:
    """Seconds since 1970 as MLflow counts time."""
    return round(seconds * 1000)


# --- one run ---------------------------------------------------------------------------------------------------------


def run_name(record: Record) -> str:
    """Its title; that of a plain run, of which there may be many, has its K, alpha and beta too."""
    given = [f"{name}={value:.3g}" for name in ("K", "alpha", "beta") if (value := getattr(record, name)) is not None]
    return " ".join([record.title, *(given if record.stage == "run" else [])])


def tags(record: Record) -> dict[str, str]:
    """By these a run is found again."""
    given = {
        "run_key": record.run_key,
        "result": record.result,
        "study": record.study,
        "stage": record.stage,
        "outcome": record.outcome,
        "data_digest": record.data.get("data_digest"),
        "split_digest": record.data.get("split_digest"),
        "git_commit": record.environment.get("git_commit"),
    }
    return {f"mfbench.{name}": str(value) for name, value in given.items() if value is not None} | _colour(record)


def _colour(record: Record) -> dict[str, str]:
    """Of a run of a sweep the colour of its backend, as in our pictures; MLflow's own may be one for two backends."""
    swept = (record.spec.get("sweep") or {}).get("backends") or []
    names = sorted({*swept, record.backend})
    return {} if record.stage == "run" else {"mlflow.runColor": COLOURS[names.index(record.backend) % len(COLOURS)]}


def params(record: Record) -> dict[str, str]:
    """The hyperparameters and the backend's own knobs; those that are None are left out."""
    model = record.spec.get("model", {})
    given = {
        **record.options,
        "backend": record.backend,
        "K": record.K,
        "alpha": record.alpha,
        "beta": record.beta,
        "epochs": record.epochs,
        **{name: model.get(name) for name in ("center", "bias", "seed")},
    }
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items() if v is not None}


def metrics(record: Record) -> Metrics:
    """The curves by epoch, at the time of each epoch, then the single numbers, at step 0: MLflow draws those as bars.

    Its pages show the charts by name, but those of `system/` last: there are the clocks that are not of the training.
    The last epoch of a run that diverged is NaN, so that the last word on it is not its last good epoch.
    """
    scores = record.scores
    times = [milliseconds(record.started + seconds) for seconds in scores.train_seconds]
    told: Metrics = []
    for name in CURVES:
        for epoch, value, time in zip(scores.epoch, getattr(scores, name), times, strict=False):
            if value is not None:
                told.append((name, value, time, epoch))
            elif record.outcome == "diverged" and epoch == record.epochs:
                told.append((name, math.nan, time, epoch))
    clocks: dict[str, float] = record.clocks.model_dump()
    single: dict[str, float | int | None] = {"train_seconds": clocks.pop("train_seconds")}
    single |= {f"system/{name}": seconds for name, seconds in clocks.items()}
    single |= record.evaluation
    if record.stage in ("trial", "run") and record.best_epoch in scores.epoch and scores.valid_rmse:
        best = scores.valid_rmse[scores.epoch.index(record.best_epoch)]
        single |= {"best_valid_rmse": best, "best_epoch": record.best_epoch}
    curves = {name for name, *_ in told}
    single |= {name: value for name, value in _numbers(record).items() if name not in curves}
    end = milliseconds(record.ended)
    told += [(name, float(value), end, 0) for name, value in single.items() if value is not None]
    return told


def data_set(data: Mapping[str, Any]) -> dict[str, str]:
    """The fields of MLflow's Dataset."""
    sizes = {key: value for key, value in data.items() if key.startswith("n_")}
    return {
        "name": data["name"],
        "digest": data["data_digest"][:DIGEST_LENGTH],
        "source_type": "mfbench",
        "source": data["name"],
        "profile": json.dumps(sizes),
    }


def files(record: Record) -> dict[str, bytes]:
    """The files of a run by name, but for its model; a trial has its record only."""
    made = {RECORD: record.model_dump_json(indent=1).encode() + b"\n"}
    if record.stage != "trial":
        made["spec.yaml"] = _yaml(record.spec)
        made["environment.json"] = json.dumps(record.environment, indent=1).encode() + b"\n"
        diff = record.environment.get("git_diff")
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
    """Where the arrays of the run's model lie, None where it has none."""
    path = model_path(record.path)
    return path if record.stage != "trial" and path.exists() else None


def _numbers(record: Record) -> dict[str, float]:
    names = (*CURVES, "test_rmse", "test_mae")
    return {name: value for name in names if (value := getattr(record, name)) is not None}


def _yaml(tree: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True).encode()


# --- a sweep ---------------------------------------------------------------------------------------------------------


def parent_tags(record: Record) -> dict[str, str]:
    """The tags of the sweep that the record belongs to."""
    own = tags(record) | {"mfbench.run_key": record.study, "mfbench.stage": "sweep"}
    return {name: value for name, value in own.items() if name not in ("mfbench.outcome", "mfbench.result", "mlflow.runColor")}


def parent_metrics(swept: Sequence[Record], oracle: Mapping[str, float] | None) -> Metrics:
    """The numbers of finals and floors as `jax.test_rmse`, `oracle.test_rmse` where there is one, and the audit's:
    `jax.importance_alpha`, and `test_openings`, the number of other studies that have opened the test part.

    Of what has repeats it is the mean, and `jax.test_rmse_ci95` half its 95 % interval.
    A sweep that goes on has later finals; the times of the records let MLflow show the latest.
    """
    ended = milliseconds(max(record.ended for record in swept))
    told: Metrics = [(f"oracle.{name}", value, ended, 0) for name, value in (oracle or {}).items()]
    if trials := _trials(averaged(swept)):
        audited = audit(trials)
        told.append(("test_openings", float(len(audited.openings)), ended, 0))
        for backend, shares in audited.importances().items():
            told += [(f"{_prefix(backend)}.importance_{name}", share, ended, 0) for name, share in shares.items()]
    for record in averaged(one for one in swept if one.stage in ("final", "floor")):
        prefix = _prefix(record.backend)
        numbers = {**_numbers(record), "train_seconds": record.clocks.train_seconds}
        numbers |= {f"{name}_ci95": interval.half_width for name, interval in record.intervals.items()}
        told += [(f"{prefix}.{name}", value, milliseconds(record.ended), 0) for name, value in numbers.items()]
    return told


def parent_files(swept: Sequence[Record], oracle: Mapping[str, float] | None) -> dict[str, bytes]:
    """Leaderboard, audit, spec and pictures of a sweep, and the Pareto front where it has two objectives."""
    runs = averaged(swept)
    made = {"leaderboard.md": _leaderboard(runs, oracle), "spec.yaml": _yaml(whole_spec(swept))}
    if trials := _trials(runs):
        audited = audit(trials)
        made["audit.md"] = audited.markdown().encode()
        for name, figure in {"learning_curves": trial_curves(runs), "sweep": sweep_picture(runs)}.items():
            made[f"{name}.png"], made[f"{name}.html"] = save(figure), save_page(figure, f"{swept[0].study}: {name}")
        made["alpha_beta.png"] = save(alpha_beta_map(trials))
        made["mae.png"] = save(mae_curves(runs))
        if shares := audited.importances():
            made["importance.png"] = save(importance_bars(shares))
    if (found := front(trials)) is not None:
        made["pareto.csv"] = as_csv(found).encode()
    return made


def notes(swept: Sequence[Record], oracle: Mapping[str, float] | None) -> dict[str, str]:
    """By run key the descriptions of the sweep and of its finals and floors, with what the audit warns of."""
    runs = averaged(swept)
    trials = _trials(runs)
    return descriptions(runs, oracle, audit(trials).warnings() if trials else [])


def _trials(runs: Sequence[Record]) -> list[Record]:
    return [record for record in runs if record.stage == "trial"]


def _prefix(backend: str) -> str:
    """The backend in the name of a metric of the parent."""
    return backend.replace("/", "_").replace(":", "_")


def _leaderboard(runs: Sequence[Record], oracle: Mapping[str, float] | None) -> bytes:
    trials: dict[str, list[Record]] = {}
    for record in runs:
        if record.stage == "trial":
            trials.setdefault(record.backend, []).append(record)
    board = rows([record for record in runs if record.stage in ("final", "floor")], trials, run_ids={})
    return markdown(board, oracle).encode()
