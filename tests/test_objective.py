"""The objective of a sweep: everything in a search goes by it, and its direction is right."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from sweeping import bits, swept
from test_own_metrics import MINE
from user_files import write_spec

import mfbench
from mfbench.core.errors import SpecError
from mfbench.runs.records import Record
from mfbench.search.pareto import front
from mfbench.spec import load_spec, study_key

OBJECTIVES = ["valid_mae", "valid_ndcg_10", "valid_first_hit", "valid_root_error"]


@pytest.fixture
def spec(stored: Path, small: dict[str, Any]) -> dict[str, Any]:
    """A spec of two backends with two own metrics."""
    (stored / "mine.py").write_text(MINE)
    small["model"] |= {"epochs": 6}
    small["sweep"] |= {"trials": 6, "backends": ["numba", "mean"]}
    return {**small, "evaluation": {"extra": ["mine.py:first_hit", "mine.py:root_error"]}}


def curve(trial: Record) -> list[float]:
    """The values of the objective by scored epoch, as they are minimized."""
    return [trial.objective.cost(value) for value in trial.scores.of(trial.objective.name)]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_best_epoch_best_trial_and_board_go_by_the_objective(spec: dict[str, Any], objective: str) -> None:
    result = mfbench.sweep(spec, changes=[f"sweep.objectives=[{objective}]"])
    summary = result.summary()
    assert summary["objective"] == objective
    higher = objective in ("valid_ndcg_10", "valid_first_hit")
    trials = result.swept.trials["numba"]
    for trial in trials:
        assert trial.objective.higher_is_better == higher
        costs = curve(trial)
        assert all(map(math.isfinite, costs))
        assert trial.best_epoch == trial.scores.epoch[costs.index(min(costs))]
        assert trial.cost == min(costs)
    best = min(trials, key=lambda one: (one.cost, one.number))
    (final,) = (one for one in result.swept.finals if one.backend == "numba")
    assert (final.best_trial, final.planned_epochs, final.judged) == (best.number, best.best_epoch, best.judged)
    assert (final.valid_rmse, final.valid_mae) == (best.valid_rmse, best.valid_mae)
    costs = [row.record.cost for row in result.leaderboard()]
    assert costs == sorted(costs)
    assert mfbench.compare("small")[0].summary()["ordered_by"] == objective
    searched = summary["audit"]["backends"][0]
    assert objective in searched["stop"]
    assert searched["last_quarter"]["after"] == best.judged
    assert searched["last_quarter"]["gain"] >= 0


def test_the_best_by_one_objective_is_not_the_best_by_another(spec: dict[str, Any]) -> None:
    by = {name: swept(spec, f"sweep.objectives=[{name}]", "sweep.sampler=random") for name in ("valid_rmse", "valid_ndcg_10")}
    first, second = (result.trials["numba"] for result in by.values())
    assert [one.hyper for one in first] == [one.hyper for one in second]
    best = [min(trials, key=lambda one: one.cost) for trials in (first, second)]
    assert (best[0].number, best[0].best_epoch) != (best[1].number, best[1].best_epoch)


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_a_search_by_a_ranking_is_the_same_resumed_and_with_any_number_of_workers(
    spec: dict[str, Any], sampler: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ["sweep.objectives=[valid_first_hit]", f"sweep.sampler={sampler}"]
    changes += ["sweep.grid={K: 2, alpha: 2, beta: 2}"] if sampler == "grid" else []
    whole = swept(spec, *changes)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine.py").write_text(MINE)
    monkeypatch.chdir(elsewhere)
    assert swept(spec, *changes, workers=2, timeout=0).stopped
    assert bits(swept(spec, *changes, workers=2)) == bits(whole)


def test_trial_and_final_are_reproduced(spec: dict[str, Any]) -> None:
    result = mfbench.sweep(spec, changes=["sweep.objectives=[valid_first_hit]"], trials=3)
    for run in (result.swept.trials["numba"][1], *result.swept.finals):
        again = mfbench.reproduce(run.run_key)
        assert again.verdict == "to the bit", again.sentence
    assert "valid_first_hit by epoch" in {line.what for line in mfbench.reproduce(f"{run.study}/numba/1/trial").lines}


def test_patience_goes_by_the_objective(spec: dict[str, Any]) -> None:
    changes = ["sweep.objectives=[valid_ndcg_10]", "model.patience=2", "model.epochs=40"]
    trials = swept(spec, *changes).trials["numba"]
    assert any(trial.epochs < 40 for trial in trials)
    for trial in trials:
        costs = curve(trial)
        stalled = [n for n in range(len(costs)) if n - costs.index(min(costs[: n + 1])) >= 2]
        assert trial.epochs == (stalled[0] + 1 if stalled else 40)


def test_pruners_compare_by_the_objective(spec: dict[str, Any]) -> None:
    changes = ["sweep.objectives=[valid_ndcg_10]", "sweep.pruner=median", "sweep.trials=16", "sweep.batch=8", "model.epochs=8"]
    trials = swept(spec, *changes).trials["numba"]
    pruned = [trial for trial in trials if trial.outcome == "pruned"]
    assert pruned
    # Stopped because its best so far was below the median of the first batch at that epoch, where higher is better.
    for trial in pruned:
        at = len(trial.scores.epoch)
        others = sorted(one.scores.objective[at - 1] or 0.0 for one in trials[:8] if len(one.scores.epoch) >= at)
        median = (others[(len(others) - 1) // 2] + others[len(others) // 2]) / 2
        assert max(value or 0.0 for value in trial.scores.objective) <= median


def test_repeats_are_judged_by_their_mean_curve(spec: dict[str, Any]) -> None:
    result = swept(spec, "sweep.objectives=[valid_ndcg_10]", "sweep.repeats=2", "sweep.trials=3")
    trial = result.trials["numba"][0]
    repeats = [one for one in result.records if one.stage == "trial" and one.backend == "numba" and one.number == 0]
    means = [sum(pair) / 2 for pair in zip(*(one.scores.objective for one in repeats), strict=True)]
    assert trial.scores.objective == pytest.approx(means)
    assert trial.judged == pytest.approx(max(means))
    assert trial.intervals["valid_ndcg_10"].n == 2
    final = next(one for one in result.finals if one.backend == "numba")
    assert final.judged == next(one for one in result.trials["numba"] if one.number == final.best_trial).judged


def test_two_objectives_of_which_the_first_is_a_ranking(spec: dict[str, Any]) -> None:
    result = swept(spec, "sweep.objectives=[valid_ndcg_10, K]")
    found = front(result.trials["numba"])
    assert found
    pairs = [(row["valid_ndcg_10"], row["K"]) for row in found]
    every = [(trial.judged, trial.K) for trial in result.trials["numba"]]
    assert pairs == sorted(pairs, reverse=True)
    assert all(not any(v > ndcg and k <= K for v, k in every) for ndcg, K in pairs)


def test_a_changed_metric_has_its_trials_made_again(spec: dict[str, Any]) -> None:
    changes = ["sweep.objectives=[valid_first_hit]", "sweep.trials=2"]
    before = swept(spec, *changes)
    Path("mine.py").write_text(MINE.replace("(1 / place)", "(2 / place)"))
    after = swept(spec, *changes)
    assert after.study == before.study
    for was, now in zip(before.trials["numba"], after.trials["numba"], strict=True):
        assert now.scores.objective == pytest.approx([2 * (value or 0.0) for value in was.scores.objective])


def test_what_the_objective_depends_on_is_part_of_the_study(spec: dict[str, Any]) -> None:
    def key(*changes: str) -> str:
        return study_key(load_spec(spec, changes))

    assert key("evaluation.relevant=3") == key() == key("evaluation.extra=[]")
    assert key("sweep.objectives=[valid_mae]") != key()
    assert key("sweep.objectives=[valid_mae]", "evaluation.relevant=3") == key("sweep.objectives=[valid_mae]")
    ranked = "sweep.objectives=[valid_ndcg_10]"
    assert key(ranked, "evaluation.relevant=3") != key(ranked) == key(ranked, "evaluation.k=[10]")
    own = "sweep.objectives=[valid_first_hit]"
    assert key(own, "evaluation.k=[10, 20]") != key(own)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("sweep.objectives=[valid_ndcg_7]", "valid_ndcg_7 needs lists of 7; add 7 to evaluation.k"),
        ("sweep.objectives=[valid_nonsense]", "valid_nonsense cannot be an objective; choose valid_ and one of rmse"),
        ("sweep.objectives=[valid_popularity_10]", "or your own: first_hit, root_error"),
        ("sweep.objectives=[test_rmse]", "['test_rmse'] is not supported"),
        ("sweep.objectives=[valid_mae, alpha]", "is not supported"),
    ],
)
def test_what_cannot_be_an_objective_is_refused(spec: dict[str, Any], change: str, says: str) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(spec, [change])
    assert says in str(error.value)


def test_an_objective_needs_a_direction_and_something_relevant(spec: dict[str, Any]) -> None:
    Path("mine.py").write_text(MINE.replace("first_hit.higher_is_better = True", ""))
    with pytest.raises(SpecError, match="does not say which direction is better"):
        swept(spec, "sweep.objectives=[valid_first_hit]")
    with pytest.raises(SpecError, match=r"no rating of train and valid is 9 or more.*objective is valid_ndcg_10"):
        swept(spec, "sweep.objectives=[valid_ndcg_10]", "evaluation.relevant=9")
    assert not Path("runs").exists()


def test_words_and_pictures_name_the_objective(spec: dict[str, Any], command: Any) -> None:
    spec["sweep"]["objectives"] = ["valid_ndcg_10"]
    status, out, _ = command("sweep", write_spec(spec))
    assert status == 0
    assert "ordered by valid_ndcg_10, highest first" in out
    page = mfbench.write_report("spec.yaml").read_text()
    assert "Ordered by valid_ndcg_10, highest first, never by a score on test" in page
    assert page.lower().count("ordered by") == 1
    assert "The best valid_ndcg_10 (reversed, better is lower) of each trial." in page
    frame = mfbench.sweep(spec).to_frame()
    assert frame["valid_ndcg_10"].between(0, 1).all()
