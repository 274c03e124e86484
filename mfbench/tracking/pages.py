"""Which of MLflow's pages a person wants: the charts of final runs, a few runs beside each other, or one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mfbench.core.errors import WorkError
from mfbench.runs.records import Record
from mfbench.tracking.addresses import UI_PORT, charts_address, charts_view, compare_address, run_address
from mfbench.tracking.client import Tracker
from mfbench.tracking.store import shown, store_uri

CHARTS = r"^((train|valid|test)_rmse|test_mae|(valid|test)_ndcg_10|train_seconds)$"
"""The metrics that a person compares first; a run has a hundred more."""


def charts_page(records: Sequence[Record], base: str | None = None) -> str:
    """The address of the charts of a study's runs that count, best first.

    Of a sweep these are the finals and floors, once there are any; of plain runs all those of the experiment.
    base: where MLflow answers, by default where `mfbench ui` starts it; WorkError where its store cannot be had.
    """
    stages, study = {record.stage for record in records}, records[0].study
    name, search = study, f"tags.`mfbench.study` = '{study}'"
    if stages & {"final", "floor"}:
        name, search = f"{study}-finals", f"{search} and tags.`mfbench.stage` LIKE 'f%'"  # MLflow has no IN and no OR for tags
    elif stages == {"run"}:
        name, search = "runs", "tags.`mfbench.stage` = 'run'"
    metric = "train_rmse" if all(record.valid_rmse is None for record in records) else "valid_rmse"
    tracker = Tracker(records[0].spec.name)
    tracker.keep_view(name, charts_view(search, metric, CHARTS))
    return charts_address(base or _base(), tracker.experiment_id, name)


def compare_page(experiment: str, run_ids: Sequence[str]) -> str:
    """The address of these runs of an experiment beside each other; WorkError as above."""
    return compare_address(_base(), _experiment_id(experiment), run_ids)


def run_page(experiment: str, run_id: str) -> str:
    """The address of the curves of one run; WorkError as above."""
    return run_address(_base(), _experiment_id(experiment), run_id)


def pointer(page: Callable[..., str], *about: Any) -> str:
    """A sentence that says where a page is, or why it cannot be had."""
    hint = "" if _served() else " (after `mfbench ui`)"
    try:
        return f"MLflow{hint}: {page(*about)}"
    except WorkError as error:
        return str(error)


def _experiment_id(name: str) -> str:
    return Tracker(name).experiment_id


def _served() -> bool:
    return store_uri().startswith(("http:", "https:"))


def _base() -> str:
    return shown(store_uri()) if _served() else f"http://127.0.0.1:{UI_PORT}"
