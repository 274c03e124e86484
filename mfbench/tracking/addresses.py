"""Addresses within MLflow's UI, in the form of version 3.17; pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

UI_PORT = 5000
"""The port of `mfbench ui`, unless it is taken."""

VIEW, VIEW_TAG = "viewStateShareKey", "mlflow.sharedViewState."
MODE = "workflowType=machine_learning"  # without it, a page may open in the mode for language models


def run_address(base: str, experiment_id: str, run_id: str) -> str:
    """The curves of one run."""
    return f"{_root(base)}/experiments/{_encoded(experiment_id)}/runs/{_encoded(run_id)}/model-metrics?{MODE}"


def compare_address(base: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """These runs side by side: params, metrics, plots."""
    return f"{_root(base)}/compare-runs?runs={_list(run_ids)}&experiments={_list([experiment_id])}&{MODE}"


def charts_address(base: str, experiment_id: str, view: str) -> str:
    """Charts of an experiment; the shared view of that name (see `charts_view`) says which runs and which charts."""
    return f"{_root(base)}/experiments/{_encoded(experiment_id)}/runs?{MODE}&compareRunsMode=CHART&{VIEW}={_encoded(view)}"


def charts_view(search: str, metric: str, charts: str) -> str:
    """A shared view, to be stored in the experiment's tag `VIEW_TAG` + name.

    search: which runs, in MLflow's search syntax, e.g. ``tags.`mfbench.stage` = 'run'``; ordered by `metric`, lowest first.
    charts: which charts, a regular expression over metric names.
    """
    # Unless runs are ordered by a metric, MLflow collapses nested runs and the view is empty.
    order = {"orderByKey": f"metrics.`{metric}`", "orderByAsc": True}
    return json.dumps({"searchFilter": search, **order, "chartsSearchFilter": charts})


def _root(base: str) -> str:
    return f"{base.rstrip('/')}/#"


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _list(values: Sequence[str]) -> str:
    return quote(json.dumps(list(values), separators=(",", ":")), safe="")
