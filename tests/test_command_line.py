"""The command line as its user sees it: exit codes, one sentence, one line of JSON, a real MLflow store read back."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from exported import artifacts, runs_of
from processes import answer, last_line
from user_files import write_spec

import mfbench
from mfbench.commands.cli.terminal import say, say_what_is_left_out, warn
from mfbench.commands.compare import compared
from mfbench.core.errors import LeftOutWarning
from mfbench.core.tables import drawn
from mfbench.report.leaderboard import COMPARED
from mfbench.tracking.store import make_store

RUN_KEYS = {
    "run_key", "run_id", "outcome", "backend", "K", "alpha", "beta", "epochs", "train_rmse", "train_mae", "valid_rmse",
    "valid_mae", "train_seconds",
}  # fmt: skip
METRICS = ["valid_rmse", "valid_mae", "test_rmse", "test_mae"]
FINAL_KEYS = [
    "backend", "run_key", "run_id", "K", "alpha", "beta", "epochs", "valid_rmse", "valid_mae", "test_rmse", "test_mae",
    "train_seconds", "evaluation",
]  # fmt: skip


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("model.alfa=1", "model.alfa: unknown key"),
        ("model.backend=lop", "backend: unknown backend 'lop'; choose from loop, "),
        ("model.options.loop.oder=rows", "model.options.loop.oder: unknown key; choose from order"),
        ("model.options.lop.order=rows", "backend: unknown backend 'lop'"),
        ("data.dataset=movielens", "movielens"),
        ("split={kind: folds, fold: u1}", "split: planted-10k has no fold 'u1'"),
        ("split.valid=0.00001", "the valid part of planted-10k is empty"),
        ("data={file: none.csv}", "none.csv"),
    ],
)
def test_bad_input_is_exit_code_2_one_sentence_and_nothing_written(command: Any, change: str, says: str) -> None:
    spec = {
        "name": "bad", "data": {"dataset": "planted-10k"}, "split": {"kind": "random", "valid": 0.1, "test": 0.1},
        "model": {"backend": "loop"}, "sweep": {"backends": ["loop"]},
    }  # fmt: skip
    for name in ("run", "sweep"):
        if name == "sweep" and change.startswith("model.backend"):
            change = "sweep.backends=[lop]"
        status, out, err = command(name, write_spec(spec), "--set", change)
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        assert says in err
        assert [path.name for path in Path().iterdir()] == ["spec.yaml"]


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["model.K=2147483647"], "model.K: 2147483647 factors of 500 users and items needs 8,590 GB, and this machine has"),
        (["model.epochs=2147483647"], "model.epochs: 2,147,483,647 evaluations needs 429 GB"),
        (
            ["data={planted: {users: 2147483647, items: 2147483647, ratings: 2147483647}}"],
            "data.planted: 2,147,483,647 ratings",
        ),
        (["split={kind: kfold, folds: 10000}"], "split.folds: 10000 folds of"),
    ],
)
def test_what_no_machine_has_room_for_is_refused_before_any_work(
    command: Any, changes: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfbench.core.machine.total_memory", lambda: 64 * 10**9)
    spec = {
        "name": "large", "data": {"planted": {"users": 300, "items": 200, "ratings": 3000}},
        "split": {"kind": "random", "valid": 0.1}, "model": {"backend": "loop"}, "sweep": {"backends": ["loop"]},
    }  # fmt: skip
    for name in ("run", "sweep"):
        changed = [change.replace("model.K=", "sweep.space.K=") if name == "sweep" else change for change in changes]
        status, out, err = command(name, write_spec(spec), *(word for change in changed for word in ("--set", change)))
        assert (status, out) == (2, "")
        assert says in err.splitlines()[-1]
        assert not list(Path("runs").glob("*/*/*"))


@pytest.mark.usefixtures("workplace")
def test_an_astronomic_grid_and_thousands_of_workers_are_refused(command: Any, small: dict[str, Any]) -> None:
    many = dict.fromkeys(("K", "alpha", "beta"), 10**6)
    grid = {**small, "sweep": {**small["sweep"], "sampler": "grid", "grid": many}}
    status, _, err = command("sweep", write_spec(grid))
    assert status == 2
    assert "sweep.grid: astronomically many points are too many; give at most 1,000,000" in err
    status, _, err = command("sweep", write_spec(small), "--workers", "5000")
    assert status == 2
    assert "--workers 5000: this machine has" in err
    assert not Path("runs").exists()


@pytest.mark.usefixtures("workplace")
def test_control_characters_and_markup_in_titles_are_shown_and_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b[31m[bold]b\n:smile:\u202e"
    shown = r"a\x1b[31m[bold]b\n:smile:\u202e"
    say(drawn(hostile, [hostile, "x"], [[hostile, hostile]]), False)
    assert capsys.readouterr().out.count(shown) == 4
    warn(hostile + "y" * 900)
    err = capsys.readouterr().err
    assert err.startswith(f"mfbench: {shown}")
    assert len(err) < 500
    say("a [bold]title[/bold] \x07\nand more", False)
    assert capsys.readouterr().out == "a [bold]title[/bold] \\x07\nand more\n"


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
def test_a_bad_table_is_exit_code_2_with_the_line(command: Any, content: str, says: str) -> None:
    Path("ratings.csv").write_text(content)
    spec = {"name": "own", "data": {"file": "ratings.csv"}, "split": {"kind": "none"}, "model": {"backend": "loop"}}
    status, _, err = command("run", write_spec(spec))
    assert (status, len(err.splitlines())) == (2, 1)
    assert says in err
    assert sorted(path.name for path in Path().iterdir()) == ["ratings.csv", "spec.yaml"]


@pytest.mark.usefixtures("stored")
def test_a_run_twice_in_two_processes_is_the_same_but_for_what_may_differ(small: dict[str, Any]) -> None:
    small["model"]["backend"] = "loop"
    first, second = answer("run", write_spec(small)), answer("run", "spec.yaml")
    assert set(first) >= RUN_KEYS
    assert first["test_rmse"] is None
    assert first["evaluation"]["n_valid"] == 300
    assert 0 < first["evaluation"]["valid_ndcg_10"] < 1
    assert not any("test" in name for name in first["evaluation"])
    different = {key for key in first if first[key] != second[key]}
    assert all(key.endswith("_seconds") for key in different), different
    assert first["run_id"] == second["run_id"]


@pytest.mark.usefixtures("stored")
def test_a_run_that_diverges_is_exit_code_1_and_still_a_record(command: Any, small: dict[str, Any]) -> None:
    status, out, err = command("run", write_spec(small), "--json", "--set", "model.backend=loop", "--set", "model.alpha=50")
    assert status == 1
    summary = last_line(out)
    assert summary["outcome"] == "diverged"
    assert summary["valid_rmse"] is None
    assert "no longer a finite number after epoch 1" in err


def test_a_sweep_prints_the_keys_of_the_design(searched: Any) -> None:
    summary = searched
    words = "study objective trials finished finals oracle pareto test_openings audit"
    assert list(summary) == words.split()
    assert summary["trials"] == 6
    assert {final["backend"] for final in summary["finals"]} == {"loop", "jax", "adam", "mean"}
    assert all([key for key in final if key not in COMPARED] == FINAL_KEYS for final in summary["finals"])
    by_valid = [final["valid_rmse"] for final in summary["finals"]]
    assert by_valid == sorted(by_valid)
    assert set(summary["oracle"]) == {"test_rmse", "test_mae"}
    assert all(final["test_rmse"] > summary["oracle"]["test_rmse"] for final in summary["finals"])


def test_a_sweep_in_mlflow_read_back(searched: Any) -> None:
    client, runs = make_store(), runs_of("everything")
    stages = [run.data.tags["mfbench.stage"] for run in runs]
    assert {stage: stages.count(stage) for stage in set(stages)} == {"sweep": 1, "trial": 19, "final": 3, "floor": 1}
    (parent,) = (run for run in runs if run.data.tags["mfbench.stage"] == "sweep")
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in runs} <= {"FINISHED", "FAILED"}
    for final in searched["finals"]:
        run = client.get_run(final["run_id"])
        assert run.data.tags["mfbench.run_key"] == final["run_key"]
        assert {name: run.data.metrics[name] for name in METRICS} == {name: final[name] for name in METRICS}
        judged = {name: value for name, value in final["evaluation"].items() if value is not None}
        assert judged.keys() >= {"test_ndcg_10", "test_rmse_known", "test_mae_user", "test_rmse_popularity_5", "n_test_users"}
        assert {name: run.data.metrics[name] for name in judged} == judged
        assert run.data.params["backend"] == final["backend"]
        assert len(client.get_metric_history(run.info.run_id, "train_rmse")) == final["epochs"]
        assert run.inputs.dataset_inputs
        assert {"record.json", "spec.yaml", "model", "environment.json"} <= artifacts(run.info.run_id)
    assert artifacts(parent.info.run_id) >= {"leaderboard.md", "sweep.png"}


def test_the_package_shows_what_there_is_to_call_and_its_version(command: Any) -> None:
    assert dir(mfbench) == sorted([*mfbench.__all__, "__version__"])
    assert all(callable(getattr(mfbench, name)) for name in mfbench.__all__)
    assert command("--version")[:2] == (0, f"mfbench {mfbench.__version__}\n")


@pytest.mark.usefixtures("stored")
def test_results_are_short_to_look_at_and_come_as_tables(small: dict[str, Any]) -> None:
    run, swept = mfbench.run(small, ["model.backend=loop"]), mfbench.sweep(small)
    assert repr(run).startswith(f"<run {run.record.run_key}: completed, train_rmse {run.record.train_rmse:.4f}, ")
    assert run.to_frame()["valid_rmse"].tolist() == run.record.scores.valid_rmse
    final = swept.swept.finals[0]
    assert repr(swept) == f"<sweep {final.study}: 6 trials, loop final valid RMSE {final.valid_rmse:.4f}>"
    trials = swept.to_frame()
    assert (len(trials), trials["valid_rmse"].min()) == (6, final.valid_rmse)
    (board,) = mfbench.compare("small")
    assert repr(board) == f"<leaderboard of 2 runs on {board.heading}>"
    assert sorted(board.to_frame()["run_key"]) == sorted([run.record.run_key, final.run_key])
    assert mfbench.write_report(final.study).name == "report.html"
    (alone,) = mfbench.compare(final.path)
    assert alone.to_frame()["run_key"].tolist() == [final.run_key]


def test_compare_finds_a_sweep_by_spec_experiment_run_key_and_run_id(searched: Any, command: Any) -> None:
    finals = {final["run_key"] for final in searched["finals"]}
    one = searched["finals"][0]
    for what, wanted in {"spec.yaml": finals, "everything": finals, one["run_key"]: {one["run_key"]},
                         one["run_id"]: {one["run_key"]}}.items():  # fmt: skip
        assert {run["run_key"] for run in compared([what]).summary()["runs"]} == wanted
    _, out, _ = command("compare", "spec.yaml")
    assert "search audit" in out
    assert all(sentence in out for sentence in searched["audit"]["warnings"])
    assert last_line(command("compare", "spec.yaml", "--json")[1])["boards"][0]["audit"] == searched["audit"]
    assert "compare-runs?runs=" in out
    assert out.index("oracle") > out.index("mean")
    assert command("compare", "nonesuch")[0] == 2


@pytest.mark.usefixtures("workplace")
def test_a_folder_that_cannot_be_written_is_one_sentence(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("ratings.csv").write_text("user,item,rating\n1,1,5\n1,2,4\n2,1,3\n")
    Path("taken").write_text("a file where the folder should be")
    monkeypatch.setenv("MFBENCH_DATA", "taken")
    spec = {"name": "own", "data": {"file": "ratings.csv"}, "split": {"kind": "none"}, "model": {"backend": "loop"}}
    status, _, err = command("run", write_spec(spec))
    assert (status, len(err.splitlines())) == (1, 1)
    assert "taken" in err


def test_of_many_commands_in_one_process_each_warning_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for _ in range(2 * sys.getrecursionlimit()):
            say_what_is_left_out()
        warnings.warn("this run (left out here)", LeftOutWarning, stacklevel=1)
        assert capsys.readouterr().err == "mfbench: this run (left out here)\n"
        warnings.warn("something else", UserWarning, stacklevel=1)  # goes on to what showed warnings before, once


def test_the_small_commands_answer(command: Any) -> None:
    def told(*words: str) -> Any:
        return last_line(command(*words, "--json")[1])

    assert {one["name"] for one in told("backends")["backends"]} >= {"loop", "jax", "adam", "mean"}
    assert {one["name"] for one in told("data", "list")["datasets"]} >= {"planted-1m", "ml-32m"}
    assert told("data", "info", "ml-1m")["ratings"] == 1_000_209
    assert told("doctor")["cores"] >= 1
    assert command("data", "info", "ml-2m")[0] == 2
    assert command("run")[0] == 2
