"""What the final runs say of themselves in MLflow."""

from __future__ import annotations

from record_factory import STUDY, record, sweep_records, swept

from mfbench.report.description import descriptions
from mfbench.runs.records import Record

ORACLE = {"test_rmse": 0.5, "test_mae": 0.4}


def sweep(jax: float = 0.9, adam: float = 0.95, mean: float = 1.1) -> list[Record]:
    """A sweep whose finals and floor have these valid RMSEs."""
    records = sweep_records()
    for made in records:
        if made.stage != "trial":
            made.valid_rmse = {"jax": jax, "adam": adam, "mean": mean}[made.backend]
    return records


def test_the_sweep_says_what_won_by_how_much_and_how_to_run_it_again() -> None:
    text = descriptions(swept(sweep(), ORACLE))[STUDY]
    assert text.startswith(
        "**jax is first of 3** on the valid part: RMSE 0.9000, 0.0500 better than adam, 0.2000 better than the floor, mean."
    )
    assert "RMSE 0.9500, MAE 0.7500. The best possible there: RMSE 0.5000, MAE 0.4000." in text
    assert f"`mfbench reproduce {STUDY}/jax/0/final`" in text
    assert "| backend | K |" in text
    look, sentences = text.split("**Warnings**\n\n- ")[0], text.split("**Warnings**\n\n- ")[1]
    assert look.endswith("\n\n")
    assert sentences.startswith("adam: ")


def test_each_final_says_its_own_place_and_where_it_came_from() -> None:
    told = descriptions(swept(sweep(mean=0.93)))
    adam = told[f"{STUDY}/adam/0/final"]
    assert adam.startswith("**adam is number 3 of 3** on the valid part: RMSE 0.9500, 0.0500 worse than jax")
    assert "0.0200 worse than the floor, mean." in adam
    assert "Hyperparameters of trial #2 of 4: K " in adam
    assert "The best possible" not in adam
    floor = told[f"{STUDY}/mean/0/floor"]
    assert floor.startswith("**mean is number 2 of 3**")
    assert "Hyperparameters of trial" not in floor
    assert told.keys() == {STUDY, f"{STUDY}/jax/0/final", f"{STUDY}/adam/0/final", f"{STUDY}/mean/0/floor"}


def test_a_final_that_diverged_and_one_that_was_overtaken_say_so() -> None:
    overtaken = record(0, stage="final", backend="jax").model_copy(update={"valid_rmse": 0.99})
    later = record(7, stage="final", backend="jax").model_copy(update={"valid_rmse": 0.91})
    broken = record(0, stage="final", backend="adam", outcome="diverged")
    told = descriptions(swept([overtaken, later, broken]))
    assert told[overtaken.run_key].startswith("**A longer search of jax found a better trial**")
    assert told[later.run_key].startswith("**jax is first of 1**")
    assert told[broken.run_key].startswith("**adam has no usable model**: the run diverged (it diverged).")
    assert STUDY not in descriptions(swept([broken]))
