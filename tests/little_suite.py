"""A suite that takes a moment, made without MLflow and pictures."""

from __future__ import annotations

from typing import Any

import pytest

from mfbench.commands.sweep import SweepResult
from mfbench.runs.progress import Watcher


def two(**more: Any) -> dict[str, Any]:
    """Two data sets, a search of two trials, a floor."""
    return {
        "name": "pair",
        "datasets": {
            "wide": {"data": {"planted": {"users": 60, "items": 80, "ratings": 2000}}},
            "tall": {"data": {"planted": {"users": 90, "items": 40, "ratings": 1500}}, "model": {"epochs": 2}},
        },
        "split": {"kind": "random", "valid": 0.1, "test": 0.1},
        "model": {"epochs": 3, "center": True, "bias": True},
        "sweep": {"trials": 2, "batch": 1, "backends": ["loop", "mean"], "space": {"K": {"int": [2, 6]}, "alpha": 0.02}},
        **more,
    }


def without_export(patch: pytest.MonkeyPatch) -> None:
    """The sweeps of suites are not exported, and their pictures not drawn, which would take seconds."""
    patch.setattr("mfbench.commands.suites.suite.write_suite", lambda *_: None)
    patch.setattr(
        "mfbench.commands.suites.suite.run_sweep",
        lambda plan, workers, timeout, cluster: SweepResult(plan.execute(workers, Watcher(), timeout, cluster), {}),
    )
