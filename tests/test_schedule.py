"""Schedules and their cuts: every rating once, groups that share nothing, the sequence of each user and item kept."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfbench.matrix.cuts import blocks, cut_to, shuffled, waves
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Diagonals, Epoch, Rows, Shuffled
from mfbench.testing import small_ratings


def rated(cells, n_users=None, n_items=None):
    """Ratings of those cells, the value of each telling its position."""
    users, items = np.array(cells, np.int32).reshape(-1, 2).T
    n_users, n_items = n_users or users.max() + 1, n_items or items.max() + 1
    return Ratings(users.copy(), items.copy(), np.arange(len(cells), dtype=np.float32), int(n_users), int(n_items))


CELLS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=60)
"""Also the same cell twice, which data may hold."""


def share_nothing(*groups):
    return all(
        len(set(one[part]) & set(other[part])) == 0 for a, one in enumerate(groups) for other in groups[:a] for part in (0, 1)
    )


def by_row(train, positions):
    """For each user and each item, its ratings (told by their value) as they are visited."""
    visits = defaultdict(list)
    for n in positions:
        visits["user", train.users[n]].append(train.values[n])
        visits["item", train.items[n]].append(train.values[n])
    return visits


def test_an_epoch_walks_its_groups_in_sequence():
    epoch = Epoch(np.array([0, 2, 2, 5]), np.array([2, 0, 1]), order=np.array([4, 3, 2, 1, 0]))
    assert epoch.positions().tolist() == [2, 1, 0, 4, 3]
    assert [group.tolist() for group in epoch.groups()] == [[2, 1, 0], [4, 3], []]
    arranged = Epoch(epoch.offsets, epoch.sequence)
    assert arranged.positions().tolist() == [2, 3, 4, 0, 1]
    assert [group.tolist() for group in arranged.groups()] == [[2, 3, 4], [0, 1], []]


@pytest.mark.parametrize(("n", "size"), [(1, 1), (7, 3), (6, 3), (5, 9)])
def test_shuffled_batches(n, size):
    rng = np.random.default_rng(0)
    one, other = Shuffled(n, size).epoch(rng), Shuffled(n, size).epoch(rng)
    assert sorted(one.positions()) == list(range(n))
    assert np.diff(one.offsets).tolist() == [size] * (n // size) + [n % size] * (n % size > 0)
    assert n < 5 or one.positions().tolist() != other.positions().tolist()


def test_rows_stand_as_they_are():
    assert Rows(4).epoch(np.random.default_rng(0)).positions().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("lanes", [1, 2, 3, 12, 16])
def test_diagonals_are_run_whole_in_another_order_each_epoch(lanes):
    schedule, rng = Diagonals(np.arange(lanes**2 + 1), lanes), np.random.default_rng(0)
    sequences = [schedule.epoch(rng).sequence for _ in range(20)]
    for sequence in sequences:
        assert sorted(sequence) == list(range(lanes**2))
        starts = sequence[::lanes]
        assert np.array_equal(sequence, np.repeat(starts, lanes) + np.tile(np.arange(lanes), lanes))
        assert not np.any(starts % lanes)
    assert len({tuple(sequence) for sequence in sequences}) > lanes // 2


@given(lanes=st.integers(1, 20), threads=st.integers(1, 20), seed=st.integers(0, 9))
def test_threads_share_nothing_within_a_stretch(lanes, threads, seed):
    threads = min(threads, lanes)
    epoch = Diagonals(np.arange(lanes**2 + 1), lanes).epoch(np.random.default_rng(seed))
    bounds = epoch.stretches(threads)
    assert (bounds[0], bounds[-1]) == (0, len(epoch))
    for first, end in pairwise(bounds):
        groups = [epoch.sequence[first + thread : end : threads] for thread in range(threads)]
        parts = [(set(g % lanes), set((g % lanes + g // lanes) % lanes)) for g in groups]
        assert share_nothing(*parts)
    if lanes in (4, 8, 16) and threads in (1, 2, 4):
        assert len(bounds) - 1 == threads


def test_shuffled_order_is_narrow():
    order = shuffled(10, np.random.default_rng(0))
    assert order.dtype == np.int32
    assert sorted(order) == list(range(10))


@settings(deadline=None)  # a deadline would meet the compilation
@given(cells=CELLS, seed=st.integers(0, 5))
def test_waves(cells, seed):
    train = rated(cells)
    order = shuffled(len(train), np.random.default_rng(seed))
    arranged, offsets = waves(train, order)
    assert sorted(arranged.values) == sorted(train.values)
    for lo, hi in pairwise(offsets):
        assert hi > lo
        assert len(set(arranged.users[lo:hi])) == len(set(arranged.items[lo:hi])) == hi - lo
    assert by_row(arranged, range(len(train))) == by_row(train, order)
    # no cut into groups that keep the sequence has fewer: each wave has a rating that must follow one of the wave before
    for before, lo, hi in zip(offsets[:-2], offsets[1:-1], offsets[2:], strict=True):
        users, items = set(arranged.users[before:lo]), set(arranged.items[before:lo])
        assert all(arranged.users[n] in users or arranged.items[n] in items for n in range(lo, hi))


def test_a_user_who_rated_everything_is_one_wave_a_rating():
    _, offsets = waves(rated([(0, i) for i in range(5)]), np.arange(5))
    assert offsets.tolist() == [0, 1, 2, 3, 4, 5]


def test_wide_waves_are_cut():
    assert cut_to(np.array([0, 5, 5, 8, 9]), 3).tolist() == [0, 3, 5, 8, 9]
    assert cut_to(np.array([0]), 3).tolist() == [0]


@settings(deadline=None)
@given(cells=CELLS, parts=st.integers(1, 8), seed=st.integers(0, 5))
def test_blocks(cells, parts, seed):
    train = rated(cells, n_users=12)
    arranged, schedule = blocks(train, parts, np.random.default_rng(seed))
    assert sorted(arranged.values) == sorted(train.values)
    for n, told in enumerate(arranged.values):
        assert (arranged.users[n], arranged.items[n]) == cells[int(told)]
    epoch = schedule.epoch(np.random.default_rng(seed))
    assert epoch.lanes == min(parts, train.n_users, train.n_items)
    assert len(epoch) == epoch.lanes**2
    assert sorted(epoch.positions()) == list(range(len(train)))
    part = [np.full(n, -1) for n in (train.n_users, train.n_items)]
    for g, group in zip(epoch.sequence, epoch.groups(), strict=True):  # as `Epoch` says that they are numbered
        lane = g % epoch.lanes
        for of, index, wanted in zip(part, (arranged.users, arranged.items), (lane, lane + g // epoch.lanes), strict=True):
            assert set(of[index[group]]) <= {-1, wanted % epoch.lanes}
            of[index[group]] = wanted % epoch.lanes
    groups = [(arranged.users[group], arranged.items[group]) for group in epoch.groups()]
    for first in range(0, len(groups), epoch.lanes):
        assert share_nothing(*groups[first : first + epoch.lanes])


def test_parts_have_nearly_equal_numbers_of_ratings():
    train = small_ratings(n_users=400, n_items=300, n=20_000)
    _, schedule = blocks(train, 4, np.random.default_rng(0))
    diagonals = np.diff(schedule.offsets).reshape(4, 4)
    by_user_part = diagonals.sum(axis=0)
    assert by_user_part.max() - by_user_part.min() <= 70  # what one user may have
    assert diagonals.max() < 1.1 * diagonals.mean()


def test_tiles_of_users_stand_together_within_a_block():
    train = small_ratings(n_users=2100, n_items=20, n=20_000)
    arranged, schedule = blocks(train, 2, np.random.default_rng(0))
    lo, hi = schedule.offsets[:2]
    tiles = 2100 // (2 * 256)
    parts = np.array_split(arranged.users[lo:hi], 2 * tiles)
    assert not set(parts[0]) & set(parts[-1])
    assert np.any(np.diff(parts[0]) < 0)  # and shuffled within a tile


def test_cuts_depend_on_the_generator_alone():
    train = small_ratings(n_users=40, n_items=30, n=600)
    one, same, other = (blocks(train, 3, np.random.default_rng(seed))[0].values.tobytes() for seed in (0, 0, 1))
    assert one == same
    assert one != other
