"""What the tests share: a workplace of their own, and a small spec."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mfbench.tracking.store import make_store


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty current folder, with the data folder and the compile cache shared between the tests of a session."""
    monkeypatch.chdir(tmp_path)
    shared = tmp_path_factory.getbasetemp() / "shared"
    monkeypatch.setenv("MFBENCH_DATA", str(shared / "data"))
    monkeypatch.setenv("MFBENCH_CACHE", str(shared / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store, made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        make_store()
    return folder / "mlflow.db"


@pytest.fixture
def stored(workplace: Path, fresh_store: Path) -> Path:
    """A workplace whose MLflow store is there already."""
    shutil.copy(fresh_store, workplace)
    return workplace


@pytest.fixture
def small() -> dict[str, Any]:
    """A spec whose sweep takes a moment: 2,000 planted ratings, 6 trials of 3 epochs."""
    return {
        "name": "small",
        "data": {"planted": {"users": 60, "items": 80, "ratings": 2000, "seed": 1}},
        "split": {"kind": "random", "valid": 0.15, "test": 0.15, "seed": 7},
        "model": {"epochs": 3, "center": True, "bias": True, "init": {"normal": 0.1}, "seed": 3},
        "sweep": {
            "trials": 6,
            "batch": 3,
            "backends": ["loop"],
            "space": {
                "K": {"int": [2, 6]},
                "alpha": {"float": [0.002, 0.05], "log": True},
                "beta": {"float": [0.01, 0.5], "log": True},
            },
        },
    }


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder in which a sweep of four backends has run, and its --json."""
    folder = tmp_path_factory.mktemp("swept")
    shared = tmp_path_factory.getbasetemp() / "shared"
    spec = {
        "name": "everything",
        "data": {"planted": {"users": 60, "items": 80, "ratings": 2000, "seed": 1}},
        "split": {"kind": "random", "valid": 0.15, "test": 0.15, "seed": 7},
        "model": {"epochs": 8, "center": True, "bias": True, "init": {"normal": 0.1}},
        "sweep": {"trials": 6, "batch": 3, "backends": ["loop", "jax", "adam", "mean"], "space": {"K": {"int": [2, 6]}}},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-m", "mfbench", "sweep", "spec.yaml", "--json", "--workers", "2"],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**kept, "MFBENCH_DATA": str(shared / "data"), "MFBENCH_CACHE": str(shared / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])
