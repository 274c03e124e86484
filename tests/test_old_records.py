"""Runs made before any hyperparameter could be searched: still read, gone on with, compared, reported, reproduced, exported.

`old/records` holds what the code of then left of `old/old.yaml`: a sweep of three backends and a plain run; `old/sweep.json`
is what it printed, but for what may differ.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from steady import steady

import mfbench
from mfbench.commands.compare import compared
from mfbench.commands.find import one_run
from mfbench.report.page import write_report
from mfbench.runs.record_files import read_record, study_records
from mfbench.tracking.export import sync
from mfbench.tracking.store import make_store

OLD = Path(__file__).parent / "old"
SWEEP, RUN = "old-8ce0f34d", "old-bbd10744"


@pytest.fixture
def old(workplace: Path) -> Path:
    """A workplace with the records and the spec of then."""
    shutil.copytree(OLD / "records", workplace / "runs")
    shutil.copy(OLD / "old.yaml", workplace)
    return workplace


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*.json"))}


def test_they_are_read_and_their_seals_hold(old: Path) -> None:
    records = [*study_records(SWEEP), *study_records(RUN)]
    assert len(records) == 13
    assert all(record.is_sealed for record in records)
    by_key = {record.run_key: record for record in records}
    assert by_key[f"{SWEEP}/loop/3/final"].hyper.keys() == {"K", "alpha", "beta"}
    assert by_key[f"{SWEEP}/als/0/final"].hyper.keys() == {"K", "beta"}
    assert by_key[f"{SWEEP}/mean/0/floor"].hyper == {}
    # By this an export of then is found again: made with other fields, every run would be exported twice.
    assert by_key[f"{RUN}/loop/0/run"].result == "fb2881c6b39591f5"
    path = old / f"runs/{RUN}/loop/run-0000.json"
    path.write_text(path.read_text().replace('"K": 4', '"K": 5'))
    assert not read_record(path).is_sealed


@pytest.mark.usefixtures("stored")
def test_the_sweep_is_gone_on_with_and_says_what_it_said(old: Path) -> None:
    before = files(old / "runs")
    now, then = steady(mfbench.sweep("old.yaml").summary()), json.loads((OLD / "sweep.json").read_text())
    del now["audit"]["warnings"], then["audit"]["warnings"]  # sentences, which may be written better
    assert now.pop("objective") == "valid_rmse"  # not there then
    for searched in now["audit"]["backends"]:
        del searched["stop"]  # not there then
    assert now == then
    assert files(old / "runs") == before
    more = mfbench.sweep("old.yaml", trials=5).summary()
    assert more["finished"] == {"loop": 5, "als": 5, "mean": 1}
    assert before.items() <= files(old / "runs").items()


@pytest.mark.usefixtures("stored", "old")
def test_they_are_compared_and_reported() -> None:
    comparison = compared(["old.yaml"])
    told: dict[str, Any] = {f"{row['backend']} {row['run_key'].split('/')[-1]}": row for row in comparison.summary()["runs"]}
    assert told.keys() == {"loop final", "loop run", "als final", "mean floor"}
    assert (told["loop run"]["K"], told["als final"]["alpha"], told["mean floor"]["K"]) == (4, None, None)
    page = write_report(comparison).read_text()
    assert f"mfbench reproduce {SWEEP}/loop/3/final" in page
    assert Path("results/old/sweep.png").exists()


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(
    "run", [f"{SWEEP}/loop/2/trial", f"{SWEEP}/als/0/final", f"{SWEEP}/mean/0/floor", f"{RUN}/loop/0/run"]
)
def test_they_are_reproduced(run: str) -> None:
    again = mfbench.reproduce(run)
    assert again.reproduced, again.sentence
    assert not [difference for difference in again.found if difference.weight == "fault"]


@pytest.mark.usefixtures("stored")
def test_they_are_exported_as_they_stand(old: Path) -> None:
    assert sync(RUN) == 1
    client = make_store()
    (run,) = client.search_runs([client.get_experiment_by_name("old").experiment_id], "")
    exported = Path(client.download_artifacts(run.info.run_id, "record.json")).read_bytes()
    assert exported == (old / f"runs/{RUN}/loop/run-0000.json").read_bytes()
    assert one_run(run.info.run_id).is_sealed
