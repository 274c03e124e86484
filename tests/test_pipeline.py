"""dvc.yaml: it names the committed specs, dvc.lock belongs to them and to results/, and a repro does its work just once."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from dvc_project import ROOT, dvc, fresh_clone
from waiting import SECONDS

from mfbench.spec import load_spec

pytest.importorskip("dvc", reason="dvc is not installed")
if shutil.which("git") is None:
    pytest.skip("git is not installed", allow_module_level=True)

VARS: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"][0]
EXPERIMENTS: dict[str, dict[str, str]] = VARS["experiments"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return fresh_clone(tmp_path)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_the_committed_spec_of_that_name(name: str) -> None:
    spec = load_spec(ROOT / f"experiments/{name}.yaml")
    assert spec.name == name
    assert spec.data.dataset == EXPERIMENTS[name]["data"]
    assert spec.data.dataset in {*VARS["archives"], *VARS["generated"]}
    assert (spec.sweep is not None) == (EXPERIMENTS[name]["does"] == "sweep")


def test_the_lock_belongs_to_the_committed_specs_and_results(tree: Path) -> None:
    said = dvc(tree, "repro", "--dry", "--allow-missing")  # fails for want of data where a spec has changed since
    assert "Running stage" not in said, "run `dvc repro`: a result is not that of the lock file"
    shown = json.loads(dvc(tree, "metrics", "show", "--json"))[""]["data"]
    for name in EXPERIMENTS:
        spec, metrics = load_spec(ROOT / f"experiments/{name}.yaml"), shown[f"results/{name}/metrics.json"]["data"]
        assert metrics["best"] in spec.backends()
        tested = spec.sweep and spec.split.kind != "tail"
        judged = "test_rmse" if tested else ("valid_rmse" if spec.split.kind != "none" else "train_rmse")
        assert metrics[judged] > 0
    assert len({column for file in shown.values() for column in file["data"]}) < 10  # and that of the path


def test_a_report_of_a_spec_of_ones_own_is_nothing_to_commit_unless_it_is_named(tree: Path) -> None:
    def untracked() -> str:
        command = ["git", "status", "--porcelain", "--untracked-files=all", "results"]
        return subprocess.run(command, cwd=tree, check=True, timeout=SECONDS, capture_output=True, text=True).stdout

    subprocess.run(["git", "add", "--force", "results/quickstart"], cwd=tree, check=True, timeout=SECONDS)
    before = untracked()
    (tree / "results/mine").mkdir()
    for name in ("mine/leaderboard.csv", "mine/sweep.png", "mine/report.html", "quickstart/report.html"):
        (tree / "results" / name).write_text("")
    assert untracked() == before
    assert "results/quickstart/leaderboard.csv" in before
    subprocess.run(["git", "add", "--force", "results/mine"], cwd=tree, check=True, timeout=SECONDS)
    assert "results/mine/leaderboard.csv" in untracked()


def test_a_fresh_clone_has_its_work_before_it_and_a_changed_spec_is_seen(tree: Path) -> None:
    spec = tree / "experiments/quickstart.yaml"
    spec.write_text(spec.read_text().replace("  epochs: ", "  epochs: 1"))
    said = dvc(tree, "repro", "--dry", *(f"generate@{name}" for name in VARS["generated"]))
    assert said.count("Running stage") == len(VARS["generated"])
    changed = json.loads(dvc(tree, "status", "--json"))
    for name in EXPERIMENTS:
        deps, outs = changed[f"sweep@{name}"][:2]
        assert outs["changed outs"].keys() == {f"runs/{name}.json"}
        if name == "quickstart":
            assert deps["changed deps"][f"experiments/{name}.yaml"] == {"model": "modified"}
        else:
            assert deps["changed deps"].keys() == {f"data/{EXPERIMENTS[name]['data']}"}


def test_the_notebook_from_nothing_to_its_table_and_no_work_the_second_time(tree: Path) -> None:
    shutil.rmtree(tree / "results")
    (tree / "dvc.lock").unlink()
    said = dvc(tree, "repro", "compare@notebook-6x4")
    assert "Running stage 'sweep@notebook-6x4'" in said
    results = tree / "results/notebook-6x4"
    assert json.loads((results / "metrics.json").read_text())["train_rmse"] < 0.15
    filled = pd.read_csv(results / "filled.csv", index_col="user")
    assert filled.shape == (6, 4)
    assert filled.notna().to_numpy().all()

    lock = (tree / "dvc.lock").read_bytes()
    records = sorted((tree / "runs").glob("notebook-6x4-*/loop/*"))
    assert "up to date" in dvc(tree, "repro", "compare@notebook-6x4")
    assert (tree / "dvc.lock").read_bytes() == lock
    assert sorted((tree / "runs").glob("notebook-6x4-*/loop/*")) == records != []
