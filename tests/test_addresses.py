import json
from urllib.parse import parse_qs, unquote

from mfbench.tracking.addresses import charts_address, charts_view, compare_address, curve, parallel, run_address, scatter

BASE = "http://127.0.0.1:5000/"


def query(address: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(address.partition("?")[2], strict_parsing=True).items()}


def test_runs_are_compared_side_by_side():
    address = compare_address(BASE, "1", ["a1", "b2"])
    assert address.startswith("http://127.0.0.1:5000/#/compare-runs?")
    asked = query(address)
    assert json.loads(asked["runs"]) == ["a1", "b2"]
    assert json.loads(asked["experiments"]) == ["1"]


def test_charts_are_in_the_right_mode_and_as_their_view_says():
    address = charts_address(BASE, "3", "little-0badcafe-finals")
    assert address.startswith("http://127.0.0.1:5000/#/experiments/3/runs?")
    assert query(address) == {
        "workflowType": "machine_learning",
        "compareRunsMode": "CHART",
        "viewStateShareKey": "little-0badcafe-finals",
    }
    charts = {"Runs": [scatter("seconds", "error"), parallel(["K"], ["error"])], "Curves": [curve("error")]}
    view = json.loads(charts_view("tags.`a.b` LIKE 'f%'", "test_rmse", charts))
    assert [view[name] for name in ("searchFilter", "orderByKey", "orderByAsc")] == [
        "tags.`a.b` LIKE 'f%'", "metrics.`test_rmse`", True
    ]  # fmt: skip
    assert [one["type"] for one in view["compareRunCharts"]] == ["SCATTER", "PARALLEL", "LINE"]
    headings = {one["uuid"]: (one["name"], one["display"]) for one in view["compareRunSections"]}
    assert [headings[one["metricSectionId"]][0] for one in view["compareRunCharts"]] == ["Runs", "Runs", "Curves"]
    assert list(headings.values())[2:] == [("Model metrics", False), ("System metrics", False)]


def test_addresses_are_percent_encoded_and_can_be_pasted():
    strange = 'a"&b #?c/d é'
    addresses = [
        compare_address(BASE, "1", [strange]),
        charts_address(BASE, "1", strange),
        run_address(BASE, "1", strange),
    ]
    for address in addresses:
        assert address.isascii()
        assert not set('" `[]{}') & set(address)
        assert address.count("#") == 1
    assert json.loads(query(addresses[0])["runs"]) == [strange]
    assert unquote(addresses[2]).endswith(f"/runs/{strange}/model-metrics?workflowType=machine_learning")
