"""The kinds of split: which ratings go to train, valid and test. `mfbench.spec.split` says what each kind can leak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import numpy as np

from mfbench.core.arrays import Array, Ints, Positions
from mfbench.core.errors import SpecError
from mfbench.core.randomness import generator
from mfbench.data.dataset import Dataset
from mfbench.matrix.ratings import Ratings, canonical_order
from mfbench.spec import (
    FoldSplit,
    KFoldSplit,
    LastSplit,
    LeaveOutSplit,
    NoSplit,
    RandomSplit,
    Split,
    TailSplit,
    TemporalSplit,
    UsersSplit,
)


def positions_of_parts(dataset: Dataset, split: Split) -> dict[str, Positions]:
    """The rows of `train`, and of `valid` and `test` if the split has them; SpecError if one of these would be empty.

    All kinds but `tail` split the ratings in canonical order, so the order of the rows in the file does not matter; `tail`
    is defined by that order, and keeps it.

    >>> from mfbench.data.planted import planted
    >>> data = planted(users=40, items=30, ratings=300, seed=0, name="tiny")
    >>> parts = positions_of_parts(data, RandomSplit(kind="random", valid=0.2, test=0.1, seed=7))
    >>> {name: len(rows) for name, rows in parts.items()}
    {'train': 210, 'valid': 60, 'test': 30}
    """
    n = len(dataset.ratings)
    if isinstance(split, TailSplit):
        # The same permutation as pandas' sample(frac=1, random_state=s), which the course of the Keras example uses.
        rows = np.arange(n) if split.shuffle is None else np.random.RandomState(split.shuffle).permutation(n)
    else:
        rows = canonical_order(dataset.ratings)
    held_out = _held_out(dataset, split, rows)
    train = np.ones(n, dtype=bool)
    for part in held_out.values():
        train[part] = False
    parts = {"train": rows[train]} | {name: rows[np.sort(held_out[name])] for name in ("valid", "test") if name in held_out}
    for name, part in parts.items():
        if len(part) == 0:
            advice = "give it a larger share"
            if isinstance(split, LastSplit | LeaveOutSplit):
                advice = "no user has enough ratings, so hold out fewer of each"
            elif isinstance(split, KFoldSplit) and name == "valid":
                advice = "use fewer folds or a smaller test share"
            raise SpecError(f"split: the {name} part of {dataset.name} is empty ({n} ratings in all); {advice}")
    return parts


def _held_out(dataset: Dataset, split: Split, rows: Positions) -> dict[str, Positions]:
    """The parts that the split holds out, as positions in `rows`, which are in the order that the split cuts."""
    n, ratings = len(rows), dataset.ratings.take(rows)
    match split:
        case NoSplit():
            return {}
        case TailSplit():
            return {"valid": np.arange(int(n * (1 - split.valid)), n)}  # rounded as Keras does
        case RandomSplit():
            return _drawn(np.arange(n), {"test": split.test, "valid": split.valid}, generator(split.seed, "split"))
        case FoldSplit():
            test = _fold(dataset, split.fold)[rows]
            drawn = _drawn(np.flatnonzero(~test), {"valid": split.valid}, generator(split.seed, "split"))
            return {"test": np.flatnonzero(test)} | drawn
        case KFoldSplit():
            return _one_fold(dataset, split, rows, generator(split.seed, "split"))
        case TemporalSplit():
            return _later(_times(dataset, split.kind)[rows], split)
        case LastSplit():
            return _last_of_each(ratings, _times(dataset, split.kind)[rows], split)
        case LeaveOutSplit():
            return _last_of_each(ratings, generator(split.seed, "split").permutation(n), split)
        case UsersSplit():
            return _of_some_users(ratings, split, generator(split.seed, "split"))
        case _:
            assert_never(split)


def _drawn(among: Positions, shares: Mapping[str, float], rng: np.random.Generator) -> dict[str, Positions]:
    """Disjoint random samples of `among`, one for each name whose share is not 0."""
    shuffled, at, drawn = rng.permutation(among), 0, {}
    for name, share in shares.items():
        if share:
            size = round(len(among) * share)
            drawn[name] = shuffled[at : at + size]
            at += size
    return drawn


def _one_fold(dataset: Dataset, split: KFoldSplit, rows: Positions, rng: np.random.Generator) -> dict[str, Positions]:
    """test, drawn first and so the same for all folds, and as valid the split's fold (default: the first) of the rest."""
    held_out = _drawn(np.arange(len(rows)), {"test": split.test}, rng)
    rest, fold = np.setdiff1d(np.arange(len(rows)), held_out.get("test", ())), split.fold or 0
    if isinstance(split.folds, int):
        if split.folds > len(rest):
            raise SpecError(f"split.folds: {split.folds} folds of {len(rest)} ratings leave folds empty; give fewer")
        return held_out | {"valid": rng.permutation(rest)[fold :: split.folds]}
    return held_out | {"valid": rest[_fold(dataset, split.folds[fold])[rows[rest]]]}


def _fold(dataset: Dataset, fold: str) -> Array:
    if fold not in dataset.folds:
        folds = ", ".join(sorted(dataset.folds))
        advice = f"choose from {folds}" if folds else "it ships none, so choose another kind"
        raise SpecError(f"split: {dataset.name} has no fold {fold!r}; {advice}")
    return dataset.folds[fold]


def _times(dataset: Dataset, kind: str) -> Positions:
    if dataset.timestamps is None:
        raise SpecError(
            f"split: kind {kind} needs timestamps, which {dataset.name} lacks; choose another kind, "
            "or set data.timestamp to the column of your file"
        )
    return dataset.timestamps


def _later(times: Positions, split: TemporalSplit) -> dict[str, Positions]:
    """The latest ratings of all; where the cut falls among ratings of one time, they stay in the earlier part."""
    ordered, end, later, held_out = np.sort(times), len(times), np.zeros(len(times), dtype=bool), {}
    for name, share in (("test", split.test), ("valid", split.valid)):
        end -= round(len(times) * share)
        if share:
            held_out[name] = np.flatnonzero((times > ordered[max(end - 1, 0)]) & ~later)
            later[held_out[name]] = True
    return held_out


def _last_of_each(ratings: Ratings, key: Positions, split: LastSplit | LeaveOutSplit) -> dict[str, Positions]:
    """The last `test` ratings of each user by `key`, and the `valid` before those, of users who have more ratings."""
    after, wanted = _how_many_after(ratings.users, key), split.test + split.valid
    enough = (np.bincount(ratings.users) > wanted)[ratings.users]
    ends = {"test": (0, split.test), "valid": (split.test, wanted)}
    return {name: np.flatnonzero(enough & (after >= lo) & (after < hi)) for name, (lo, hi) in ends.items() if hi > lo}


def _of_some_users(ratings: Ratings, split: UsersSplit, rng: np.random.Generator) -> dict[str, Positions]:
    """Hold out part of the ratings of randomly drawn users, each of whom has at least two."""
    count = np.bincount(ratings.users)
    drawn = _drawn(np.flatnonzero(count >= 2), {"test": split.test, "valid": split.valid}, rng)
    known = np.clip(np.rint(count * split.known), 1, count - 1)
    judged = _how_many_after(ratings.users, rng.permutation(len(ratings))) < (count - known)[ratings.users]
    return {name: np.flatnonzero(judged & np.isin(ratings.users, users)) for name, users in drawn.items()}


def _how_many_after(users: Ints, key: Positions) -> Positions:
    """int64 [n]: how many ratings of the same user come later by `key`; equal keys keep their order."""
    order = np.lexsort((key, users))
    ends = np.cumsum(np.bincount(users))
    after = np.empty(len(users), dtype=np.int64)
    after[order] = ends[users[order]] - 1 - np.arange(len(users))
    return after
