"""`report SPEC`: what of a study's records goes to results/, and the filled-in matrix."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import last_line
from record_factory import STUDY, altered, record, sweep_records, write
from user_files import read_csv

from mfbench.commands.compare import compare, compared
from mfbench.core.errors import InputError
from mfbench.core.files import write_model
from mfbench.matrix.factors import digest_of
from mfbench.report.filled import filled_table
from mfbench.runs.record_files import model_path, write_record
from mfbench.runs.records import Record
from mfbench.runs.scores import Scores
from mfbench.search.audit import audit
from mfbench.tracking.contents import files

RESULTS = Path("results/little")


def given_factors(made: Record, **arrays: object) -> Record:
    model = {name: np.asarray(array) for name, array in arrays.items()}
    write_model(model_path(made.path), model)
    made.factors_digest = digest_of(model)
    return made


def whole_model(made: Record) -> Record:
    return given_factors(
        made, P=[[1.0, 2.0], [0.0, 0.5]], Q=[[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]], user_bias=[0.5, 0.0],
        item_bias=[0.0, 0.25, 0.0], mean=3.0, user_ids=["ann", "bob"], item_ids=[10, 20, 30],
    )  # fmt: skip


@pytest.mark.usefixtures("workplace")
def test_results_are_the_latest_finals_and_the_floor_without_ids() -> None:
    records = sweep_records()
    earlier = next(r for r in records if r.stage == "final" and r.backend == "jax")
    later = record(2, backend="jax", stage="final", seed=9).model_copy(update={"valid_rmse": 0.9, "test_rmse": 0.91})
    write([*records, later, record(0, stage="run", study="little-11111111")])
    comparison = compared(["little"])
    assert earlier.run_key not in {row.record.run_key for row in comparison.board}
    comparison.write_results()

    lines = read_csv(RESULTS / "leaderboard.csv")
    assert [line["run_key"] for line in lines] == [
        later.run_key, f"{STUDY}/adam/0/final", f"{STUDY}/mean/0/floor"
    ]  # fmt: skip
    assert lines[0]["trials"] == "4"
    assert float(lines[0]["test_rmse"]) == 0.91
    metrics = json.loads((RESULTS / "metrics.json").read_text())
    scores = {"valid_rmse": 0.9, "valid_mae": later.valid_mae, "test_rmse": 0.91, "test_mae": later.test_mae}
    assert metrics == {"best": "jax", **scores}
    assert (RESULTS / "leaderboard.md").read_text().startswith("| backend | K |")
    assert {path.name for path in RESULTS.iterdir()} == {
        "audit.md", "curves.csv", "leaderboard.csv", "leaderboard.md", "metrics.json", "sweep.png"
    }  # fmt: skip
    trials = [made for made in records if made.stage == "trial"]
    assert (RESULTS / "audit.md").read_text() == audit(trials).markdown()
    assert comparison.summary()["audit"] == audit(trials).summary()


@pytest.mark.usefixtures("workplace")
def test_curves_are_those_of_the_best_trial_of_each_backend_at_no_more_than_100_epochs(command: Any) -> None:
    epochs = list(range(1, 251))
    worse, best = (record(number, stage="trial") for number in (0, 1))
    scores = Scores(epoch=epochs, train_rmse=[1 / 3] * 250, valid_rmse=[*[0.9] * 249, None])
    best = best.model_copy(update={"scores": scores, "valid_rmse": 0.5})
    write([worse, best, record(1, stage="final")])
    assert command("report", "little", "--out", "elsewhere")[0] == 0
    assert not RESULTS.exists()
    lines = read_csv("elsewhere/curves.csv")
    train, valid = ([line for line in lines if line["part"] == part] for part in ("train", "valid"))
    assert [int(line["epoch"]) for line in train] == list(range(1, 251, 3))
    assert [int(line["epoch"]) for line in valid] == list(range(1, 250, 3))
    assert {(line["backend"], line["rmse"]) for line in lines} == {("jax", "0.333333"), ("jax", "0.9")}


@pytest.mark.usefixtures("workplace")
def test_where_nothing_was_searched_the_picture_has_the_epochs() -> None:
    write([record(0, backend=name, stage=stage) for name in ("jax", "adam") for stage in ("trial", "final")])
    compared(["little"]).write_results()
    assert {path.name for path in RESULTS.glob("*.png")} == {"mae.png"}


@pytest.mark.usefixtures("workplace")
def test_both_finals_of_a_backend_stand_beside_each_other_where_they_are_asked_for() -> None:
    finals = [record(number, stage="final") for number in (0, 2)]
    write(finals)
    comparison = compared([final.run_key for final in finals])
    assert len(comparison.board) == 2
    assert comparison.audit is None  # of single runs there is no search to say anything of


@pytest.mark.usefixtures("workplace")
def test_a_plain_run_has_its_curve_and_its_small_matrix_in_the_results() -> None:
    made = whole_model(record(0, stage="run"))
    write_record(made)
    compared(["little"]).write_results()
    assert {path.name for path in RESULTS.iterdir()} == {
        "curves.csv", "filled.csv", "leaderboard.csv", "leaderboard.md", "learning_curves.png", "metrics.json"
    }  # fmt: skip
    assert (RESULTS / "filled.csv").read_text() == "user,10,20,30\nann,6.5000,5.7500,3.5000\nbob,3.5000,3.2500,3.0000\n"
    assert files(made)["filled.csv"] == (RESULTS / "filled.csv").read_bytes()


@pytest.mark.usefixtures("workplace")
def test_a_large_matrix_a_model_without_factors_and_a_trial_have_no_table() -> None:
    made = whole_model(record(0, stage="final"))
    assert filled_table(made) is not None
    assert filled_table(altered(made, data={"n_users": 100, "n_items": 101})) is None
    assert filled_table(given_factors(record(0, stage="floor"), user_bias=[0.0, 1.0])) is None
    assert filled_table(record(0, stage="trial")) is None


@pytest.mark.usefixtures("workplace")
def test_results_are_of_one_experiment() -> None:
    other = record(0, stage="run", study="other-11111111")
    write([record(0, stage="run"), altered(other, spec={"name": "other"})])
    with pytest.raises(InputError, match="one experiment at a time"):
        compared([]).write_results()


@pytest.mark.usefixtures("workplace")
def test_a_board_has_runs_on_the_same_data_and_split_alone(command: Any) -> None:
    same, other_split, other_data = (record(0, stage="run", study=f"{name}-11111111") for name in ("same", "split", "data"))
    write([
        record(0, stage="run"), altered(same, spec={"name": "same"}),
        altered(other_split, spec={"name": "split"}, data={"split_digest": "01" * 32}),
        altered(other_data, spec={"name": "data"}, data={"data_digest": "01" * 32, "name": "elsewhere"}),
    ])  # fmt: skip
    found = {tuple(row.record.spec.name for row in board.board): board for board in compare()}
    assert {frozenset(names) for names in found} == {frozenset({"little", "same"}), frozenset({"split"}), frozenset({"data"})}
    assert found["data",].heading.startswith("elsewhere, {kind: random, valid: 0.1, test: 0.1, seed: 7}: ")
    with pytest.raises(InputError, match=r"all runs: not comparable, because data or split differ .*; give one spec"):
        compared([])
    status, out, _ = command("compare")
    assert (status, out.count("elsewhere, {kind: random"), out.count("backend")) == (0, 1, 3)
    told = last_line(command("compare", "--json")[1])["boards"]
    assert [len(board["runs"]) for board in told] == [len(names) for names in found]
    assert {board["split_digest"] for board in told} == {board.data.split_digest for board in found.values()}


@pytest.mark.usefixtures("workplace")
def test_of_a_sweep_without_a_final_run_it_is_said_how_its_trials_ended() -> None:
    Path("runs", STUDY).mkdir(parents=True)
    with pytest.raises(InputError, match="little: no runs found; give a spec that has run"):
        compared(["little"])
    diverged = [record(number, outcome="diverged") for number in (0, 1)]
    write([*diverged, record(0, backend="adam", outcome="failed")])
    says = (
        f"{STUDY}: no trial of any backend completed (adam: 1 of 1 did not complete, mostly: it failed;"
        f" jax: 2 of 2 did not complete, mostly: it diverged); the records are in runs/{STUDY}"
    )
    with pytest.raises(InputError, match="^" + re.escape(says)):
        compared(["little"])
    write([record(2)])
    says = f"{STUDY}: 4 trials finished (1 failed, 2 diverged, 1 completed), but there is no final run yet; resume it"
    with pytest.raises(InputError, match="^" + re.escape(says)):
        compared(["little"])
