"""Any number of the model and any knob of a backend can be searched, and is carried from the spec to every table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_factory import rewritten
from refusals import refused
from sweeping import bits, swept
from trainings import made

import mfbench
from mfbench.commands.compare import compared
from mfbench.core.errors import InputError, SpecError
from mfbench.report.leaderboard import cells
from mfbench.report.search_pictures import sweep_picture, varied
from mfbench.runs.record_files import read_record
from mfbench.search.sweep import Plan
from mfbench.spec import load_spec, study_key
from mfbench.tracking.store import make_store

SPACE = {
    "K": {"int": [2, 6]},
    "alpha": {"float": [0.002, 0.05], "log": True},
    "init": {"float": [0.05, 0.5], "log": True},
    "bias": {"choice": [True, False]},
}
DTYPE = {"choice": ["float32", "float64"]}
OWN = {
    "numba": {"blocks": {"int": [1, 16], "log": True}, "dtype": DTYPE},
    "jax": {"batch_size": {"int": [16, 256], "log": True}, "dtype": DTYPE},
}
NAMES = ["K", "alpha", "beta", "bias", "blocks", "dtype", "init"]


@pytest.fixture
def wide(small: dict[str, Any]) -> dict[str, Any]:
    """A sweep over seven hyperparameters, two of them knobs of the backend's own, and of the floor."""
    small["sweep"] |= {"backends": ["numba", "mean"], "space": SPACE, "spaces": {"numba": OWN["numba"]}}
    return small


@pytest.fixture
def wide_jax(wide: dict[str, Any]) -> dict[str, Any]:
    """The same, of a backend that trains side by side."""
    wide["sweep"] |= {"backends": ["jax", "mean"], "spaces": {"jax": OWN["jax"]}}
    return wide


def hypers(result: Any) -> list[dict[str, Any]]:
    return [trial.hyper for trial in result.swept.trials["numba"]]


@pytest.mark.usefixtures("served")
def test_it_is_searched_recorded_told_and_reproduced(wide: dict[str, Any]) -> None:
    result = mfbench.sweep(wide)
    found = hypers(result)
    assert [sorted(hyper) for hyper in found] == [NAMES] * 6
    assert all(list(hyper)[:3] == ["K", "alpha", "beta"] for hyper in found)
    assert {hyper["beta"] for hyper in found} == {0.05}  # the model's, as it has no range
    for name in ("K", "alpha", "blocks", "init"):
        assert len({hyper[name] for hyper in found}) > 1
    for trial in result.swept.trials["numba"]:
        assert (trial.options["blocks"], trial.options["dtype"]) == (trial.hyper["blocks"], trial.hyper["dtype"])
        assert read_record(trial.path).hyper == trial.hyper

    final = next(one for one in result.summary()["finals"] if one["backend"] == "numba")
    chosen = next(one for one in result.swept.finals if one.backend == "numba").hyper
    assert {name: final[name] for name in NAMES} == {name: chosen[name] for name in NAMES}
    header, body = cells(result.leaderboard(), None)
    assert header[:8] == ["backend", "K", "alpha", "beta", "bias", "blocks", "dtype", "init"]
    assert ["mean", "–", "–", "–"] in [row[:4] for row in body]

    again = mfbench.reproduce(final["run_key"])
    assert again.verdict == "to the bit"
    run = make_store().get_run(final["run_id"])
    assert {name: run.data.params[name] for name in NAMES} == {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in chosen.items()
    }


@pytest.mark.usefixtures("served")
def test_the_pictures_the_audit_and_the_results_show_what_was_searched(wide: dict[str, Any]) -> None:
    wide["sweep"] |= {"trials": 24, "batch": 12, "pruner": "none"}
    result = mfbench.sweep(wide)
    trials = result.swept.trials["numba"]
    assert varied(trials) == NAMES
    figure = sweep_picture(trials)
    assert [axes.get_xlabel() for axes in figure.axes] == varied(trials)
    words = figure.axes[5]
    assert [label.get_text() for label in words.get_xticklabels()] == ["float32", "float64"]
    assert result.swept.audit is not None
    assert result.swept.importances["numba"].keys() == {*SPACE, *OWN["numba"]}
    (searched,) = result.swept.audit.searched
    assert {edge.name for edge in searched.edges} <= {"K", "alpha", "blocks", "init"}
    compared(["small"]).write_results()
    header = Path("results/small/leaderboard.csv").read_text().splitlines()[0]
    assert header.startswith("backend,K,alpha,beta,bias,blocks,dtype,init,epochs,")


@pytest.mark.usefixtures("served")
def test_trials_of_several_programs_side_by_side_are_what_each_is_alone(wide_jax: dict[str, Any]) -> None:
    wide_jax["sweep"]["spaces"]["jax"] = {"batch_size": {"choice": [16, 128]}, "dtype": DTYPE}  # so few programs will do
    wide_jax["sweep"]["space"] = {**SPACE, "K": {"int": [2, 4]}}
    alone = swept(wide_jax)
    assert len({(trial.hyper["batch_size"], trial.hyper["dtype"]) for trial in alone.trials["jax"]}) > 1
    shutil.rmtree("runs")
    assert bits(swept(wide_jax, "sweep.side_by_side=true", workers=2)) == bits(alone)


@pytest.mark.usefixtures("served")
def test_a_record_whose_hyperparameters_its_spec_rules_out_is_found_out(wide: dict[str, Any]) -> None:
    trial = made(wide, "numba", "trial", bias=True, init=0.1, blocks=2, dtype="float32")

    def told(**changes: Any) -> Any:
        rewritten(trial.path, hyper=trial.hyper | changes, options=trial.options | changes)
        return mfbench.reproduce(trial.run_key)

    with refused(InputError, "dtype"):
        told(blocks=99, dtype="float16")
    again = told(blocks=99)
    assert {one.what for one in again.found if one.weight == "fault"} == {"record", "blocks"}
    assert not again.reproduced


@pytest.mark.usefixtures("workplace")
def test_the_scale_of_the_start_is_that_of_the_spec_s_kind() -> None:
    model = load_spec({"name": "a", "data": {"dataset": "planted-10k"}, "split": {"kind": "none"}}).model
    assert model.with_hyper("jax", {"init": 0.3}).init.normal == 0.3
    uniform = model.model_copy(update={"init": type(model.init)(uniform=(-1.0, 2.0))})
    scaled = uniform.with_hyper("jax", {"init": 0.5}).init.uniform
    assert scaled is not None
    np.testing.assert_allclose(scaled, (-0.25, 0.5))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "sweep.spaces.jax.order={choice: [rows, shuffled]}",
            "sweep.spaces.jax.order: jax has no such hyperparameter; jax has K",
        ),
        ("sweep.spaces.jax.batch_size={int: [0, 8]}", "sweep.spaces.jax.batch_size"),
        ("sweep.spaces.jax.dtype={choice: [float32, float16]}", "sweep.spaces.jax.dtype"),
        ("sweep.spaces.mean.alpha={float: [0.1, 0.2]}", "sweep.spaces.mean.alpha: mean has no such hyperparameter; mean has"),
        (
            "sweep.space.bach_size={int: [1, 8]}",
            "sweep.space.bach_size: no backend has such a hyperparameter; jax has K, alpha",
        ),
        ("sweep.spaces.jaxx.K={int: [1, 8]}", "sweep.spaces: unknown backend 'jaxx'; choose from loop, numba"),
        ("sweep.sampler=cmaes", "cmaes searches numeric ranges only, but bias of jax is a choice; use tpe, random or grid"),
        ("sweep.sampler=grid", "add one for K, alpha, batch_size, init"),
    ],
)
@pytest.mark.usefixtures("workplace")
def test_what_a_backend_cannot_be_given_is_one_sentence(wide_jax: dict[str, Any], change: str, says: str) -> None:
    with refused(SpecError, says):
        Plan.of(load_spec(wide_jax, [change]))


@pytest.mark.usefixtures("served")
def test_a_grid_has_every_value_of_a_choice_and_a_value_is_told_to_each_trial(wide: dict[str, Any]) -> None:
    wide["sweep"] |= {"trials": 99, "sampler": "grid", "grid": {"blocks": 2}, "backends": ["numba"]}
    wide["sweep"]["space"] = {"K": 3, "alpha": 0.01}
    found = hypers(mfbench.sweep(wide))
    assert sorted((hyper["blocks"], hyper["dtype"]) for hyper in found) == [
        (1, "float32"), (1, "float64"), (16, "float32"), (16, "float64"),
    ]  # fmt: skip
    assert {(hyper["K"], hyper["alpha"]) for hyper in found} == {(3, 0.01)}


@pytest.mark.usefixtures("served")
def test_one_backend_of_a_spec_has_the_study_and_so_the_trials_of_all(wide: dict[str, Any]) -> None:
    whole = load_spec(wide)
    alone = mfbench.sweep(wide, backends=["mean"])
    assert alone.swept.trials.keys() == {"mean"}
    assert alone.swept.study == study_key(whole)
    by_change = mfbench.sweep(wide, changes=["sweep.backends=[mean]"])
    assert by_change.summary() | {"audit": None} == alone.summary() | {"audit": None}
    made = alone.swept.trials["mean"][0]
    both = mfbench.sweep(wide)
    assert both.swept.trials["mean"][0].started == made.started
    with refused(SpecError, "--backend loop: the sweep of small lacks this backend; choose from numba, mean"):
        mfbench.sweep(wide, backends=["loop"])
