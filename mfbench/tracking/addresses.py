"""Addresses within MLflow's UI, in the form of version 3.17; pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
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


def curve(metric: str) -> dict[str, Any]:
    """A chart of this metric by epoch."""
    whole = {"scaleType": "linear", "range": {}, "xAxisKey": "step", "yAxisKey": "metric", "yAxisExpressions": []}
    return {
        "type": "LINE",
        "metricKey": metric,
        "displayName": metric,
        "lineSmoothness": 0,
        "useGlobalXaxisKey": True,
        **whole,
    }


def scatter(x: str, y: str) -> dict[str, Any]:
    """A chart with a point for each run at two of its metrics."""
    return {"type": "SCATTER", "xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}


def parallel(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """A chart with an axis for each param and metric, and a line for each run that has all of them."""
    return {"type": "PARALLEL", "selectedParams": list(params), "selectedMetrics": list(metrics), "showAllRuns": False}


def charts_view(search: str, metric: str, sections: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """A shared view, to be stored in the experiment's tag `VIEW_TAG` + name, whose values may have 5,000 characters.

    search: which runs, in MLflow's search syntax, e.g. ``tags.`mfbench.stage` = 'run'``; ordered by `metric`, lowest first.
    sections: the charts by heading. MLflow adds its own charts, of all metrics, in the collapsed sections below them.
    """
    # Unless runs are ordered by a metric, MLflow collapses nested runs and the view is empty.
    order = {"orderByKey": f"metrics.`{metric}`", "orderByAsc": True}
    charts = [
        {"uuid": f"{heading} {place}", "metricSectionId": heading, "runsCountToCompare": 100, "deleted": False, **chart}
        for heading, given in sections.items()
        for place, chart in enumerate(given)
    ]
    # Curves stand alone in a row, as their legend is cut where it is narrower than all names together.
    shape = {heading: 1 if all(one["type"] == "LINE" for one in given) else 2 for heading, given in sections.items()}
    shown = [
        {"uuid": heading, "name": heading, "display": True, "isReordered": True, "columns": columns, "cardHeight": 330}
        for heading, columns in shape.items()
    ]
    own = [{"uuid": name, "name": name, "display": False, "isReordered": True} for name in ("Model metrics", "System metrics")]
    chosen = {"compareRunCharts": charts, "compareRunSections": shown + own, "isAccordionReordered": True}
    return json.dumps({"searchFilter": search, **order, **chosen}, separators=(",", ":"))


def _root(base: str) -> str:
    return f"{base.rstrip('/')}/#"


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _list(values: Sequence[str]) -> str:
    return quote(json.dumps(list(values), separators=(",", ":")), safe="")
