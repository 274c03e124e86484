"""The Pareto front of a sweep with two objectives: which trials are on it, and where it is shown."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from exported import runs_of
from hypothesis import given
from hypothesis import strategies as st
from processes import SWEEP, last_line
from record_factory import record, swept, write
from user_files import read_csv, write_spec

from mfbench.commands.compare import compared
from mfbench.runs.records import Record
from mfbench.search.pareto import as_csv, front
from mfbench.spec import load_spec
from mfbench.tracking.contents import parent_files


def trial(number: int, K: int, valid_rmse: float | None, second: str = "K", **more: Any) -> Record:
    made = record(number, **more)
    spec = load_spec(made.spec, [f"sweep.objectives=[valid_rmse, {second}]", "sweep.pruner=none"])
    return made.changed({"spec": spec, "hyper": {**made.hyper, "K": K}, "valid_rmse": valid_rmse})


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from([0.8, 0.9, 1.0, 1.1])), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, float]]) -> None:
    found = front([trial(number, K, rmse) for number, (K, rmse) in enumerate(points)])
    unbeaten = [
        number
        for number, (K, rmse) in enumerate(points)
        if not any(k <= K and r <= rmse and (k, r) != (K, rmse) for k, r in points)
    ]
    assert found is not None
    assert sorted(row["number"] for row in found) == unbeaten
    assert [row["valid_rmse"] for row in found] == sorted(row["valid_rmse"] for row in found)


def test_one_objective_has_no_front_and_what_did_not_complete_is_on_none() -> None:
    assert front([record(0)]) is None
    trials = [trial(0, 8, 0.9), trial(1, 2, 0.5, outcome="diverged"), trial(2, 4, 0.95, backend="adam")]
    assert [(row["backend"], row["number"]) for row in front(trials) or ()] == [("jax", 0), ("adam", 2)]


def test_the_front_has_the_objectives_by_name() -> None:
    (row,) = front([trial(0, 8, 0.9, "train_seconds")])
    assert list(row) == ["backend", "number", "K", "alpha", "beta", "valid_rmse", "train_seconds"]
    (read,) = csv.DictReader(io.StringIO(as_csv([row])))
    assert {name: str(value) for name, value in row.items()} == read


@pytest.mark.usefixtures("workplace")
def test_the_front_goes_to_results_and_to_the_parent_run() -> None:
    trials = [trial(0, 8, 0.9), trial(1, 16, 0.95), trial(2, 4, 0.95)]
    final = record(0, stage="final").model_copy(update={"spec": trials[0].spec})
    write([*trials, final])
    compared(["little"]).write_results()
    written_there = Path("results/little/pareto.csv")
    assert [line["K"] for line in read_csv(written_there)] == ["8", "4"]
    assert parent_files(swept([*trials, final]))["pareto.csv"] == written_there.read_bytes()
    assert "pareto.csv" not in parent_files(swept([record(0), record(0, stage="final")]))


def parent_status() -> str:
    """The status that MLflow shows of the sweep's parent run."""
    (parent,) = runs_of("small", "sweep")
    return str(parent.info.status)


@pytest.mark.usefixtures("stored")
def test_what_a_user_sees_of_two_objectives_and_of_a_timeout(command: Any, small: dict[str, Any]) -> None:
    small["sweep"] |= {"objectives": ["valid_rmse", "train_seconds"], "trials": 4}
    write_spec(small)
    status, out, err = command(*SWEEP, "--timeout", "0.001s")
    assert status == 0
    summary = last_line(out)
    assert (summary["finals"], summary["finished"]) == ([], {"loop": 3})
    assert err.count("train_seconds varies from run to run") == 1
    assert (
        "mfbench: time limit reached before the final runs; 3 of 4 trials of loop are finished;"
        " rerun the command to resume" in err
    )
    assert parent_status() == "KILLED"
    status, out, _ = command("sweep", "spec.yaml")
    assert status == 0
    assert parent_status() == "FINISHED"
    assert out.index("Pareto front") > out.index("loop")
    _, _, err = command("sweep", "spec.yaml", "--timeout", "soon")
    assert err == "mfbench: --timeout soon: not a time; write a number with s, m or h, e.g. 90s, 10m or 1h\n"
