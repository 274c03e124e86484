"""Addresses inside MLflow's UI, as version 3.17 reads them: pure functions of where it runs and what is to be seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

UI_PORT = 5000
"""Where `mfbench ui` is to be found, unless that port is taken."""

VIEW, VIEW_TAG = "viewStateShareKey", "mlflow.sharedViewState."
MODE = "workflowType=machine_learning"  # else a page may open in the mode for language models


def run_address(base: str, experiment_id: str, run_id: str) -> str:
    """The curves of one run."""
    return f"{_root(base)}/experiments/{_encoded(experiment_id)}/runs/{_encoded(run_id)}/model-metrics?{MODE}"


def compare_address(base: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """These runs side by side: parameters, metrics, plots."""
    return f"{_root(base)}/compare-runs?runs={_list(run_ids)}&experiments={_list([experiment_id])}&{MODE}"


def charts_address(base: str, experiment_id: str, view: str) -> str:
    """Runs of an experiment as charts: those, and such, as a shared view (see `charts_view`) of that name says."""
    return f"{_root(base)}/experiments/{_encoded(experiment_id)}/runs?{MODE}&compareRunsMode=CHART&{VIEW}={_encoded(view)}"


def charts_view(search: str, metric: str, charts: str) -> str:
    """A view as MLflow keeps it in a tag of the experiment, `VIEW_TAG` and its name, and shows it to whoever names it.

    search: which runs, in MLflow's language, e.g. ``tags.`mfbench.stage` = 'run'``; the lowest `metric` comes first.
    charts: which charts, a regular expression over the names of metrics.
    """
    # Without an order by a metric nested runs stay collapsed and the view is empty.
    order = {"orderByKey": f"metrics.`{metric}`", "orderByAsc": True}
    return json.dumps({"searchFilter": search, **order, "chartsSearchFilter": charts})


def _root(base: str) -> str:
    return f"{base.rstrip('/')}/#"


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _list(values: Sequence[str]) -> str:
    return quote(json.dumps(list(values), separators=(",", ":")), safe="")
