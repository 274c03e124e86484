"""The kinds of split that hold out by time, by user, or some of each user: whole, disjoint, and true to their definition."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from mfbench.core.arrays import Positions
from mfbench.core.errors import SpecError
from mfbench.data.dataset import Dataset, make_dataset
from mfbench.data.partition import positions_of_parts
from mfbench.data.sealed import open_test
from mfbench.data.splits import parts_of
from mfbench.spec import LastSplit, LeaveOutSplit, Split, TemporalSplit, UsersSplit, load_spec

USERS, ITEMS = 25, 30


def with_times(cells: npt.ArrayLike, times: npt.ArrayLike) -> Dataset:
    """A rating for each cell `user * ITEMS + item`."""
    users, items = np.divmod(np.asarray(cells), ITEMS)
    return make_dataset(
        "made", users, items, (1.0 + items % 5).astype(float), where=lambda k: f"row {k}", timestamps=np.asarray(times)
    )


def drawn(n: int, last: int, seed: int) -> Dataset:
    """A few ratings or many, some users with one alone, at times up to `last`."""
    rng = np.random.default_rng([n, last, seed])
    return with_times(rng.choice(USERS * ITEMS, n, replace=False), rng.integers(0, last, n, endpoint=True))


data_sets = st.builds(drawn, st.integers(8, 200), st.sampled_from([0, 3, 10**9]), st.integers(0, 99))
fractions = st.sampled_from([0.0, 0.1, 0.25, 0.4])
counts = st.integers(0, 3)
seeds = st.integers(0, 5)
splits = st.one_of(
    st.builds(TemporalSplit, kind=st.just("temporal"), valid=fractions, test=fractions),
    st.builds(UsersSplit, kind=st.just("users"), valid=fractions, test=fractions, known=st.floats(0.1, 0.9), seed=seeds),
    st.tuples(counts, counts).filter(any).map(lambda n: LastSplit(kind="last", valid=n[0], test=n[1])),
    st.tuples(counts, counts, seeds)
    .filter(lambda n: any(n[:2]))
    .map(lambda n: LeaveOutSplit(kind="leave-out", valid=n[0], test=n[1], seed=n[2])),
)


def cut(data: Dataset, split: Split) -> dict[str, Positions]:
    """The parts; a case that leaves one of them empty is not looked at."""
    try:
        return positions_of_parts(data, split)
    except SpecError as error:
        if "is empty" not in str(error):
            raise
        reject()


def of_user(data: Dataset, rows: Positions, user: int) -> Positions:
    mine: Positions = rows[data.ratings.users[rows] == user]
    return mine


@given(data=data_sets, split=splits)
def test_each_rating_is_in_just_one_part_and_each_part_is_the_one_asked_for(data: Dataset, split: Split) -> None:
    parts = cut(data, split)
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(data.ratings)))
    asked = [name for name in ("valid", "test") if getattr(split, name)]
    assert list(parts) == ["train", *asked]


@given(data=data_sets, split=splits, seed=seeds)
def test_the_order_of_the_rows_has_no_part_in_it(data: Dataset, split: Split, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(data.ratings))
    assert data.timestamps is not None
    turned = Dataset("made", data.ratings.take(order), data.user_ids, data.item_ids, timestamps=data.timestamps[order])
    one, other = cut(data, split), positions_of_parts(turned, split)
    for name in ("train", *other):
        a, b = data.ratings.take(one[name]), turned.ratings.take(other[name])
        assert np.array_equal(a.users, b.users)
        assert np.array_equal(a.items, b.items)


@given(data=data_sets, valid=fractions, test=fractions)
def test_temporal_parts_follow_each_other_and_share_no_second(data: Dataset, valid: float, test: float) -> None:
    parts = cut(data, TemporalSplit(kind="temporal", valid=valid, test=test))
    assert data.timestamps is not None
    times = [data.timestamps[rows] for rows in parts.values()]
    for earlier, later in pairwise(times):
        assert earlier.max() < later.min()
    n = len(data.ratings)
    assert len(parts.get("test", ())) <= round(n * test)
    assert len(parts["train"]) >= n - round(n * test) - round(n * valid)


@given(data=data_sets, n=st.tuples(counts, counts).filter(any))
def test_last_takes_the_last_of_every_user_with_enough(data: Dataset, n: tuple[int, int]) -> None:
    parts = cut(data, LastSplit(kind="last", valid=n[0], test=n[1]))
    assert data.timestamps is not None
    for user, count in enumerate(np.bincount(data.ratings.users)):
        of = {name: of_user(data, parts.get(name, np.empty(0, dtype=int)), user) for name in ("train", "valid", "test")}
        held_out = n if count > sum(n) else (0, 0)
        assert (len(of["valid"]), len(of["test"])) == held_out
        times = [data.timestamps[rows] for rows in of.values() if len(rows)]
        for earlier, later in pairwise(times):
            assert earlier.max() <= later.min()


@given(data=data_sets, n=st.tuples(counts, counts).filter(any), seed=seeds)
def test_leave_out_takes_as_many_of_every_user_with_enough(data: Dataset, n: tuple[int, int], seed: int) -> None:
    parts = cut(data, LeaveOutSplit(kind="leave-out", valid=n[0], test=n[1], seed=seed))
    counted = {name: np.bincount(data.ratings.users[rows], minlength=USERS) for name, rows in parts.items()}
    enough = np.bincount(data.ratings.users, minlength=USERS) > sum(n)
    for name, size in zip(("valid", "test"), n, strict=True):
        assert np.array_equal(counted.get(name, np.zeros(USERS)), np.where(enough, size, 0))


@given(data=data_sets, valid=fractions, test=fractions, known=st.floats(0.05, 0.95), seed=seeds)
def test_of_a_user_that_is_held_out_a_share_is_known(
    data: Dataset, valid: float, test: float, known: float, seed: int
) -> None:
    parts = cut(data, UsersSplit(kind="users", valid=valid, test=test, known=known, seed=seed))
    count = np.bincount(data.ratings.users)
    users = {name: np.unique(data.ratings.users[rows]) for name, rows in parts.items()}
    assert np.array_equal(users["train"], np.arange(len(count)))
    assert not set(users.get("valid", ())) & set(users.get("test", ()))
    for name, share in (("valid", valid), ("test", test)):
        assert len(users.get(name, ())) == round(int(np.sum(count >= 2)) * share)
        for user in users.get(name, ()):
            shown = len(of_user(data, parts["train"], user))
            assert 1 <= shown < count[user]
            assert abs(shown - count[user] * known) <= 1


def test_another_seed_draws_others() -> None:
    data = with_times(list(range(0, 600, 3)), [0] * 200)
    kinds: list[Callable[[int], Split]] = [
        lambda seed: LeaveOutSplit(kind="leave-out", valid=1, seed=seed),
        lambda seed: UsersSplit(kind="users", valid=0.3, seed=seed),
    ]
    for kind in kinds:
        one, other = (positions_of_parts(data, kind(seed))["valid"] for seed in (0, 1))
        assert not np.array_equal(one, other)


def test_the_cut_through_time_by_hand() -> None:
    data = with_times(list(range(10)), [5, 1, 9, 9, 2, 3, 8, 4, 6, 9])
    parts = positions_of_parts(data, TemporalSplit(kind="temporal", valid=0.2, test=0.3))
    assert {name: sorted(data.timestamps[rows].tolist()) for name, rows in parts.items()} == {
        "train": [1, 2, 3, 4, 5], "valid": [6, 8], "test": [9, 9, 9],
    }  # fmt: skip
    parts = positions_of_parts(data, TemporalSplit(kind="temporal", valid=0.5, test=0.0))
    assert sorted(data.timestamps[parts["valid"]]) == [6, 8, 9, 9, 9]
    with pytest.raises(SpecError, match="the test part of made is empty"):  # two of the last three share its second
        positions_of_parts(data, TemporalSplit(kind="temporal", valid=0.2, test=0.2))


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (TemporalSplit(kind="temporal", valid=0.1), "kind temporal needs timestamps, which made lacks"),
        (LastSplit(kind="last", test=1), "kind last needs timestamps, which made lacks"),
        (LeaveOutSplit(kind="leave-out", valid=40), "no user has enough ratings, so hold out fewer of each"),
        (UsersSplit(kind="users", valid=0.01), "the valid part of made is empty .*; give it a larger share"),
    ],
)
def test_what_cannot_be_cut_is_said(split: Split, says: str) -> None:
    data = with_times(list(range(60)), [0] * 60)
    without = Dataset("made", data.ratings, data.user_ids, data.item_ids)
    with pytest.raises(SpecError, match=says):
        positions_of_parts(without, split)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"kind": "last"}, "split: valid 0, test 0 hold nothing out"),
        ({"kind": "temporal", "valid": 0.6, "test": 0.4}, "split: the fractions don't add up: valid 0.6, test 0.4"),
        ({"kind": "leave-out", "valid": -1}, "split.valid: input should be greater than or equal to 0"),
        ({"kind": "users", "valid": 0.1, "known": 1}, "split.known: input should be less than 1"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(small: dict[str, Any], split: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        load_spec({**small, "split": split})


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("split", [{"kind": "leave-out", "valid": 1, "test": 2}, {"kind": "users", "valid": 0.2, "test": 0.2}])
def test_the_card_counts_the_users_of_each_part(small: dict[str, Any], split: dict[str, Any]) -> None:
    parts = parts_of(load_spec({**small, "split": split}))
    assert parts.valid is not None
    test = open_test(parts, "small-1", "to see")
    expected = {name: len(set(part.users)) for name, part in (("train", parts.train), ("valid", parts.valid), ("test", test))}
    assert parts.n_users_in == expected == parts.described().n_users_in
