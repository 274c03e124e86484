"""What MLflow holds, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfbench.tracking.store import make_store


def runs_of(experiment: str, stage: str | None = None) -> list[Any]:
    """The runs of an experiment, of that stage alone where one is named."""
    client = make_store()
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1000)
    return [run for run in found if stage is None or run.data.tags["mfbench.stage"] == stage]


def artifact(run_id: str, path: str) -> Path:
    """The file that a run has under this path."""
    return Path(make_store().download_artifacts(run_id, path))


def artifacts(run_id: str, folder: str | None = None) -> set[str]:
    """The paths of the files that a run has."""
    return {one.path for one in make_store().list_artifacts(run_id, folder)}
