"""dvc.yaml: it names the committed specs, dvc.lock belongs to them and to results/, and a repro does its work just once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from processes import python
from waiting import SECONDS

from mfbench.spec import load_spec

ROOT = Path(__file__).parents[1]
COMMITTED = ["dvc.yaml", "dvc.lock", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".gitignore", "experiments", "results"]

pytest.importorskip("dvc", reason="dvc is not installed")
if shutil.which("git") is None:
    pytest.skip("git is not installed", allow_module_level=True)

VARS: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"][0]
EXPERIMENTS: dict[str, dict[str, str]] = VARS["experiments"]


def dvc(tree: Path, *words: str) -> str:
    """What a dvc command says in that tree, with a cache and a data home of its own; it must succeed."""
    ours = ("MFBENCH_DATA", "MFBENCH_MIRROR", "MLFLOW_TRACKING_URI")
    environment = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("GIT_")}
    environment |= {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DVC_SITE_CACHE_DIR": str(tree / ".dvc/tmp/site"),
        "DVC_GLOBAL_CONFIG_DIR": str(tree / ".dvc/tmp/global"),
        "COLUMNS": "200",
    }
    status, out, err = python("-m", "dvc", *words, cwd=tree, env=environment)
    assert status == 0, out + err
    return out


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A fresh clone, as far as dvc has to do with it."""
    for name in COMMITTED:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target)
        else:
            shutil.copyfile(ROOT / name, target)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True, timeout=SECONDS)
    return tmp_path


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
        assert metrics.keys() - {"oracle"} == set(spec.backends())
        tested = spec.sweep and spec.split.kind != "tail"
        judged = "test_rmse" if tested else ("valid_rmse" if spec.split.kind != "none" else "train_rmse")
        assert all(judged in metrics[backend] for backend in spec.backends())


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
    assert json.loads((results / "metrics.json").read_text())["loop"]["train_rmse"] < 0.15
    filled = pd.read_csv(results / "filled.csv", index_col="user")
    assert filled.shape == (6, 4)
    assert filled.notna().to_numpy().all()

    lock = (tree / "dvc.lock").read_bytes()
    records = sorted((tree / "runs").glob("notebook-6x4-*/loop/*"))
    assert "up to date" in dvc(tree, "repro", "compare@notebook-6x4")
    assert (tree / "dvc.lock").read_bytes() == lock
    assert sorted((tree / "runs").glob("notebook-6x4-*/loop/*")) == records != []
