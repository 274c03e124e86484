"""The search: each sampler and pruner is a pure function of the finished batches; two objectives; what it needs."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused
from sweeping import Listener, bits, swept

from mfbench.core.errors import SpecError
from mfbench.runs.records import RunName
from mfbench.search.pruning import Prune, Pruning
from mfbench.search.sampling.finished import Finished
from mfbench.search.sampling.proposals import BEST, NEEDS, RECALLED, grid_points, propose, recalled
from mfbench.search.sweep import Plan
from mfbench.spec import Spec, load_spec

RANGES = {
    "K": {"int": [4, 64], "log": True},
    "alpha": {"float": [0.0005, 0.05], "log": True},
    "beta": {"float": [0.0, 0.5]},
}
GRID = {"K": 4, "alpha": 5, "beta": 3}
OPTIMUM = {"K": 16, "alpha": 0.005, "beta": 0.1}


def needs_gp() -> None:
    for package in NEEDS["gp"]:
        pytest.importorskip(package)


def spec_of(sampler: str, batch: int = 4, ranges: Any = RANGES, seed: int = 3, **more: Any) -> Spec:
    if sampler == "gp":
        needs_gp()
    sweep = {"sampler": sampler, "batch": batch, "space": ranges, **({"grid": GRID} if sampler == "grid" else {}), **more}
    return load_spec({
        "name": "searched", "data": {"dataset": "planted-10k"}, "split": {"kind": "random", "valid": 0.1},
        "model": {"seed": seed}, "sweep": sweep,
    })  # fmt: skip


def space_of(spec: Spec) -> Any:
    assert spec.sweep is not None
    return spec.sweep.space


def ended(params: dict[str, Any], outcome: str = "completed") -> Finished:
    """A trial whose error is its distance from the optimum."""
    far = sum(math.log((value + 0.01) / (OPTIMUM[name] + 0.01)) ** 2 for name, value in params.items())
    values = {epoch: 0.8 + far + 1 / epoch for epoch in (1, 2, 3)}
    return Finished(outcome=outcome, params=params, values=values, train_seconds=0.001 * params.get("K", 1))


def searched(spec: Spec, batches: int, outcomes: Any = ()) -> list[Finished]:
    """The trials of so many whole batches; `outcomes` by number, else completed."""
    assert spec.sweep is not None
    trials: list[Finished] = []
    for b in range(batches):
        for params in propose(spec, space_of(spec), b, spec.sweep.batch, trials[: b * spec.sweep.batch]):
            trials.append(ended(params, dict(outcomes).get(len(trials), "completed")))
    return trials


# --- samplers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "cmaes"])
@settings(max_examples=8, deadline=None)
@given(
    batch=st.integers(1, 5),
    batches=st.integers(0, 5),
    seed=st.integers(0, 99),
    bad=st.dictionaries(st.integers(0, 24), st.sampled_from(["diverged", "pruned", "failed"]), max_size=8),
    two=st.booleans(),
)
def test_a_proposal_depends_on_the_finished_batches_alone(
    sampler: str, batch: int, batches: int, seed: int, bad: dict[int, str], two: bool
) -> None:
    more = {}
    if two and sampler != "cmaes":
        more = {"objectives": ["valid_rmse", "K"]}
        bad = {number: outcome for number, outcome in bad.items() if outcome != "pruned"}
    spec = spec_of(sampler, batch, seed=seed, **more)
    trials = searched(spec, batches, bad)
    whole = propose(spec, space_of(spec), batches, batch, trials)
    read = [Finished.model_validate_json(trial.model_dump_json()) for trial in trials]
    for size in range(batch + 1):  # as of a search that was cut here and whose budget was raised
        assert propose(spec, space_of(spec), batches, size, read) == whole[:size]
    for params in whole:
        assert 4 <= params["K"] <= 64
        assert isinstance(params["K"], int)
        assert 0.0005 <= params["alpha"] <= 0.05
        assert 0 <= params["beta"] <= 0.5


def test_gp_depends_on_the_finished_batches_alone_too() -> None:
    spec = spec_of("gp", 6)
    trials = searched(spec, 2, {3: "diverged", 5: "pruned"})
    whole = propose(spec, space_of(spec), 2, 6, trials)
    assert propose(spec, space_of(spec), 2, 2, searched(spec, 2, {3: "diverged", 5: "pruned"})) == whole[:2]
    assert whole != propose(spec, space_of(spec), 2, 6, searched(spec, 2))


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "gp"])
@pytest.mark.parametrize("names", [("K", "alpha", "beta"), ("K",)])
def test_a_sampler_that_learns_comes_closer_than_chance(sampler: str, names: tuple[str, ...]) -> None:
    ranges = {name: RANGES[name] for name in names}
    learned, drawn = (searched(spec_of(kind, 8, ranges), 7) for kind in (sampler, "random"))
    assert sum(trial.value for trial in learned[32:]) < sum(trial.value for trial in drawn[32:])
    assert learned[:48] == searched(spec_of(sampler, 8, ranges), 6)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "gp"])
def test_a_sampler_that_learns_keeps_away_from_what_diverged(sampler: str) -> None:
    spec = spec_of(sampler, 8)
    trials: list[Finished] = []
    for b in range(8):
        for params in propose(spec, space_of(spec), b, 8, trials[: b * 8]):
            outcome = "diverged" if params["alpha"] > 0.005 else "completed"
            trials.append(Finished(outcome=outcome, params=params, values={1: 1.0 + params["beta"]}, train_seconds=1.0))
    early, late = ([trial.outcome for trial in part].count("diverged") for part in (trials[:16], trials[-16:]))
    assert late < early


def long_study(spec: Spec, trials: int) -> list[Finished]:
    """That many trials drawn at random."""
    drawn = propose(load_spec(spec, ["sweep.sampler=random"]), space_of(spec), 0, trials, [])
    return [ended(params) for params in drawn]


@pytest.mark.parametrize("objectives", [["valid_rmse"], ["valid_rmse", "K"]])
def test_of_a_long_study_tpe_is_given_the_best_and_the_latest(objectives: list[str]) -> None:
    spec = spec_of("tpe", 8, objectives=objectives)
    trials = long_study(spec, RECALLED + 44)
    given = recalled(trials, objectives)
    assert recalled(trials[:RECALLED], objectives) == trials[:RECALLED]
    assert given[-(RECALLED - BEST) :] == trials[-(RECALLED - BEST) :]
    assert given == [trial for trial in trials if trial in given]
    old = [trial for trial in trials[: len(trials) - (RECALLED - BEST)] if trial in given]
    best = min(trials, key=lambda trial: trial.value)
    assert best in given
    assert 0 < len(old) < BEST

    def proposed(changed: Sequence[Finished], recall_all: bool = False) -> list[dict[str, Any]]:
        return propose(spec, space_of(spec), len(trials) // 8, 8, changed, recall_all=recall_all)

    bad = ended(OPTIMUM).model_copy(update={"values": {1: 99.0}})
    forgotten = [trial if trial in given else bad for trial in trials]
    assert proposed(forgotten) == proposed(trials) == proposed(given)
    assert proposed([bad if trial in old else trial for trial in trials]) != proposed(trials)
    assert proposed(forgotten, recall_all=True) != proposed(trials, recall_all=True)  # as earlier versions asked


def test_the_best_of_a_long_study_are_ranked_as_tpe_does() -> None:
    pruned = [ended({"K": 16, "alpha": 0.005, "beta": 0.1}, "pruned").model_copy(update={"values": {1: 0.1}})] * 60
    diverged = [ended({"K": 4, "alpha": 0.05, "beta": 0.1}, "diverged")]
    completed = [ended({"K": 4, "alpha": 0.0005, "beta": 0.5})] * (BEST - 2)
    given = recalled([*pruned, *diverged, *completed, *pruned[:1] * RECALLED], ["valid_rmse"])
    assert given[: BEST + 1] == [pruned[0], *diverged, *completed, pruned[0]]


def test_a_generation_of_cmaes_is_whole_batches() -> None:
    spec = spec_of("cmaes", 3)  # 7 are needed for three ranges, so a generation is 9
    trials = searched(spec, 3)
    swapped = [trial.model_copy(update={"values": {1: 9.0 - k}}) for k, trial in enumerate(trials)]
    for batch, told in ((1, 3), (2, 6)):
        assert propose(spec, space_of(spec), batch, 3, trials[:told]) == propose(
            spec, space_of(spec), batch, 3, swapped[:told]
        )
    assert propose(spec, space_of(spec), 3, 3, trials) != propose(spec, space_of(spec), 3, 3, swapped)


def test_a_grid_has_every_point_once() -> None:
    spec = spec_of("grid", 7)
    trials = searched(spec, 9)
    assert len(trials) == len({tuple(trial.params.items()) for trial in trials}) == 4 * 5 * 3
    assert {trial.params["K"] for trial in trials} == {4, 10, 25, 64}
    assert sorted({round(float(trial.params["alpha"]), 6) for trial in trials}) == [0.0005, 0.001581, 0.005, 0.015811, 0.05]
    assert {trial.params["beta"] for trial in trials} == {0.0, 0.25, 0.5}
    assert spec.sweep is not None
    few = grid_points(spec.sweep, space_of(load_spec(spec, ["sweep.space={K: {int: [2, 4]}}"])), 0)
    assert sorted(point["K"] for point in few) == [2, 3, 4]


# --- what does not fit together --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("sweep.sampler=grid", "the sampler grid needs a number of values for each range, as in grid: {K: 4, alpha: 5,"),
        ("sweep.grid={K: 3}", "grid has no effect with the sampler tpe"),
        ("sweep.sampler=annealing", "sweep.sampler: input should be 'tpe', 'random', 'grid', 'gp' or 'cmaes'"),
        ("sweep.pruner=asha", "sweep.pruner: input should be 'patience', 'none', 'median' or 'hyperband'"),
        ("sweep.objectives=[K]", "['K'] is not supported; give [valid_rmse], [valid_rmse, train_seconds] or [valid_rmse, K]"),
        ("sweep={objectives: [valid_rmse, K], sampler: gp}", "the sampler gp supports only one objective"),
        ("sweep={objectives: [valid_rmse, K], pruner: median}", "the pruner median compares trials by valid_rmse alone"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(small: dict[str, Any], change: str, says: str) -> None:
    with refused(SpecError, says):
        load_spec(small, [change])


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is there")
@pytest.mark.usefixtures("workplace")
def test_a_package_that_is_missing_is_said_before_the_data_is_read(small: dict[str, Any]) -> None:
    spec = load_spec({**small, "data": {"dataset": "no-such-data"}}, ["sweep.sampler=gp"])
    with refused(SpecError, "sweep.sampler: gp needs torch", "which this environment lacks; run `pip install 'mfbench[gp]'`"):
        Plan.of(spec)


@pytest.mark.usefixtures("workplace")
def test_K_is_no_objective_where_it_is_not_searched(small: dict[str, Any]) -> None:
    del small["sweep"]["space"]["K"]
    with pytest.raises(SpecError, match="K is an objective, but the search space of loop has no range of K"):
        Plan.of(load_spec(small, ["sweep.objectives=[valid_rmse, K]"]))


# --- pruners ---------------------------------------------------------------------------------------------------------

EPOCHS = 12
CURVES = st.lists(st.lists(st.floats(0.5, 2.0), min_size=EPOCHS, max_size=EPOCHS), min_size=12, max_size=24)


def pruned_at(pruning: Pruning, number: int, curve: list[float]) -> int:
    """After which epoch the trial stops."""
    should_stop = pruning.watch(number)
    return next((e for e in range(1, EPOCHS) if should_stop(e, curve[e - 1])), EPOCHS)


def study(kind: str, batch: int, curves: list[list[float]]) -> list[Finished]:
    """The trials of a study with these learning curves, each judged by a worker of its own."""
    done: list[Finished] = []
    for first in range(0, len(curves), batch):
        before = Prune(study="s", kind=kind, epochs=EPOCHS, batch=batch, finished=done)
        for number in range(first, min(first + batch, len(curves))):
            last = pruned_at(Pruning(before), number, curves[number])
            values = dict(enumerate(curves[number][:last], 1))
            outcome = "completed" if last == EPOCHS else "pruned"
            done = [*done, Finished(outcome=outcome, params={}, values=values, train_seconds=0.0)]
    return done


@pytest.mark.parametrize("kind", ["median", "hyperband"])
@settings(max_examples=10, deadline=None)
@given(curves=CURVES, batch=st.integers(2, 6), order=st.randoms(use_true_random=False))
def test_a_trial_is_pruned_the_same_whatever_runs_beside_it(kind: str, curves: Any, batch: int, order: Any) -> None:
    done = study(kind, batch, curves)
    first = len(curves) // batch * batch - batch
    pruning = Pruning(Prune(study="s", kind=kind, epochs=EPOCHS, batch=batch, finished=done[:first]))
    lengths = [len(trial.values) for trial in done[first : first + batch]]
    beside = {number: pruning.watch(number) for number in range(first, first + batch)}
    steps = [number for number in range(first, first + batch) for _ in range(EPOCHS - 1)]
    order.shuffle(steps)
    at, stopped = dict.fromkeys(steps, 0), {}
    for number in steps:
        if number not in stopped:
            at[number] += 1
            if beside[number](at[number], curves[number][at[number] - 1]):
                stopped[number] = at[number]
    assert [stopped.get(number, EPOCHS) for number in beside] == lengths
    assert [pruned_at(pruning, number, curves[number]) for number in beside] == lengths  # as where they are made again


@pytest.mark.parametrize("kind", ["median", "hyperband"])
def test_a_pruner_stops_the_bad_and_never_in_the_first_quarter(kind: str) -> None:
    curves = [[1.0 + 0.1 * (k * 7 % 24) + 1 / e for e in range(1, EPOCHS + 1)] for k in range(24)]
    done = study(kind, 6, curves)
    lengths = [len(trial.values) for trial in done]
    assert lengths[:6] == [EPOCHS] * 6
    assert min(lengths) >= EPOCHS // 4
    kept, stopped = ([curves[k][-1] for k in range(6, 24) if (lengths[k] == EPOCHS) is whole] for whole in (True, False))
    assert stopped
    assert sum(kept) / len(kept) < sum(stopped) / len(stopped)


# --- whole sweeps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "more"),
    [
        ("tpe", {"pruner": "hyperband"}),
        ("random", {"pruner": "median"}),
        ("grid", {"grid": {"K": 3, "alpha": 3, "beta": 2}, "pruner": "hyperband"}),
        ("cmaes", {"pruner": "hyperband"}),
        ("gp", {"pruner": "hyperband"}),
        ("tpe", {"objectives": ["valid_rmse", "K"]}),
    ],
)
@pytest.mark.usefixtures("served")
def test_cut_anywhere_and_raised_a_sweep_ends_as_one_that_ran_through(
    sampler: str, more: dict[str, Any], small: dict[str, Any]
) -> None:
    if sampler == "gp":
        needs_gp()
    small["sweep"] |= {"sampler": sampler, "batch": 4, **more}
    small["model"] |= {"epochs": 4}
    small["data"] = {"planted": {"users": 40, "items": 40, "ratings": 600, "seed": 1}}
    whole = swept(small, "sweep.trials=14", workers=2)
    if "pruner" in more:
        assert any(trial.outcome == "pruned" for trial in whole.trials["loop"])

    shutil.rmtree("runs")
    assert swept(small, "sweep.trials=10").study == whole.study  # its last batch is a partial one
    for lost in ([], [1, 6, 9], range(4, 14)):
        for number in lost:
            RunName(study=whole.study, backend="loop", stage="trial", number=number).path.unlink()
        assert bits(swept(small, "sweep.trials=14")) == bits(whole)


@pytest.mark.usefixtures("served")
def test_a_timeout_stops_between_batches_and_any_timeout_gets_on(small: dict[str, Any]) -> None:
    small["sweep"]["backends"] = ["loop", "mean"]
    whole = swept(small)
    shutil.rmtree("runs")
    for finished in [(3, 0), (6, 0), (6, 1)]:
        result = swept(small, timeout=0.0)
        assert result.stopped
        assert (len(result.trials["loop"]), len(result.trials["mean"])) == finished
        assert (result.finals, result.failures) == ([], [])
        assert not Path("runs", result.study, "test-openings.jsonl").exists()
    assert bits(swept(small, timeout=0.0)) == bits(whole)


@pytest.mark.usefixtures("served")
def test_a_sweep_ends_with_its_grid(small: dict[str, Any]) -> None:
    small["sweep"] |= {"sampler": "grid", "grid": {"K": 2, "alpha": 2, "beta": 2}, "pruner": "none"}
    result = swept(small, watcher=(listener := Listener()))
    assert len(result.trials["loop"]) == 6
    assert "loop: the sweep tries 6 of the 8 grid points; use `--trials 8` to try all of them" in listener.said
    assert Plan.of(load_spec(small, ["sweep.trials=50"])).studies[0].budget == 8
