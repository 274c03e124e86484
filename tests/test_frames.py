"""A DataFrame is data like any other: kept as a file of its own digest, so that its runs can be made again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from refusals import refused

import mfbench
from mfbench.core.errors import DataError, InputError, SpecError
from mfbench.data.files.frames import keep


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    cells = rng.choice(60 * 40, 800, replace=False)
    return pd.DataFrame(
        {
            "user": cells // 40,
            "item": [f"film, {c}" for c in cells % 40],
            "rating": rng.integers(1, 11, 800) / 2,
            "timestamp": pd.to_datetime(rng.integers(874724710, 893286638, 800), unit="s"),
        }
    )


@pytest.fixture
def spec() -> dict[str, Any]:
    split = {"kind": "temporal", "valid": 0.2}
    return {"name": "framed", "split": split, "model": {"backend": "loop", "K": 3, "alpha": 0.01, "epochs": 2}}


@pytest.mark.usefixtures("stored")
def test_a_run_on_a_frame_is_one_on_the_same_ratings_in_a_file(
    frame: pd.DataFrame, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MFBENCH_DATA", "data")
    result = mfbench.run({**spec, "data": frame})
    (kept,) = Path("data/frames").iterdir()
    assert result.record.spec.data.file == str(kept)
    again = mfbench.run({**spec, "data": {"file": frame.rename(columns={"rating": "stars"}), "rating": "stars"}})
    assert again.record.run_key == result.record.run_key == mfbench.run(spec, data=frame).record.run_key
    frame.assign(timestamp=frame.timestamp.astype("datetime64[s]").astype("int64")).to_csv("same.csv", index=False)
    of_file = mfbench.run({**spec, "data": {"file": "same.csv", "timestamp": "timestamp"}})
    assert of_file.record.data.data_digest == result.record.data.data_digest
    assert of_file.record.factors_digest == result.record.factors_digest

    key = result.record.run_key
    assert mfbench.reproduce(key).verdict == "to the bit"
    shutil.rmtree("data/frames")
    with refused(InputError, "DataFrame", key, "does not exist", "--data FILE", "data="):
        mfbench.reproduce(key)
    assert mfbench.reproduce(key, data=frame).verdict == "to the bit"
    assert "not the ratings of the run" in str(mfbench.reproduce(key, data=frame[1:]).cause)


@pytest.mark.usefixtures("stored")
def test_a_sweep_of_a_spec_file_on_a_frame(frame: pd.DataFrame, small: dict[str, Any]) -> None:
    result = mfbench.sweep({**small, "data": {"dataset": "planted-10k"}}, trials=1, data=frame)
    assert result.leaderboard()[0].record.data.n_items == 40


def test_the_file_depends_on_the_ratings_alone(frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFBENCH_DATA", str(tmp_path))
    first = keep(frame)
    assert keep(frame.assign(note="x").set_index(frame.index + 7)) == first
    assert keep(frame[["timestamp", "rating", "item", "user"]].astype({"user": "int16"})) == first
    assert keep(frame[::-1]) != first
    assert keep(frame.assign(rating=frame.rating + 1)) != first
    assert len(list((tmp_path / "frames").iterdir())) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rating": np.nan}, ["row 0 of the DataFrame", "rating is missing"]),
        ({"rating": "good"}, ["row 0 of the DataFrame", "'good'"]),
        ({"user": None}, ["row 0 of the DataFrame", "user is missing"]),
        ({"item": [1] + ["a"] * 799}, ["column item", "several types"]),
        ({"item": [2**70, *range(799)]}, ["column item"]),
    ],
)
@pytest.mark.usefixtures("workplace")
def test_what_is_wrong_in_a_frame(frame: pd.DataFrame, spec: dict[str, Any], change: dict[str, Any], words: list[str]) -> None:
    with refused(DataError, *words):
        mfbench.run(spec, data=frame.assign(**change))


@pytest.mark.usefixtures("workplace")
def test_a_frame_without_the_columns_or_with_keys_of_a_text(frame: pd.DataFrame, spec: dict[str, Any]) -> None:
    with refused(DataError, "no column user", "who, item, rating", '"file": frame'):
        mfbench.run(spec, data=frame.rename(columns={"user": "who"}))
    with refused(DataError, "2 columns user"):
        mfbench.run(spec, data=frame.rename(columns={"item": "user"}))
    with refused(SpecError, "data.wide"):
        mfbench.run({**spec, "data": {"file": frame, "wide": {}}})
    with refused(SpecError, "a value of type object is not YAML"):
        mfbench.run({**spec, "data": object()})
