"""The command line as its user sees it: exit codes, one sentence, one line of JSON, a real MLflow store read back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from mfbench.report.leaderboard import COMPARED

RUN_KEYS = {
    "run_key", "run_id", "outcome", "backend", "K", "alpha", "beta", "epochs", "train_rmse", "train_mae", "valid_rmse",
    "valid_mae", "train_seconds",
}  # fmt: skip
METRICS = ["valid_rmse", "valid_mae", "test_rmse", "test_mae"]
FINAL_KEYS = [
    "backend", "run_key", "run_id", "K", "alpha", "beta", "epochs", "valid_rmse", "valid_mae", "test_rmse", "test_mae",
    "train_seconds", "evaluation",
]  # fmt: skip


def mfbench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mfbench", *words], capture_output=True, text=True, check=False)


def answer(*words: str) -> Any:
    done = mfbench(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def written(spec: dict[str, Any]) -> str:
    Path("spec.yaml").write_text(yaml.safe_dump(spec))
    return "spec.yaml"


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("model.alfa=1", "model.alfa: unknown key"),
        ("model.backend=lop", "backend: unknown backend 'lop'; choose from loop, "),
        ("model.options.loop.oder=rows", "model.options.loop.oder: unknown key; known here are order"),
        ("model.options.lop.order=rows", "backend: unknown backend 'lop'"),
        ("data.dataset=movielens", "movielens"),
        ("split={kind: folds, fold: u1}", "split: planted-10k has no fold 'u1'"),
        ("split.valid=0.00001", "the valid part of planted-10k is empty"),
        ("data={file: none.csv}", "none.csv"),
    ],
)
def test_bad_input_is_exit_code_2_one_sentence_and_nothing_written(change: str, says: str) -> None:
    spec = {
        "name": "bad", "data": {"dataset": "planted-10k"}, "split": {"kind": "random", "valid": 0.1, "test": 0.1},
        "model": {"backend": "loop"}, "sweep": {"backends": ["loop"]},
    }  # fmt: skip
    for command in ("run", "sweep"):
        if command == "sweep" and change.startswith("model.backend"):
            change = "sweep.backends=[lop]"
        done = mfbench(command, written(spec), "--set", change)
        assert done.returncode == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout == ""
        assert [path.name for path in Path().iterdir()] == ["spec.yaml"]


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("user,item,rating\n1,1,5\n1,2,nan\n", "ratings.csv, line 3"),
        ("user,item,rating\n1,1,5\n1,2,x\n", "ratings.csv, line 3"),
        ("user,item,rating\n1,1,5\n2,1,4\n1,1,3\n", "ratings.csv, line 4"),
        ("user,thing,rating\n1,1,5\n", "item"),
        ("user,item,rating\n", "ratings.csv"),
        ("", "ratings.csv"),
    ],
)
def test_a_bad_table_is_exit_code_2_with_the_line(content: str, says: str) -> None:
    Path("ratings.csv").write_text(content)
    spec = {"name": "own", "data": {"file": "ratings.csv"}, "split": {"kind": "none"}, "model": {"backend": "loop"}}
    done = mfbench("run", written(spec))
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in Path().iterdir()) == ["ratings.csv", "spec.yaml"]


@pytest.mark.usefixtures("stored")
def test_a_run_twice_in_two_processes_is_the_same_but_for_what_may_differ(small: dict[str, Any]) -> None:
    small["model"]["backend"] = "loop"
    first, second = answer("run", written(small)), answer("run", written(small))
    assert set(first) >= RUN_KEYS
    assert first["test_rmse"] is None
    assert first["evaluation"]["n_valid"] == 300
    assert 0 < first["evaluation"]["valid_ndcg_10"] < 1
    assert not any("test" in name for name in first["evaluation"])
    different = {key for key in first if first[key] != second[key]}
    assert all(key.endswith("_seconds") for key in different), different
    assert first["run_id"] == second["run_id"]


@pytest.mark.usefixtures("stored")
def test_a_run_that_diverges_is_exit_code_1_and_still_a_record(small: dict[str, Any]) -> None:
    done = mfbench("run", written(small), "--json", "--set", "model.backend=loop", "--set", "model.alpha=50")
    assert done.returncode == 1
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["outcome"] == "diverged"
    assert summary["valid_rmse"] is None
    assert "no longer a finite number after epoch 1" in done.stderr


def test_a_sweep_prints_the_keys_of_the_design(swept: tuple[Path, Any]) -> None:
    _, summary = swept
    assert list(summary) == ["study", "trials", "finished", "finals", "oracle", "pareto", "test_openings", "audit"]
    assert summary["trials"] == 6
    assert {final["backend"] for final in summary["finals"]} == {"loop", "jax", "adam", "mean"}
    assert all([key for key in final if key not in COMPARED] == FINAL_KEYS for final in summary["finals"])
    by_valid = [final["valid_rmse"] for final in summary["finals"]]
    assert by_valid == sorted(by_valid)
    assert set(summary["oracle"]) == {"test_rmse", "test_mae"}
    assert all(final["test_rmse"] > summary["oracle"]["test_rmse"] for final in summary["finals"])


def test_a_sweep_in_mlflow_read_back(swept: tuple[Path, Any]) -> None:
    folder, summary = swept
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("everything")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    stages = [run.data.tags["mfbench.stage"] for run in runs]
    assert {stage: stages.count(stage) for stage in set(stages)} == {"sweep": 1, "trial": 19, "final": 3, "floor": 1}
    (parent,) = (run for run in runs if run.data.tags["mfbench.stage"] == "sweep")
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    for final in summary["finals"]:
        run = client.get_run(final["run_id"])
        assert run.data.tags["mfbench.run_key"] == final["run_key"]
        assert {name: run.data.metrics[name] for name in METRICS} == {name: final[name] for name in METRICS}
        judged = {name: value for name, value in final["evaluation"].items() if value is not None}
        assert judged.keys() >= {"test_ndcg_10", "test_rmse_known", "test_mae_user", "test_rmse_popularity_5", "n_test_users"}
        assert {name: run.data.metrics[name] for name in judged} == judged
        assert run.data.params["backend"] == final["backend"]
        assert len(client.get_metric_history(run.info.run_id, "train_rmse")) == final["epochs"]
        assert run.inputs.dataset_inputs
        names = {one.path for one in client.list_artifacts(run.info.run_id)}
        assert {"record.json", "spec.yaml", "model", "environment.json"} <= names
    assert {one.path for one in client.list_artifacts(parent.info.run_id)} >= {"leaderboard.md", "sweep.png"}


def test_compare_finds_a_sweep_by_spec_experiment_run_key_and_run_id(
    swept: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, summary = swept
    monkeypatch.chdir(folder)
    finals = {final["run_key"] for final in summary["finals"]}
    one = summary["finals"][0]
    for what, wanted in {"spec.yaml": finals, "everything": finals, one["run_key"]: {one["run_key"]},
                         one["run_id"]: {one["run_key"]}}.items():  # fmt: skip
        assert {run["run_key"] for run in answer("compare", what)["runs"]} == wanted
    done = mfbench("compare", "spec.yaml")
    assert "search audit" in done.stdout
    assert all(sentence in done.stdout for sentence in summary["audit"]["warnings"])
    assert answer("compare", "spec.yaml")["audit"] == summary["audit"]
    assert "compare-runs?runs=" in done.stdout
    assert done.stdout.index("oracle") > done.stdout.index("mean")
    assert mfbench("compare", "nonesuch").returncode == 2


@pytest.mark.usefixtures("workplace")
def test_a_folder_that_cannot_be_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("ratings.csv").write_text("user,item,rating\n1,1,5\n1,2,4\n2,1,3\n")
    Path("taken").write_text("a file where the folder should be")
    monkeypatch.setenv("MFBENCH_DATA", "taken")
    spec = {"name": "own", "data": {"file": "ratings.csv"}, "split": {"kind": "none"}, "model": {"backend": "loop"}}
    done = mfbench("run", written(spec))
    assert done.returncode == 1
    assert "taken" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_small_commands_answer() -> None:
    assert {one["name"] for one in answer("backends")["backends"]} >= {"loop", "jax", "adam", "mean"}
    assert {one["name"] for one in answer("data", "list")["datasets"]} >= {"planted-1m", "ml-32m"}
    assert answer("data", "info", "ml-1m")["ratings"] == 1_000_209
    assert answer("doctor")["cores"] >= 1
    assert mfbench("data", "info", "ml-2m").returncode == 2
    assert mfbench("run").returncode == 2
