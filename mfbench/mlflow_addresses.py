"""Addresses inside MLflow's UI, as version 3.17 reads them: pure functions of where it runs and what is to be seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

UI_PORT = 5000
"""Where `mfbench ui` is to be found, unless that port is taken."""


def run_address(base: str, experiment_id: str, run_id: str) -> str:
    """The curves of one run."""
    return f"{_root(base)}/experiments/{_encoded(experiment_id)}/runs/{_encoded(run_id)}/model-metrics"


def compare_address(base: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """These runs side by side: parameters, metrics, plots."""
    return f"{_root(base)}/compare-runs?runs={_list(run_ids)}&experiments={_list([experiment_id])}"


def charts_address(base: str, experiment_id: str, metric: str = "valid_rmse") -> str:
    """All runs of an experiment as charts, the lowest `metric` first."""
    # Without an order by a metric nested runs stay collapsed and the view is empty; without the workflow type it opens
    # in the mode for language models.
    order = quote(f"metrics.`{metric}`", safe="")
    return (
        f"{_root(base)}/experiments/{_encoded(experiment_id)}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&orderByKey={order}&orderByAsc=true"
    )


def metric_address(base: str, experiment_id: str, run_ids: Sequence[str], metric: str = "valid_rmse") -> str:
    """One metric of these runs, epoch by epoch, in one chart."""
    name = quote(json.dumps(metric), safe="")
    return (
        f"{_root(base)}/metric?runs={_list(run_ids)}&metric={name}"
        f"&experiments={_list([experiment_id])}&plot_metric_keys={_list([metric])}"
    )


def _root(base: str) -> str:
    return f"{base.rstrip('/')}/#"


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _list(values: Sequence[str]) -> str:
    return quote(json.dumps(list(values), separators=(",", ":")), safe="")
