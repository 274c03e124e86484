"""The pages of MLflow that mfbench points to: charts of the final runs, a comparison of some runs, one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mfbench.core.errors import WorkError
from mfbench.runs.records import Record
from mfbench.spec import ordered
from mfbench.tracking.addresses import (
    UI_PORT,
    charts_address,
    charts_view,
    compare_address,
    curve,
    parallel,
    run_address,
    scatter,
)
from mfbench.tracking.client import Tracker
from mfbench.tracking.exported import experiment_id, has_view
from mfbench.tracking.store import shown, store_uri


def charts_page(records: Sequence[Record], base: str | None = None) -> str:
    """The address of the charts of a study, best run first.

    For a sweep they show its finals and floors (its trials until there are any), for a plain run all plain runs of the
    experiment. base: the address of MLflow, by default that of `mfbench ui`. WorkError if the store cannot be reached.
    """
    stages, study = {record.stage for record in records}, records[0].study
    name, search = study, f"tags.`mfbench.study` = '{study}'"
    if stages & {"final", "floor"}:
        records = [record for record in records if record.stage in ("final", "floor")]
        # MLflow's search has neither IN nor OR for tags.
        name, search = f"{study}-finals", f"{search} and tags.`mfbench.stage` LIKE 'f%'"
    elif stages == {"run"}:
        name, search = "runs", "tags.`mfbench.stage` = 'run'"
    metric = "train_rmse" if all(record.valid_rmse is None for record in records) else "valid_rmse"
    experiment, view = records[0].spec.name, charts_view(search, metric, _charts(records))
    if not has_view(experiment, name, view):
        Tracker(experiment).keep_view(name, view)
    return charts_address(base or _base(), experiment_id(experiment), name)


def _charts(records: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
    """The charts of these runs by heading.

    No bars: MLflow's begin at 0 and show two digits, so that all errors look the same. The axes of the others begin near
    the data.
    """
    scored = [part for part in ("valid", "test") if any(getattr(one, f"{part}_rmse") is not None for one in records)]
    errors = [f"{part}_rmse" for part in scored or ["train"]]
    charts = [scatter("train_seconds", errors[0])]
    if "test" in scored:
        charts = [scatter("valid_rmse", "test_rmse"), *charts, scatter("test_mae", "test_ndcg_10")]
    names = [set(one.hyper) for one in records if one.hyper]
    if common := ordered(set.intersection(*names)) if names else []:
        charts.append(parallel(common, errors))
    by_epoch = [(part, getattr(one.scores, f"{part}_rmse")) for part in ("valid", "train") for one in records]
    drawn = dict.fromkeys(part for part, values in by_epoch if sum(value is not None for value in values) > 1)
    curves = [curve(f"{part}_rmse") for part in drawn]
    return {"Runs": charts} | ({"Learning curves": curves} if curves else {})


def compare_page(experiment: str, run_ids: Sequence[str]) -> str:
    """The address of the page that compares these runs of an experiment; WorkError if the store cannot be reached."""
    return compare_address(_base(), experiment_id(experiment), run_ids)


def run_page(experiment: str, run_id: str) -> str:
    """The address of the curves of one run; WorkError if the store cannot be reached."""
    return run_address(_base(), experiment_id(experiment), run_id)


def pointer(page: Callable[..., str], *about: Any) -> str:
    """A sentence for the user: the address of a page, or why there is none."""
    hint = "" if _served() else " (start it with `mfbench ui`)"
    try:
        return f"MLflow{hint}: {page(*about)}"
    except WorkError as error:
        return str(error)


def _served() -> bool:
    return store_uri().startswith(("http:", "https:"))


def _base() -> str:
    return shown(store_uri()) if _served() else f"http://127.0.0.1:{UI_PORT}"
