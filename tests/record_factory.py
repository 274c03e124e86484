"""Records made up for tests: what a sweep leaves behind, without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mfbench.core.files import write_model
from mfbench.data.splits import DataDescription
from mfbench.matrix.factors import digest_of
from mfbench.runs.environment import Environment
from mfbench.runs.record_files import model_path, read_record, write_record
from mfbench.runs.records import Clocks, Outcome, Record, Stage
from mfbench.runs.scores import Scores
from mfbench.search.outcome import Swept
from mfbench.spec import Spec

STUDY = "little-0badcafe"
STARTED = 1_700_000_000.0
DATA: dict[str, Any] = {
    "name": "planted", "data_digest": "ab" * 32, "split_digest": "cd" * 32, "test_digest": "ef" * 32, "n_users": 60,
    "n_items": 40, "n_train": 800, "n_valid": 100, "n_test": 100, "n_unknown": {"valid": {"user": 0, "item": 0, "either": 0}},
}  # fmt: skip
ENVIRONMENT = {"python": "3.11", "cpu": "a processor", "cores": 2, "git_commit": "f00d" * 10}


def spec(backends: tuple[str, ...] = ("jax", "adam"), epochs: int = 10) -> dict[str, object]:
    """A whole spec as a record holds it."""
    return {
        "name": "little",
        "data": {"planted": {"users": 60, "items": 40, "ratings": 1000, "seed": 0}},
        "split": {"kind": "random", "valid": 0.1, "test": 0.1, "seed": 7},
        "model": {"backend": backends[0], "K": 8, "alpha": 0.01, "beta": 0.05, "epochs": epochs, "center": True,
                  "bias": False, "init": {"normal": 0.1}, "seed": 3},
        "sweep": {"trials": 4, "batch": 2, "backends": list(backends)},
    }  # fmt: skip


def record(
    number: int = 0,
    *,
    backend: str = "jax",
    stage: Stage = "trial",
    outcome: Outcome = "completed",
    study: str = STUDY,
    epochs: int = 10,
    seed: int | None = None,
) -> Record:
    """A record with curves that look like a training; `seed` (default: the number) draws them."""
    rng = np.random.default_rng([number if seed is None else seed, len(backend)])
    K = int(2 ** rng.uniform(2, 6))
    alpha, beta = float(10 ** rng.uniform(-3.3, -1.3)), float(10 ** rng.uniform(-3, -0.3))
    scored = {"completed": epochs, "diverged": max(2, epochs // 3), "pruned": max(2, epochs // 2), "failed": 0}[outcome]
    n = 1 if stage == "floor" else scored
    epoch = list(range(1, n + 1))
    floor = 0.9 + 0.08 * abs(np.log10(alpha) + 2) + 0.04 * abs(np.log10(beta) + 1.2)
    train: list[float | None] = [float(floor - 0.002 * e + 1.5 * np.exp(-e * alpha * 40)) for e in epoch]
    valid: list[float | None] = [float(floor + 0.05 + 0.0004 * e + 1.2 * np.exp(-e * alpha * 35)) for e in epoch]
    if outcome == "diverged":
        train[-1] = valid[-1] = None
    if stage == "final":
        valid = []
    elif stage == "floor":
        train, valid = [1.05], [1.1]
    finite = [(v, e) for v, e in zip(valid, epoch, strict=False) if v is not None]
    best = min(finite) if finite else None
    opened = stage in ("final", "floor") and outcome == "completed"
    ended = STARTED + 60 * number + 0.25 * n + 2
    return Record(
        study=study, backend=backend, number=number, stage=stage, outcome=outcome,
        reason=None if outcome in ("completed", "pruned") else f"it {outcome}",
        spec=Spec.model_validate(spec(epochs=epochs)), options={"batch_size": 64, "threads": None, "mode": "waves"},
        hyper={} if stage == "floor" else {"K": K, "alpha": alpha, "beta": beta},
        planned_epochs=1 if stage == "floor" else epochs, epochs=n,
        scores=Scores(
            epoch=epoch, train_rmse=train, train_mae=[v and 0.8 * v for v in train], valid_rmse=valid,
            valid_mae=[v and 0.8 * v for v in valid], train_seconds=[0.25 * e for e in epoch],
        ),
        best_epoch=best[1] if best else None,
        train_rmse=train[-1] if train else None, train_mae=0.7 if train else None,
        valid_rmse=best[0] if best else (0.93 if opened else None),
        valid_mae=0.8 * best[0] if best else (0.74 if opened else None),
        test_rmse=0.95 if opened else None, test_mae=0.75 if opened else None,
        best_trial=2 if stage == "final" else None,
        data=DataDescription.model_validate(DATA),
        factors_digest=digest_of(factors(number)) if outcome == "completed" else None,
        clocks=Clocks(setup_seconds=0.5, compile_seconds=0.4, train_seconds=0.25 * n, evaluate_seconds=0.1),
        environment=Environment.model_validate(ENVIRONMENT), started=STARTED + 60 * number, ended=ended,
    )  # fmt: skip


def factors(number: int) -> dict[str, Any]:
    """The model of the run with that number."""
    return {"P": np.full((3, 2), 1.0 + number), "Q": np.ones((2, 2))}


def altered(one: Record, **changes: Any) -> Record:
    """The record with other fields: K, alpha and beta are hyperparameters (None: none), a tree changes the spec or data."""
    hyper = {name: changes.pop(name, one.hyper.get(name)) for name in ("K", "alpha", "beta")}
    changes["hyper"] = {name: value for name, value in hyper.items() if value is not None}
    for name in ("spec", "data"):
        if isinstance(changes.get(name), dict):
            whole = getattr(one, name)
            changes[name] = type(whole).model_validate({**whole.model_dump(mode="json"), **changes[name]})
    return one.changed(changes)


def rewritten(path: Path, sealed: bool = False, **changes: Any) -> Record:
    """The record in a file in which fields were changed by hand; sealed anew, as by one who knows how."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    if sealed:
        write_record(read_record(path))
    return read_record(path)


def sweep_records(study: str = STUDY) -> list[Record]:
    """A small sweep of two backends: every outcome, a final a backend, a floor."""
    outcomes: tuple[Outcome, ...] = ("completed", "diverged", "completed", "pruned")
    trials = [
        record(number, backend=backend, outcome=outcome, study=study)
        for backend in ("jax", "adam")
        for number, outcome in enumerate(outcomes)
    ]
    finals = [record(0, backend=backend, stage="final", study=study, seed=9) for backend in ("jax", "adam")]
    return [*trials, *finals, record(0, backend="mean", stage="floor", study=study)]


def swept(records: list[Record], oracle: dict[str, float] | None = None) -> Swept:
    """The sweep of these records, on data that knows this oracle."""
    known = {"data": DataDescription.model_validate({**DATA, "oracle": oracle or {}})}
    found = Swept.of([one.changed(known) for one in records])
    assert found is not None
    return found


def write(records: list[Record]) -> None:
    """Write the records under runs/ of the current folder, and a model for each that has one."""
    for made in records:
        write_record(made)
        if made.stage != "trial" and made.outcome == "completed":
            write_model(model_path(made.path), factors(made.number))
