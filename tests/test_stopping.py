"""When training stops, when a search stops, where a search starts, and what the test part is too small to tell."""

from __future__ import annotations

import math
import shutil
from typing import Any

import pytest
from sweeping import Listener, bits, swept
from trainings import made

import mfbench
from mfbench.commands.race import run_race
from mfbench.data.splits import parts_of
from mfbench.report.leaderboard import note
from mfbench.runs.progress import Watcher
from mfbench.runs.records import Record, RunName
from mfbench.search.workers import Workers
from mfbench.spec import Sweep, load_spec

FAST = {"alpha": 0.05, "K": 6}
"""Overfits the small spec within a few epochs."""


def curve_of(record: Record) -> list[float]:
    return [value for value in record.scores.valid_rmse if value is not None]


def stop_of(curve: list[float], patience: int) -> int:
    """The first epoch at which `patience` epochs in a row were no better than the best before them."""
    for epoch in range(1, len(curve) + 1):
        if epoch - 1 - curve.index(min(curve[:epoch])) >= patience:
            return epoch
    return len(curve)


# --- patience --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("backend", ["loop", "numba", "jax", "bmf"])
def test_a_run_stops_by_its_own_curve_and_keeps_its_best_model(small: dict[str, Any], backend: str, patience: int) -> None:
    small["model"] |= {"epochs": 30}
    whole = made(small, backend, **FAST)
    small["model"] |= {"patience": patience}
    stopped = made(small, backend, **FAST)
    curve = curve_of(whole)
    assert stopped.epochs == stop_of(curve, patience) < 30
    assert curve_of(stopped) == curve[: stopped.epochs]
    assert stopped.outcome == "completed"
    assert stopped.best_epoch == curve.index(min(curve[: stopped.epochs])) + 1
    assert stopped.valid_rmse == min(curve[: stopped.epochs])
    small["model"] |= {"patience": None, "epochs": stopped.best_epoch}
    assert made(small, backend, **FAST).factors_digest == stopped.factors_digest


@pytest.mark.usefixtures("workplace")
def test_a_run_that_was_not_scored_on_train_is_scored_there_at_its_end(small: dict[str, Any]) -> None:
    small["model"] |= {"epochs": 30, "patience": 2}
    scored = made(small, **FAST)
    small["model"] |= {"evaluate_train": False}
    assert made(small, **FAST).train_rmse == scored.train_rmse is not None


@pytest.mark.usefixtures("workplace")
def test_patience_counts_evaluations_and_needs_a_valid_part(small: dict[str, Any]) -> None:
    small["model"] |= {"epochs": 30, "evaluate_every": 2}
    every = curve_of(made(small, **FAST))
    small["model"] |= {"patience": 2}
    assert made(small, **FAST).epochs == 2 * stop_of(every, 2)
    small["split"] = {"kind": "random", "valid": 0, "test": 0.15, "seed": 7}
    assert made(small).epochs == 30


@pytest.mark.usefixtures("stored")
def test_a_run_that_stopped_says_so_and_is_reproduced(small: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    small["model"] |= {"epochs": 30, "patience": 2, "backend": "loop", **FAST}
    del small["sweep"]
    record = mfbench.run(small).record
    said = f"stopped after {record.epochs} of 30 epochs, because the last 2 evaluations did not lower the valid RMSE"
    assert said in capsys.readouterr().err
    again = mfbench.reproduce(record.run_key)
    assert again.verdict == "to the bit"
    assert again.record is not None
    assert (again.record.epochs, again.record.valid_rmse) == (record.epochs, record.valid_rmse)


@pytest.mark.usefixtures("served")
def test_a_trial_that_stopped_is_completed_and_no_other_trial_has_a_part_in_it(small: dict[str, Any]) -> None:
    small["model"] |= {"epochs": 40}
    whole = swept(small, "sweep.pruner=none", "sweep.sampler=random")
    stopped = swept(small, "sweep.sampler=random")
    assert [trial.hyper for trial in stopped.trials["loop"]] == [trial.hyper for trial in whole.trials["loop"]]
    for short, long in zip(stopped.trials["loop"], whole.trials["loop"], strict=True):
        if long.outcome == "completed":
            assert short.epochs == stop_of(curve_of(long), 10)
            assert short.outcome == "completed"
            assert short.valid_rmse == min(curve_of(long)[: short.epochs])
    assert sum(trial.epochs for trial in stopped.trials["loop"]) < sum(trial.epochs for trial in whole.trials["loop"])
    (final,) = stopped.finals
    best = min(stopped.trials["loop"], key=lambda trial: trial.valid_rmse or math.inf)
    assert (final.best_trial, final.epochs) == (best.number, best.best_epoch)


@pytest.mark.usefixtures("served")
def test_the_patience_of_the_model_is_that_of_its_trials_and_they_stop_alike_side_by_side(small: dict[str, Any]) -> None:
    small["model"] |= {"epochs": 30, "patience": 2}
    small["sweep"] |= {"backends": ["jax"], "batch": 6}
    alone = swept(small, "sweep.side_by_side=false")
    trials = alone.trials["jax"]
    assert all(trial.epochs == stop_of(curve_of(trial), 2) for trial in trials if trial.outcome == "completed")
    assert len({trial.epochs for trial in trials}) > 1
    shutil.rmtree("runs")
    assert bits(swept(small, "sweep.side_by_side=true")) == bits(alone)


@pytest.mark.usefixtures("workplace")
def test_nothing_stops_a_race(small: dict[str, Any]) -> None:
    small["model"] |= {"epochs": 30, "patience": 1, **FAST}
    small["race"] = {"backends": ["loop"], "rounds": 1, "threads": [1]}
    (lap,) = run_race(load_spec(small), None, Watcher())
    assert lap.epochs == 30


# --- the first trial -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_the_first_trial_has_the_values_of_the_spec_where_they_lie_in_the_space(small: dict[str, Any], sampler: str) -> None:
    small["model"] |= {"K": 5, "alpha": 0.03, "beta": 0.9}
    trials = swept(small, f"sweep.sampler={sampler}").trials["loop"]
    assert (trials[0].K, trials[0].alpha) == (5, 0.03)
    assert trials[0].beta != 0.9  # outside its range, so the sampler chose
    assert all((trial.K, trial.alpha) != (5, 0.03) for trial in trials[1:])


@pytest.mark.usefixtures("served")
def test_the_first_trial_has_the_backends_own_default_of_a_knob_and_the_scale_of_the_start(small: dict[str, Any]) -> None:
    small["model"] |= {"init": {"uniform": [-0.1, 0.3]}, "options": {"jax": {"batch_size": 77}}}
    small["sweep"] = {
        "trials": 2, "backends": ["jax"], "batch": 2,
        "space": {
            "batch_size": {"int": [16, 128]}, "init": {"float": [0.2, 0.4]}, "bias": {"choice": [False, True]},
            "dtype": {"choice": ["float32", "float64"]},
        },
    }  # fmt: skip
    first = swept(small).trials["jax"][0].hyper
    assert {name: first[name] for name in small["sweep"]["space"]} == {
        "batch_size": 77, "init": 0.3, "bias": True, "dtype": "float32",
    }  # fmt: skip


@pytest.mark.usefixtures("served")
def test_a_value_that_the_range_cannot_have_is_not_tried_first(small: dict[str, Any]) -> None:
    small["model"] |= {"step": "decay", "decay": 0.1}
    small["sweep"]["space"]["decay"] = {"int": [0, 2]}
    assert all(trial.hyper["decay"] in (0, 1, 2) for trial in swept(small).trials["loop"])


@pytest.mark.usefixtures("served")
def test_the_sampler_may_have_the_first_trial_too(small: dict[str, Any]) -> None:
    small["model"] |= {"K": 5, "alpha": 0.03, "beta": 0.1}
    first, second = (swept(small, f"sweep.first_trial={who}").trials["loop"] for who in ("model", "sampler"))
    assert first[0].hyper == {"K": 5, "alpha": 0.03, "beta": 0.1} != second[0].hyper


# --- the end of a search ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("served")
def test_a_search_ends_once_it_has_found_nothing_better_for_long(
    small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    small["model"] |= {"epochs": 2}
    small["sweep"] |= {"trials": 40, "batch": 4}
    whole = swept(small).trials["loop"]
    values = [trial.valid_rmse or math.inf for trial in whole]
    ends = next(n for n in range(4, 41, 4) if n - 1 - values.index(min(values[:n])) >= 6)
    assert ends < 40
    shutil.rmtree("runs")
    stopped = swept(small, "sweep.stop=6", watcher=(listener := Listener()))
    assert [trial.result for trial in stopped.trials["loop"]] == [trial.result for trial in whole[:ends]]
    (said,) = [sentence for sentence in listener.said if "sweep.stop" in sentence]
    assert said.startswith(f"loop: none of the last {ends - 1 - values.index(min(values[:ends]))} trials was better, so")

    with monkeypatch.context() as patch:
        patch.delattr(Workers, "start")  # answered from its records, it needs no worker
        assert bits(swept(small, "sweep.stop=6")) == bits(stopped)
    RunName(study=stopped.study, backend="loop", stage="trial", number=2).path.unlink()
    assert bits(swept(small, "sweep.stop=6", "sweep.trials=99")) == bits(stopped)  # as of one that was killed and raised
    further = swept(small)  # without the rule it goes on: the same study
    assert further.study == stopped.study
    assert [trial.result for trial in further.trials["loop"]] == [trial.result for trial in whole]

    assert further.audit is not None
    (search,) = further.audit.searched
    assert search.summary()["stop"]["rule"] == 20  # that of the audit, as the sweep has none
    assert stopped.audit is not None
    (search,) = stopped.audit.searched
    assert search.fewer_trials() == f"`sweep.stop: 6` ended the search after these {ends} trials"
    assert not any("raise --trials" in sentence for sentence in search.warnings())


@pytest.mark.usefixtures("served")
def test_the_audit_says_what_stopping_would_have_saved(small: dict[str, Any]) -> None:
    small["model"] |= {"epochs": 1}
    result = swept(small, "sweep.trials=99", "sweep.batch=10", "sweep.sampler=random")
    assert result.audit is not None
    (search,) = result.audit.searched
    values = [trial.valid_rmse or math.inf for trial in result.trials["loop"]]
    ends = next(n for n in range(10, 99, 10) if n - 1 - values.index(min(values[:n])) >= 20)
    assert search.summary()["stop"] == {"rule": 20, "trials": ends, "epochs": ends, "valid_rmse": min(values[:ends])}
    found = f"`sweep.stop: 20` ends the search after {ends} trials, with valid RMSE {min(values[:ends]):.4f}"
    assert f"- loop: {found}" in result.audit.markdown()


# --- what the test part can tell -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("served")
def test_a_sweep_says_first_which_differences_its_test_part_is_too_small_for(small: dict[str, Any]) -> None:
    small["sweep"]["backends"] = ["loop", "mean"]
    result = swept(small, watcher=(listener := Listener()))
    parts = parts_of(load_spec(small))
    expected = 1.96 * 0.2 * parts.train.values.std(dtype="float64") / math.sqrt(parts.n["test"])
    said = f"differences in test RMSE below about {expected:.2g} are too small for this test part to resolve"
    assert listener.heard[0].startswith("planted-60x80x2000-s1: 2,000 ratings by 60 users of 80 items")
    assert listener.heard[1].endswith(said)
    assert all(final.data.resolution == pytest.approx(expected) for final in result.finals)
    assert f"below about {expected:.2g} are too small" in str(note(mfbench.sweep(small).leaderboard()))


def test_two_tuned_models_differ_by_about_what_is_said(workplace: Any) -> None:  # noqa: ARG001
    spec = {
        "name": "apart", "data": {"dataset": "planted-10k"}, "split": {"kind": "random", "valid": 0.1, "test": 0.1},
        "model": {"epochs": 20, "K": 8, "alpha": 0.01, "beta": 0.15, "center": True, "bias": True},
        "sweep": {"backends": ["numba", "als"], "trials": 8},
    }  # fmt: skip
    first, second = mfbench.sweep(spec).leaderboard()
    found, said = second.against_best, first.record.data.resolution
    assert found is not None
    assert said is not None
    assert said / 2 < (found.difference_high - found.difference_low) / 2 < said * 2


def test_a_rule_without_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Sweep(stop=0)
