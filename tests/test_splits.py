"""Splits: every rating in exactly one part, the same whatever the order of the file, the test part behind one door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfbench.core.errors import SpecError
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.data.partition import positions_of_parts
from mfbench.data.sealed import open_test
from mfbench.data.splits import parts_of
from mfbench.matrix.ratings import Ratings
from mfbench.spec import FoldSplit, KFoldSplit, NoSplit, RandomSplit, TailSplit, load_spec


def dataset_of(n: int, seed: int = 0, folds: bool = False) -> Dataset:
    rng = np.random.default_rng(seed)
    cells = rng.choice(40 * 30, n, replace=False)
    mask = rng.random(n) < 0.2
    return make_dataset(
        "made", cells // 30, cells % 30, rng.integers(1, 6, n).astype(float), where=lambda k: f"row {k}",
        folds={"u1": mask, "u2": ~mask & (rng.random(n) < 0.3)} if folds else None,
    )  # fmt: skip


def cells(ratings: Ratings) -> set[tuple[int, int]]:
    return set(zip(ratings.users.tolist(), ratings.items.tolist(), strict=True))


@given(n=st.integers(30, 400), seed=st.integers(0, 9), valid=st.floats(0.05, 0.4), test=st.floats(0.05, 0.4))
def test_random_parts_are_disjoint_complete_and_of_the_size_asked_for(n: int, seed: int, valid: float, test: float) -> None:
    parts = positions_of_parts(dataset_of(n), RandomSplit(kind="random", valid=valid, test=test, seed=seed))
    together = np.concatenate(list(parts.values()))
    assert np.array_equal(np.sort(together), np.arange(n))
    assert len(parts["valid"]) == round(n * valid)
    assert len(parts["test"]) == round(n * test)


@given(n=st.integers(40, 400), seed=st.integers(0, 9), folds=st.integers(2, 7), test=st.sampled_from([0.0, 0.1, 0.3]))
def test_folds_are_disjoint_and_complete_beside_one_test_part(n: int, seed: int, folds: int, test: float) -> None:
    data, dealt = dataset_of(n), []
    kept = positions_of_parts(data, RandomSplit(kind="random", valid=0.1, test=test, seed=seed)).get("test", np.arange(0))
    for fold in range(folds):
        parts = positions_of_parts(data, KFoldSplit(kind="kfold", folds=folds, fold=fold, test=test, seed=seed))
        assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(n))
        assert np.array_equal(parts.get("test", np.arange(0)), kept)
        dealt.append(parts["valid"])
    assert np.array_equal(np.sort(np.concatenate([*dealt, kept])), np.arange(n))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_the_folds_that_a_data_set_ships_are_the_valid_parts() -> None:
    data = dataset_of(200, folds=True)
    split = KFoldSplit(kind="kfold", folds=("u1", "u2"))
    for fold, name in enumerate(("u1", "u2")):
        parts = positions_of_parts(data, split.model_copy(update={"fold": fold}))
        assert set(parts["valid"]) == set(np.flatnonzero(data.folds[name]))
        assert set(parts["train"]) == set(np.flatnonzero(~data.folds[name]))
    assert np.array_equal(positions_of_parts(data, split)["valid"], np.flatnonzero(data.folds["u1"])[_order(data, "u1")])


def _order(data: Dataset, fold: str) -> Any:
    """The order by user and item of the rows of a fold."""
    rows = data.ratings.take(np.flatnonzero(data.folds[fold]))
    return np.lexsort((rows.items, rows.users))


@pytest.mark.usefixtures("workplace")
def test_the_sealed_file_is_the_same_for_all_folds(small: dict[str, Any]) -> None:
    small["split"] = {"kind": "kfold", "folds": 3, "test": 0.15, "seed": 7}
    parts = [parts_of(load_spec(small).repeat(fold)) for fold in range(3)]
    assert len({one.split_digest for one in parts}) == 3
    assert len({(one.folder / "sealed" / "test.npz").read_bytes() for one in parts}) == 1
    assert [one.n["test"] for one in parts] == [300] * 3


def test_the_order_of_the_rows_has_no_part_in_a_random_split() -> None:
    data = dataset_of(300)
    turned = Dataset("made", data.ratings.take(np.arange(300)[::-1]), data.user_ids, data.item_ids)
    split = RandomSplit(kind="random", valid=0.2, test=0.1, seed=3)
    for part in ("train", "valid", "test"):
        a = data.ratings.take(positions_of_parts(data, split)[part])
        b = turned.ratings.take(positions_of_parts(turned, split)[part])
        assert np.array_equal(a.users, b.users)
        assert np.array_equal(a.values, b.values)
    assert data.digest == turned.digest


def test_another_seed_is_another_split() -> None:
    data = dataset_of(300)
    a, b = (positions_of_parts(data, RandomSplit(kind="random", valid=0.2, seed=seed))["valid"] for seed in (0, 1))
    assert not np.array_equal(a, b)


def test_tail_is_the_last_rows_of_the_file() -> None:
    parts = positions_of_parts(dataset_of(100), TailSplit(kind="tail", valid=0.05))
    assert parts["valid"].tolist() == [95, 96, 97, 98, 99]
    assert parts["train"].tolist() == list(range(95))


def test_tail_after_the_shuffle_of_the_course() -> None:
    data = dataset_of(100)
    shuffled = pd.DataFrame({"row": np.arange(100)}).sample(frac=1, random_state=1)["row"].to_numpy()
    parts = positions_of_parts(data, TailSplit(kind="tail", valid=0.05, shuffle=1))
    assert parts["valid"].tolist() == shuffled[95:].tolist()


def test_a_fold_of_the_data_set_gives_the_test_part() -> None:
    data = dataset_of(200, folds=True)
    parts = positions_of_parts(data, FoldSplit(kind="folds", fold="u1", valid=0.1))
    assert set(parts["test"]) == set(np.flatnonzero(data.folds["u1"]))
    assert len(np.unique(np.concatenate(list(parts.values())))) == 200


def test_without_a_split_all_is_train() -> None:
    assert list(positions_of_parts(dataset_of(50), NoSplit(kind="none"))) == ["train"]


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (RandomSplit(kind="random", valid=0.01), "the valid part of made is empty"),
        (RandomSplit(kind="random", valid=0.2, test=0.001), "the test part of made is empty"),
        (TailSplit(kind="tail", valid=0.0), "the valid part of made is empty"),
        (FoldSplit(kind="folds", fold="u9"), "made has no fold 'u9'; it ships none, so choose another kind"),
        (KFoldSplit(kind="kfold", folds=("u1", "u2"), fold=1), "made has no fold 'u2'; it ships none, so choose another kind"),
        (KFoldSplit(kind="kfold", folds=40, fold=35), "split.folds: 40 folds of 30 ratings leave folds empty; give fewer"),
    ],
)
def test_an_empty_part_or_a_missing_fold_is_said_before_any_work(split: Any, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        positions_of_parts(dataset_of(30), split)


def test_a_missing_fold_lists_those_that_are_there() -> None:
    with pytest.raises(SpecError, match="choose from u1, u2"):
        positions_of_parts(dataset_of(30, folds=True), FoldSplit(kind="folds", fold="ua"))


@pytest.mark.usefixtures("workplace")
def test_prepared_parts_hold_what_was_cut_and_say_what_they_lack(small: dict[str, Any]) -> None:
    parts = parts_of(load_spec(small))
    test = open_test(parts, "small-1", "to see")
    assert parts.valid is not None
    assert parts.n == {"train": 1400, "valid": 300, "test": 300}
    assert len(cells(parts.train) | cells(parts.valid) | cells(test)) == 2000
    user, item = parts.valid.unknown_to(parts.train)
    assert parts.n_unknown["valid"] == {"user": user.sum(), "item": item.sum(), "either": (user | item).sum()}
    assert 0.3 < parts.oracle["test_rmse"] < 1.2
    assert parts_of(load_spec(small)).split_digest == parts.split_digest


@pytest.mark.usefixtures("workplace")
def test_parts_with_a_damaged_card_are_made_again(small: dict[str, Any]) -> None:
    parts = parts_of(load_spec(small))
    card = (parts.folder / "card.json").read_bytes()
    for damage in (b"", card[:50], b'{"name": "of another version"}'):
        (parts.folder / "card.json").write_bytes(damage)
        assert parts_of(load_spec(small)) == parts
        assert (parts.folder / "card.json").read_bytes() == card


@pytest.mark.usefixtures("workplace")
def test_each_reason_to_open_the_test_part_for_a_study_is_written_down_once(small: dict[str, Any]) -> None:
    parts = parts_of(load_spec(small))
    assert not Path("runs").exists()
    open_test(parts, "small-1", "to see")
    open_test(parts, "small-1", "to see")
    open_test(parts, "small-1", "to see it again")
    lines = Path("runs/small-1/test-openings.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["to see", "to see it again"]
