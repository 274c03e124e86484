import os
import subprocess
import sys
from pathlib import Path

import pytest
from record_factory import record, sweep_records

from mfbench.pictures import learning_curves, save, sweep_picture

PNG = b"\x89PNG\r\n\x1a\n"


def lines(axes) -> dict[str, object]:
    return {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}


def test_one_record_shows_train_and_valid_and_the_best_epoch():
    made = record(2)
    (axes,) = learning_curves([made]).axes
    drawn = lines(axes)
    assert list(drawn["train"].get_ydata()) == made.scores.train_rmse
    assert list(drawn["valid"].get_ydata()) == made.scores.valid_rmse
    assert list(drawn["valid"].get_xdata()) == made.scores.epoch
    assert any(label.startswith(f"best epoch {made.best_epoch}") for label in drawn)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "RMSE")


def test_many_records_show_every_trial_and_name_the_best_of_each_backend():
    records = sweep_records()
    (axes,) = learning_curves(records).axes
    trials = [r for r in records if r.stage == "trial"]
    assert len(axes.lines) == len(trials) + 2 + 1  # a halo under the best of each backend, and the floor
    best = min((r for r in trials if r.backend == "jax" and r.outcome == "completed"), key=lambda r: r.valid_rmse)
    assert any(label.startswith(f"jax #{best.number}, the best") for label in lines(axes))
    assert axes.get_ylabel() == "valid RMSE"


def test_a_sweep_has_a_panel_for_each_hyperparameter_and_a_mark_for_each_trial():
    records = sweep_records()
    figure = sweep_picture(records)
    assert [axes.get_xlabel() for axes in figure.axes] == ["K", "alpha", "beta"]
    assert figure.axes[1].get_xscale() == figure.axes[2].get_xscale() == "log"
    n_trials = sum(r.stage == "trial" for r in records)
    assert {len(axes.lines) for axes in figure.axes} == {n_trials + 2}  # a ring around the best of each backend
    words = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"jax", "adam", "pruned", "diverged or failed"} <= words


@pytest.mark.parametrize(
    "records",
    [
        [record(0, outcome="failed")],
        [record(0, outcome="diverged"), record(1, outcome="failed")],
        [record(0, stage="final")],
        [record(0, stage="floor", backend="mean")],
        [record(0, epochs=1)],
        [],
    ],
    ids=["failed", "none completed", "final", "floor", "one epoch", "none"],
)
def test_whatever_the_records_hold_can_be_drawn(records):
    assert save(learning_curves(records)).startswith(PNG)
    assert save(sweep_picture(records)).startswith(PNG)


def test_the_same_records_give_the_same_bytes_in_another_process():
    script = (
        "import sys, hashlib\n"
        "from record_factory import sweep_records\n"
        "from mfbench.pictures import learning_curves, save, sweep_picture\n"
        "r = sweep_records()\n"
        "for figure in (learning_curves(r), learning_curves(r[:1]), sweep_picture(r)):\n"
        "    print(hashlib.sha256(save(figure)).hexdigest())\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={**environment, "PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().split()[-1] == "False"
    assert b"Software" not in save(learning_curves([record(0)]))
