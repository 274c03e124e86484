"""Schedules: the order in which an epoch visits the training ratings, and its groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mfbench.core.arrays import Positions


@dataclass(frozen=True)
class Epoch:
    """One pass over the ratings: the groups in `sequence`, one after another.

    offsets: int64 [groups + 1], from 0 to n; group g holds the ratings from offsets[g] up to offsets[g + 1]. sequence:
    int64 [groups], a permutation of the groups. order: a permutation of the n positions in which the groups are cut,
    None where the ratings stand in it already. lanes: the parts of either side of the grid that the groups are the blocks
    of; group g holds the ratings of user part l = g % lanes and item part (l + g // lanes) % lanes, and the sequence has
    diagonal after diagonal of it, `lanes` groups each, which share nothing and may run at the same time.
    """

    offsets: Positions
    sequence: Positions
    order: Positions | None = None
    lanes: int = 1

    def __len__(self) -> int:
        return len(self.sequence)

    def stretches(self, threads: int) -> Positions:
        """int64 [stretches + 1]: bounds in the sequence, between which that many threads need not wait for each other.

        Thread t has every `threads`-th group, from bound + t on. Where the threads divide the lanes, all diagonals whose
        numbers agree modulo the threads give each of them the same users and items, and no other thread the same.
        """
        diagonals = self.sequence[:: self.lanes] // self.lanes
        meets = np.diff(diagonals % threads if self.lanes % threads == 0 else diagonals) != 0
        return np.flatnonzero(np.concatenate(([True], meets, [True]))) * self.lanes

    def positions(self) -> Positions:
        """int64 [n]: all positions as they are visited one by one."""
        first, size = self.offsets[self.sequence], np.diff(self.offsets)[self.sequence]
        ahead = np.cumsum(size) - size
        visited: Positions = np.repeat(first - ahead, size) + np.arange(self.offsets[-1])
        return visited if self.order is None else self.order[visited]

    def groups(self) -> Iterator[Positions]:
        """The positions of each group in turn."""
        for g in self.sequence:
            here = np.arange(self.offsets[g], self.offsets[g + 1])
            yield here if self.order is None else self.order[here]


class Schedule(Protocol):
    """What is replayed: it is asked for one `Epoch` after another, with the run's own generator."""

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """The next pass over the ratings."""
        ...


@dataclass(frozen=True)
class Rows:
    """The ratings as they stand, one a group, every epoch: the notebook's row by row."""

    n: int

    def epoch(self, rng: np.random.Generator) -> Epoch:  # noqa: ARG002
        """The same pass every time."""
        return Epoch(np.arange(self.n + 1), np.arange(self.n))


@dataclass(frozen=True)
class Shuffled:
    """All ratings in an order drawn anew each epoch, cut into groups of `size` (the last may be smaller)."""

    n: int
    size: int = 1

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """A fresh permutation, cut."""
        offsets = np.append(np.arange(0, self.n, self.size), self.n)
        return Epoch(offsets, np.arange(len(offsets) - 1), rng.permutation(self.n))


@dataclass(frozen=True)
class Replayed:
    """Groups cut once, of ratings that stand in their order, run in an order drawn anew each epoch.

    offsets: as in `Epoch`.
    """

    offsets: Positions

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """The same groups in another sequence."""
        return Epoch(self.offsets, rng.permutation(len(self.offsets) - 1))


@dataclass(frozen=True)
class Diagonals:
    """The blocks of a grid of `lanes` x `lanes` parts, cut once, its diagonals run in an order drawn anew each epoch.

    offsets, lanes: as in `Epoch`.
    """

    offsets: Positions
    lanes: int

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """The same blocks in another sequence."""
        diagonals = _by_halves(self.lanes, rng)
        return Epoch(self.offsets, (diagonals[:, None] * self.lanes + np.arange(self.lanes)).ravel(), lanes=self.lanes)


def _by_halves(n: int, rng: np.random.Generator) -> Positions:
    """0..n-1 in random order, but all even numbers before all odd ones or after them, and so on within the halves.

    So two threads, or four, hand the factors of an item to each other once or a few times an epoch, not at each diagonal.
    """
    if n % 2:
        return rng.permutation(n)
    halves = [2 * _by_halves(n // 2, rng), 2 * _by_halves(n // 2, rng) + 1]
    return np.concatenate(halves if rng.integers(2) else halves[::-1])
