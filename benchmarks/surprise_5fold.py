"""Surprise's SVD with its defaults beside a run of ours with the same settings, on the very same folds.

    mfbench run experiments/surprise-defaults-5fold.yaml
    python benchmarks/surprise_5fold.py

Surprise clips its predictions to the rating scale; ours are scored as they are and clipped too, so that like stands beside
like. Writes surprise.md and surprise.csv to results/surprise-defaults-5fold/.
"""

from __future__ import annotations

import csv
import io
import sys

import numpy as np
from compare_with_surprise import scored

from mfbench.commands.run import RunResult
from mfbench.core import tables
from mfbench.core.errors import MfbenchError
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.data.splits import parts_of
from mfbench.runs.record_files import find_record
from mfbench.runs.records import RunName
from mfbench.runs.repeats import interval
from mfbench.spec import Spec, load_spec, run_study_key

PATH = "experiments/surprise-defaults-5fold.yaml"
RAW, CLIPPED, SURPRISE = "mfbench {}", "mfbench {}, clipped", "Surprise SVD, defaults"


def main() -> None:
    """Score every fold, print the table and write it."""
    spec = load_spec(PATH)
    backend = spec.model.backend
    ours = run_of(spec)
    errors: dict[str, list[tuple[float, float]]] = {RAW.format(backend): [], CLIPPED.format(backend): [], SURPRISE: []}
    for fold, record in enumerate(ours.records):
        parts = parts_of(spec.repeat(fold))
        if parts.split_digest != record.data.split_digest:
            sys.exit(f"{record.run_key} was made on other data; make it again with `mfbench run {PATH}`")
        train, valid = parts.train, parts.valid
        assert valid is not None
        errors[RAW.format(backend)].append((record.valid_rmse, record.valid_mae))
        clipped = record.evaluation["valid_rmse_clipped"], record.evaluation["valid_mae_clipped"]
        errors[CLIPPED.format(backend)].append(clipped)
        errors[SURPRISE].append(scored(train, valid, spec.model.seed, {})[:2])

    body = [[name, *(shown([fold[k] for fold in each]) for k in (0, 1))] for name, each in errors.items()]
    table = tables.markdown(["model", "valid RMSE", "valid MAE"], body)
    text = f"{table}\n{about(ours, gaps(errors[CLIPPED.format(backend)], errors[SURPRISE]))}"
    print(text, end="")
    write_whole(RESULTS / spec.name / "surprise.md", text.encode())
    write_whole(RESULTS / spec.name / "surprise.csv", as_csv(errors).encode())


def run_of(spec: Spec) -> RunResult:
    """The run of the spec, from its records."""
    names = [
        RunName(study=run_study_key(spec), backend=spec.model.backend, number=0, stage="run", repeat=fold)
        for fold in range(spec.folds)
    ]
    found = [record for name in names if (record := find_record(name))]
    if len(found) < len(names):
        sys.exit(f"there is no run on every fold yet; make it with `mfbench run {PATH}`")
    return RunResult(found, {})


def shown(values: list[float]) -> str:
    """Mean and 95 % interval over the folds."""
    return f"{np.mean(values):.4f} ± {interval(values).half_width:.4f}"


def gaps(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> str:
    """By how much ours is under theirs, fold by fold, so that what the folds have in common is out of it."""
    told = []
    for k, name in enumerate(("RMSE", "MAE")):
        differences = [b[k] - a[k] for a, b in zip(ours, theirs, strict=True)]
        side = "under" if np.mean(differences) > 0 else "over"
        told.append(f"{name} {abs(np.mean(differences)):.4f} ± {interval(differences).half_width:.4f} {side}")
    return " and ".join(told)


def about(ours: RunResult, gap: str) -> str:
    """What the numbers are."""
    record = ours.record
    return (
        f"{record.data.name}: the mean over {len(ours.records)} folds and its 95 % interval; both on the same folds.\n"
        f"K={record.K}, {record.epochs} epochs, alpha={record.alpha} and beta={record.beta}, which are Surprise's defaults "
        "lr_all=0.005 and reg_all=0.02 in our rule.\n"
        f"Surprise clips to the rating scale; ours, clipped too, has {gap} Surprise's, fold by fold.\n"
    )


def as_csv(errors: dict[str, list[tuple[float, float]]]) -> str:
    """Every fold to the last digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "fold", "valid_rmse", "valid_mae"])
    writer.writerows([name, fold, *error] for name, each in errors.items() for fold, error in enumerate(each))
    return text.getvalue()


if __name__ == "__main__":
    try:
        main()
    except MfbenchError as error:
        sys.exit(str(error))
