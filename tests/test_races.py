"""A race: each entry on its own cores and in its own process, figures of training alone, a table in results/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from user_files import read_csv

import mfbench
from mfbench.core.errors import InputError, SpecError
from mfbench.core.machine import core_list
from mfbench.runs.record_files import study_records
from mfbench.spec import load_spec, run_study_key


@pytest.mark.long
@pytest.mark.usefixtures("workplace")
def test_a_race_writes_what_each_entry_did(small: dict[str, Any]) -> None:
    small["model"] |= {"epochs": 6, "alpha": 0.02, "K": 4}
    small["race"] = {"backends": ["loop", "numba"], "K": [2, 4], "threads": [1, "all"], "rounds": 2}
    laps = mfbench.race(small, "valid_rmse=5")
    threads = sorted({1, len(core_list())})
    assert [(lap.backend, lap.K, lap.threads) for lap in laps] == [
        (backend, K, n) for K in (2, 4) for backend in ("loop", "numba") for n in threads
    ]
    for lap in laps:
        assert lap.rounds == 2
        assert lap.updates_per_second_min <= lap.updates_per_second <= lap.updates_per_second_max
        assert lap.target_epochs == 1  # any model is under 5
        assert lap.target_seconds is not None
    rows = read_csv("results/small/race.csv")
    assert [float(row["updates_per_second"]) for row in rows] == [lap.updates_per_second for lap in laps]
    assert Path("results/small/race.png").stat().st_size > 1000
    runs = list(study_records(f".races/{run_study_key(load_spec(small))}"))
    assert len(runs) == 2 * len(laps)
    assert {run.environment.threads for run in runs} == set(threads)


@pytest.mark.usefixtures("workplace")
def test_a_target_that_is_not_reached_has_no_time(small: dict[str, Any]) -> None:
    small["race"] = {"backends": ["numba"], "threads": [1], "rounds": 1}
    (lap,) = mfbench.race(small, "valid_rmse=0.01")
    assert lap.target_seconds is None
    assert lap.best_valid_rmse is not None


@pytest.mark.usefixtures("workplace")
def test_a_wrong_target_or_no_race_is_said_before_any_work(small: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="has no race section"):
        mfbench.race(small)
    small["race"] = {"backends": ["numba"]}
    with pytest.raises(InputError, match="write it as METRIC=VALUE"):
        mfbench.race(small, "speed=3")
    with pytest.raises(SpecError, match="unknown backend 'nmuba'"):
        mfbench.race(small, changes=["race.backends=[nmuba]"])
    assert not Path("results").exists()
