"""Repeats: a run with several seeds or folds is one run, judged by its mean; each repeat is a record of its own."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from exported import artifact, runs_of
from record_factory import record
from refusals import refused
from sweeping import Listener, bits, swept
from user_files import read_csv, write_spec

import mfbench
from mfbench.commands.compare import compared
from mfbench.core.errors import SpecError
from mfbench.runs.records import Interval, Outcome, Record, RunName
from mfbench.runs.repeats import averaged, interval, mean_of
from mfbench.runs.scores import Scores
from mfbench.search.sampling.finished import Finished
from mfbench.spec import load_spec, run_study_key, study_key

KFOLD = {"kind": "kfold", "folds": 3, "test": 0.15, "seed": 7}


def trial(repeat: int, valid: dict[int, float | None], outcome: Outcome = "completed") -> Record:
    made = record(5, outcome=outcome).model_copy(update={"repeat": repeat, "epochs": max(valid, default=0)})
    values = list(valid.values())
    made.scores = Scores(
        epoch=list(valid), train_rmse=values, train_mae=values, valid_rmse=values,
        valid_mae=[value and value / 2 for value in values], train_seconds=[0.5 * epoch for epoch in valid],
    )  # fmt: skip
    return made


# --- what a repeat is ------------------------------------------------------------------------------------------------


def test_repeats_are_folds_with_the_first_seed_then_with_the_next(small: dict[str, Any]) -> None:
    small["split"], small["sweep"]["repeats"] = KFOLD, 2
    spec = load_spec(small)
    each: list[Any] = [spec.repeat(r) for r in range(spec.folds * spec.seeds)]
    assert [(one.split.fold, one.model.seed) for one in each] == [(0, 3), (1, 3), (2, 3), (0, 4), (1, 4), (2, 4)]
    assert all(one.model_copy(update={"split": spec.split, "model": spec.model}) == spec for one in each)
    assert load_spec(small, ["split.fold=1"]).folds == 1


def test_without_repeats_a_spec_is_its_own_and_its_study_is_what_it_was(small: dict[str, Any]) -> None:
    spec = load_spec(small)
    assert (spec.folds, spec.seeds) == (1, 1)
    assert spec.repeat(0) == spec
    assert study_key(load_spec(small, ["sweep.repeats=1"])) == study_key(spec)
    assert study_key(load_spec(small, ["sweep.repeats=2"])) != study_key(spec)
    assert run_study_key(load_spec(small, ["sweep.repeats=2"])) == run_study_key(spec)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("split.fold=3", "split: fold 3 does not exist; give a number from 0 to 2"),
        ("split.fold=-1", "split.fold: input should be greater than or equal to 0"),
        ("split.folds=1", "split.folds: 1 is too few folds for cross-validation"),
        ("split.folds=[u1, u1]", "split.folds: ['u1', 'u1'] must name at least 2 folds, without duplicates"),
        ("split.valid=0.1", "split.valid: unknown key"),
        ("sweep.repeats=0", "sweep.repeats: input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_one_sentence(small: dict[str, Any], change: str, says: str) -> None:
    small["split"] = KFOLD
    with refused(SpecError, says):
        load_spec(small, [change])


def test_a_run_key_names_one_run_and_its_record() -> None:
    for backend in ("jax", "a/mine.py:Mine"):
        for repeat, path in ((0, "trial-0017.json"), (12, "trial-0017-r12.json")):
            run = RunName(study="s-1", backend=backend, number=17, stage="trial", repeat=repeat)
            assert RunName.of_key(run.run_key) == run
            assert run.path.name == path
    assert run.run_key == "s-1/a/mine.py:Mine/17/trial/12"
    assert run.title == "a/mine.py:Mine #17 r12"
    assert RunName.of_key("s-1/jax/trial/17") is None


# --- the mean --------------------------------------------------------------------------------------------------------


def test_the_mean_curve_by_hand() -> None:
    mean = mean_of([trial(0, {2: 1.0, 4: 0.5, 6: 0.9}), trial(1, {2: 2.0, 4: 1.0, 6: 0.4}), trial(2, {4: 1.2, 6: 0.5})])
    assert mean.scores.epoch == [4, 6]
    assert mean.scores.valid_rmse == pytest.approx([0.9, 0.6])
    assert mean.scores.train_seconds == [2.0, 3.0]
    assert mean.best_epoch == 6
    assert (mean.valid_rmse, mean.valid_mae) == pytest.approx((0.6, 0.3))
    assert mean.test_rmse is None
    # of 0.9, 0.4, 0.5: s² = (0.09 + 0.04 + 0.01) / 2, and t(0.975, 2) = 4.302653
    assert mean.intervals["valid_rmse"].half_width == pytest.approx(4.302653 * math.sqrt(0.07 / 3))
    assert mean.intervals.keys() == {"train_rmse", "train_mae", "valid_rmse", "valid_mae"}
    assert Finished.of(mean).value == mean.valid_rmse
    assert Finished.of(mean).values == {4: pytest.approx(0.9), 6: pytest.approx(0.6)}


def test_the_interval_of_numbers_with_a_known_answer() -> None:
    assert interval([1, 2, 3, 4, 5]).half_width == pytest.approx(2.776445 * math.sqrt(2.5 / 5))
    assert interval([0.1, 0.1]) == Interval(half_width=0.0, n=2)
    assert mean_of([trial(r, {1: 0.1}) for r in range(3)]).valid_rmse == 0.1


def test_a_trial_is_what_its_worst_repeat_is() -> None:
    fine, pruned = trial(0, {1: 1.0, 2: 0.5}), trial(1, {1: 3.0}, "pruned")
    mean = mean_of([fine, pruned])
    assert (mean.outcome, mean.epochs, mean.valid_rmse, Finished.of(mean).value) == ("pruned", 1, 2.0, 2.0)
    diverged = trial(2, {1: 1.0, 2: None}, "diverged")
    mean = mean_of([fine, pruned, diverged])
    assert (mean.outcome, mean.reason, mean.valid_rmse, mean.intervals) == ("diverged", "it diverged", None, {})
    assert Finished.of(mean).value == math.inf
    assert mean_of([diverged, trial(3, {}, "failed")]).outcome == "failed"


def test_one_record_is_its_own_mean_and_runs_keep_their_order() -> None:
    records = [record(2), trial(10, {1: 1.0}), record(1), trial(2, {1: 2.0})]
    first, second, third = averaged(records)
    assert first is records[0]
    assert third is records[2]
    assert (second.number, second.repeat, second.valid_rmse) == (5, 2, 1.5)


# --- sweeps ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("served")
def test_a_sweep_with_repeats_is_the_same_however_it_is_run(small: dict[str, Any]) -> None:
    small["sweep"] |= {"trials": 4, "batch": 2}
    plain = swept(small)
    result = swept(small, "sweep.repeats=3")
    assert [trial.result for trial in result.records[:6:3]] == [trial.result for trial in plain.trials["loop"][:2]]

    for path in sorted(Path("runs", result.study, "loop").glob("*.json"))[::2]:  # as if it had been killed, and a bit more
        path.unlink()
    assert bits(swept(small, "sweep.repeats=3", workers=2)) == bits(result)


@pytest.mark.usefixtures("served")
def test_repeats_side_by_side_have_the_same_bits(small: dict[str, Any]) -> None:
    small["split"] = KFOLD | {"folds": 2}
    small["sweep"] |= {"backends": ["jax"], "trials": 2}
    one_by_one = bits(swept(small, "sweep.side_by_side=false"))
    shutil.rmtree("runs")
    assert bits(swept(small, "sweep.side_by_side=true")) == one_by_one
    assert len({result for *_, result in one_by_one}) == len(one_by_one) == 2 * 2 + 1


@pytest.mark.usefixtures("served")
def test_a_trial_is_pruned_by_its_first_repeat_and_no_harder_fold_rules_it_out(small: dict[str, Any]) -> None:
    small["split"], small["model"] = KFOLD, {**small["model"], "epochs": 8}
    small["sweep"] |= {"trials": 16, "batch": 4, "backends": ["numba"], "pruner": "median"}
    result = swept(small)
    outcomes = [[r.outcome for r in result.records if r.stage == "trial" and r.number == n] for n in range(16)]
    assert {tuple(each) for each in outcomes} == {("completed",) * 3, ("pruned",)}
    assert len([one for one in result.trials["numba"] if one.outcome == "completed"]) > 8

    for path in sorted(Path("runs", result.study, "numba").glob("*.json"))[::2]:
        path.unlink()
    assert bits(swept(small, workers=2)) == bits(result)


@pytest.mark.usefixtures("served")
def test_finals_are_repeated_with_each_seed_and_not_on_each_fold(small: dict[str, Any]) -> None:
    small["split"] = KFOLD
    small["sweep"] |= {"repeats": 2, "trials": 3}
    result = swept(small)
    trials = result.trials["loop"]
    assert [len([r for r in result.records if r.stage == "trial" and r.number == one.number]) for one in trials] == [6] * 3
    best = min(trials, key=lambda one: one.valid_rmse or math.inf)
    finals = [record for record in result.records if record.stage == "final"]
    assert [(one.repeat, one.spec.model.seed) for one in finals] == [(0, 3), (3, 4)]
    assert {one.epochs for one in finals} == {best.best_epoch}
    assert {one.valid_rmse for one in finals} == {best.valid_rmse}
    (final,) = result.finals
    assert final.intervals["valid_rmse"] == best.intervals["valid_rmse"]
    assert (final.intervals["valid_rmse"].n, final.intervals["test_rmse"].n) == (6, 2)
    assert final.test_rmse == pytest.approx(sum(one.test_rmse or 9 for one in finals) / 2)
    ndcg = [one.evaluation["test_ndcg_10"] for one in finals]
    assert final.evaluation["test_ndcg_10"] == pytest.approx((ndcg[0] + ndcg[1]) / 2)
    assert len({one.factors_digest for one in finals}) == 2
    assert all(one.spec == load_spec(small).repeat(one.repeat) for one in result.records)
    for one in (result.records[4], finals[1]):
        assert mfbench.reproduce(one.run_key, strict=True).verdict == "to the bit"
    log = Path("runs", result.study, "test-openings.jsonl").read_text()
    openings = [json.loads(line)["reason"] for line in log.splitlines()]
    assert [reason.split()[1] for reason in openings] == ["score", "reproduce"]


@pytest.mark.usefixtures("served")
def test_folds_without_a_test_part_are_said_to_have_no_test_score(small: dict[str, Any]) -> None:
    small["split"] = {"kind": "kfold", "folds": 2}
    result = swept(small, "sweep.trials=1", watcher=(listener := Listener()))
    assert [sentence for sentence in listener.said if "there is no test part" in sentence]
    assert result.finals[0].test_rmse is None
    assert result.finals[0].data.n_train + (result.finals[0].data.n_valid or 0) == 2000


# --- where it is shown -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stored")
def test_a_run_of_a_kfold_spec_is_one_on_each_fold_and_shows_their_mean(small: dict[str, Any]) -> None:
    small["split"], small["model"] = KFOLD, {**small["model"], "backend": "loop"}
    del small["sweep"]
    result = mfbench.run(write_spec(small))
    told = result.summary()
    values = [one["valid_rmse"] for one in told["repeats"]]
    assert len(set(values)) == 3
    assert told["valid_rmse"] == pytest.approx(sum(values) / 3)
    assert told["valid_rmse_ci95"] == interval(values).half_width
    assert [one["run_key"][-5:] for one in told["repeats"]] == ["0/run", "run/1", "run/2"]
    assert result.model(1).P.shape == (60, 16)

    one = mfbench.run("spec.yaml", ["split.fold=1"]).summary()
    assert not {"repeats", "valid_rmse_ci95"} & one.keys()
    assert one["valid_rmse"] == values[1]

    board = compared(["spec.yaml"])
    (row,) = board.summary()["runs"]
    assert (row["valid_rmse"], row["valid_rmse_ci95"], row["repeats"]) == (told["valid_rmse"], told["valid_rmse_ci95"], 3)
    assert compared([f"{row['run_key']}/2"]).summary()["runs"][0]["valid_rmse"] == values[2]
    board.write_results()
    (line,) = read_csv("results/small/leaderboard.csv")
    assert (float(line["valid_rmse_ci95"]), line["repeats"]) == (told["valid_rmse_ci95"], "3")
    assert f"{told['valid_rmse']:.4f} ± {told['valid_rmse_ci95']:.4f}" in Path("results/small/leaderboard.md").read_text()
    assert json.loads(Path("results/small/metrics.json").read_text())["valid_rmse_ci95"] == told["valid_rmse_ci95"]


@pytest.mark.usefixtures("served")
def test_a_sweep_with_repeats_in_json_and_in_mlflow(small: dict[str, Any]) -> None:
    small["split"] = KFOLD | {"folds": 2}
    small["sweep"] |= {"trials": 1, "repeats": 2}
    result = mfbench.sweep(small)
    (final,) = result.summary()["finals"]
    assert (final["repeats"], final["finals"]) == (4, 2)
    assert final["test_rmse_ci95"] > 0

    runs = {run.info.run_name: run for run in runs_of("small")}
    assert runs.keys() - {f"sweep {result.swept.study}"} == {
        "loop #0", "loop #0 r1", "loop #0 r2", "loop #0 r3", "loop final", "loop final r2"
    }  # fmt: skip
    assert [runs[name].data.params["seed"] for name in ("loop #0", "loop #0 r1", "loop final r2")] == ["3", "3", "4"]
    parent = runs[f"sweep {result.swept.study}"]
    assert parent.data.metrics["loop.test_rmse"] == pytest.approx(final["test_rmse"])
    assert parent.data.metrics["loop.test_rmse_ci95"] == pytest.approx(final["test_rmse_ci95"])
    assert load_spec(artifact(parent.info.run_id, "spec.yaml")) == load_spec(small)
    assert f"± {final['valid_rmse_ci95']:.4f}" in artifact(parent.info.run_id, "leaderboard.md").read_text()
