"""`mfbench ui`, and the two pages of MLflow that it is for, in a real browser where there is one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psutil
import pytest
from processes import started
from record_factory import record, sweep_records, write
from record_factory import swept as swept_of
from servers import free_port
from waiting import SECONDS

from mfbench.commands.find import charted
from mfbench.core.errors import InputError
from mfbench.report.description import descriptions
from mfbench.tracking.client import Tracker
from mfbench.tracking.pages import charts_page, compare_page

NAMES = ["jax final", "adam final", "loop final", "mean floor"]
SEEN = 60_000  # milliseconds that a page may take to show what it should; MLflow's need a few seconds, a busy machine more


@pytest.fixture(scope="module")
def address(swept: tuple[Path, Any]) -> Iterator[str]:
    """The page that `mfbench ui` says, started in the folder of the sweep; ended as a user's terminal ends it."""
    port = str(free_port())  # not 5000, which another server on this machine may be about to take
    words = ["ui", "everything", "--no-open", "--port", port]
    with started("-u", "-m", "mfbench", *words, cwd=swept[0], stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        assert said[:1] == ["MLflow:"], said + process.stdout.readlines()
        yield said[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(said[1], timeout=5)


def view_of(experiment: str, page: str) -> dict[str, Any]:
    """The view that an address of charts names, as the store has it."""
    tracker = Tracker(experiment)
    asked = {name: values[0] for name, values in parse_qs(page.partition("?")[2], strict_parsing=True).items()}
    assert f"/experiments/{tracker.experiment_id}/runs?" in page
    assert asked.keys() == {"workflowType", "compareRunsMode", "viewStateShareKey"}
    tags = tracker.client.get_experiment(tracker.experiment_id).tags
    found: dict[str, Any] = json.loads(tags["mlflow.sharedViewState." + asked["viewStateShareKey"]])
    return found


def test_the_address_of_the_charts_finds_the_final_runs_best_first(address: str, searched: Any) -> None:
    view = view_of("everything", address)
    search = {
        "experiment_ids": [Tracker("everything").experiment_id],
        "filter": view["searchFilter"],
        "order_by": [f"{view['orderByKey']} ASC"],
    }
    request = urllib.request.Request(
        address.partition("#")[0] + "ajax-api/2.0/mlflow/runs/search",
        json.dumps(search).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        runs = json.load(answer)["runs"]
    assert [run["info"]["run_id"] for run in runs] == [final["run_id"] for final in searched["finals"]]
    metrics = {metric["key"] for run in runs for metric in run["data"]["metrics"]}
    shown = {"train_rmse", "valid_rmse", "test_rmse", "test_mae", "test_ndcg_10", "train_seconds"}
    assert shown <= metrics
    assert set(re.findall(r'"((?:train|valid|test)_\w+)"', json.dumps(view["compareRunCharts"]))) == shown
    assert len(json.dumps(view, separators=(",", ":"))) < 5000  # MLflow's limit for a tag
    (lines,) = (one for one in view["compareRunCharts"] if one["type"] == "PARALLEL")
    assert lines["selectedParams"] == ["K", "alpha", "beta"]
    assert [one["metricKey"] for one in view["compareRunCharts"] if one["type"] == "LINE"] == ["train_rmse"]
    assert not any(one["type"] == "BAR" for one in view["compareRunCharts"])
    colours = {tag["value"] for run in runs for tag in run["data"]["tags"] if tag["key"] == "mlflow.runColor"}
    assert len(colours) == len(runs)


def test_mlflows_page_answers_this_machine_only(address: str) -> None:
    root = address.partition("#")[0]
    assert root.startswith("http://127.0.0.1:")
    assert listening_at(int(root.rstrip("/").rpartition(":")[2])) == {"127.0.0.1"}
    search = json.dumps({"experiment_ids": ["0"]}).encode()

    def status(**headers: str) -> int:
        asked = urllib.request.Request(root + "ajax-api/2.0/mlflow/runs/search", search, headers)
        asked.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    port = root.rstrip("/").rpartition(":")[2]
    assert status() == status(Host=f"localhost:{port}") == 200
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", "localhost.evil.example"):
        assert status(Host=host) == 403, host
    for origin in ("http://evil.example", "null", f"http://127.0.0.1.evil.example:{port}"):
        assert status(Origin=origin) == 403, origin


def listening_at(port: int) -> set[str]:
    """The addresses at which this machine listens on that port."""
    return {one.laddr.ip for one in psutil.net_connections("tcp") if one.status == "LISTEN" and one.laddr.port == port}


@pytest.mark.usefixtures("stored")
def test_an_experiment_shows_its_latest_sweep_that_has_finals_and_plain_runs_where_there_is_none() -> None:
    assert charted(None) == []
    write([record(0, stage="run", study="little-11111111"), record(3, stage="run", study="little-22222222")])
    plain = charted("little")
    assert {made.stage for made in plain} == {"run"}
    view = view_of("little", charts_page(plain))
    assert view["searchFilter"] == "tags.`mfbench.stage` = 'run'"
    assert "test_rmse" not in json.dumps(view)
    assert [one["metricKey"] for one in view["compareRunCharts"] if one["type"] == "LINE"] == ["valid_rmse", "train_rmse"]
    write([record(number, study="little-33333333") for number in range(2)])
    write(sweep_records("little-44444444"))
    write([record(9, study="little-55555555")])
    found = charted(None)
    assert {made.study for made in found} == {"little-44444444"}
    page = charts_page(found, "http://here")
    assert page.startswith("http://here/#/experiments/")
    assert view_of("little", page)["searchFilter"] == (
        "tags.`mfbench.study` = 'little-44444444' and tags.`mfbench.stage` LIKE 'f%'"
    )
    assert view_of("little", page)["orderByKey"] == "metrics.`valid_rmse`"
    with pytest.raises(InputError, match="no runs found"):
        charted("nonesuch")


@pytest.mark.usefixtures("stored")
def test_without_a_valid_part_the_charts_are_ordered_by_the_train_part() -> None:
    made = record(0, stage="run").model_copy(update={"valid_rmse": None})
    assert view_of("little", charts_page([made]))["orderByKey"] == "metrics.`train_rmse`"


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page, in which MLflow's assistant keeps quiet."""
    context = browser.new_context(viewport={"width": 1400, "height": 1500})
    context.add_init_script(
        "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
        "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
    )
    yield context.new_page()
    context.close()


def test_the_charts_show_the_curves_of_all_backends_by_name(page: Any, address: str, tmp_path: Path) -> None:
    page.goto(address)
    for name in NAMES:
        page.get_by_text(f"{name} (train_rmse)").first.wait_for(timeout=SEEN)
        page.get_by_role("link", name=name).wait_for(timeout=SEEN)  # just one, else it raises
    for chart in ("valid_rmse vs. test_rmse", "train_seconds vs. valid_rmse", "test_mae vs. test_ndcg_10", "train_rmse"):
        page.get_by_text(chart, exact=True).first.wait_for(timeout=SEEN)
    page.get_by_text("Parallel Coordinates").first.wait_for(timeout=SEEN)
    (below,) = page.get_by_text("Model metrics").all()
    below.wait_for(timeout=SEEN)
    page.get_by_text("4 matching runs").wait_for(timeout=SEEN)
    page.wait_for_timeout(1000)  # until the curves have been drawn
    picture = Path(os.environ.get("MFBENCH_SCREENSHOT", tmp_path / "charts.png"))  # the README's is made so
    page.screenshot(path=picture, clip={"x": 0, "y": 0, "width": 1400, "height": 1400})
    assert picture.stat().st_size < 300_000


def test_the_comparison_shows_just_the_runs_that_were_asked_for(page: Any, address: str, searched: Any) -> None:
    finals = [final for final in searched["finals"] if final["backend"] != "loop"]
    found = compare_page("everything", [final["run_id"] for final in finals])
    page.goto(address.partition("#")[0] + found.partition("/#")[2].join(["#", ""]))
    page.get_by_text("Comparing 3 Runs from 1 Experiment").wait_for(timeout=SEEN)
    for final in finals:
        page.get_by_text(final["run_id"]).first.wait_for(timeout=SEEN)
    text = page.inner_text("body")
    assert all(name in text for name in NAMES if name != "loop final")
    assert "loop final" not in text
    assert all(str(final["alpha"]) in text for final in finals if final["alpha"] is not None)


@pytest.mark.usefixtures("searched")
def test_names_in_notes_are_text(page: Any, address: str) -> None:
    backend = '<img src=x onerror="hit=1"><script>hit=1</script>{{7*7}}.py:Mine'
    tracker = Tracker("notes")  # one of its own, as the others are counted
    made = record(0, backend=backend, stage="final", study="notes-0badcafe")
    found = swept_of([made, *(record(n, backend=backend, study="notes-0badcafe") for n in range(3))])
    parent = tracker.open_sweep(found.records[0])
    tracker.client.set_tag(parent, "mlflow.note.content", descriptions(found)["notes-0badcafe"])
    page.goto(f"{address.partition('#')[0]}#/experiments/{tracker.experiment_id}/runs/{parent}")
    page.get_by_text("on the valid part: RMSE").first.wait_for(timeout=SEEN)
    assert page.evaluate("typeof hit") == "undefined"
    assert page.evaluate("document.querySelectorAll('img[src=x], [onerror]').length") == 0
    assert backend in page.inner_text("body")
    shutil.rmtree("runs/notes-0badcafe")
