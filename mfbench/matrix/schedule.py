"""Schedules: the order in which an epoch visits the training ratings, cut into groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from mfbench.core.arrays import Positions


@dataclass(frozen=True)
class Epoch:
    """One pass over the ratings: its groups, visited in the order of `sequence`.

    offsets: int64 [groups + 1], from 0 to n; group g holds the ratings from offsets[g] up to offsets[g + 1]. sequence:
    int64 [groups], a permutation of the groups. order: the permutation of the n positions that is cut into groups, or None
    if the ratings are stored in that order. lanes: if the groups are the blocks of a grid, the parts on each side of it,
    else 1. Group g then holds the ratings of user part l = g % lanes and item part (l + g // lanes) % lanes, and the
    sequence goes diagonal by diagonal, `lanes` groups each, which share no user and no item and may run in parallel.
    """

    offsets: Positions
    sequence: Positions
    order: Positions | None = None
    lanes: int = 1

    def __len__(self) -> int:
        return len(self.sequence)

    def stretches(self, threads: int) -> Positions:
        """int64 [stretches + 1]: bounds in the sequence between which that many threads need not wait for each other.

        Thread t takes every `threads`-th group from bound + t on. If the number of threads divides `lanes`, all diagonals
        whose numbers agree modulo `threads` give each thread the same users and items, which no other thread touches.
        """
        diagonals = self.sequence[:: self.lanes] // self.lanes
        meets = np.diff(diagonals % threads if self.lanes % threads == 0 else diagonals) != 0
        return np.flatnonzero(np.concatenate(([True], meets, [True]))) * self.lanes

    def positions(self) -> Positions:
        """int64 [n]: all positions in the order in which they are visited."""
        if self.order is not None and np.array_equal(self.sequence, np.arange(len(self))):
            return self.order
        first, size = self.offsets[self.sequence], np.diff(self.offsets)[self.sequence]
        ahead = np.cumsum(size) - size
        visited: Positions = np.repeat(first - ahead, size) + np.arange(self.offsets[-1])
        return visited if self.order is None else self.order[visited]

    def groups(self) -> Iterator[Positions]:
        """Yield the positions of each group, in the order of the sequence."""
        for g in self.sequence:
            positions = np.arange(self.offsets[g], self.offsets[g + 1])
            yield positions if self.order is None else self.order[positions]


class Schedule(Protocol):
    """Gives one `Epoch` after another; the run passes its own generator."""

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """The next pass over the ratings."""
        ...


@dataclass(frozen=True)
class Rows:
    """The ratings in stored order, one to a group, every epoch: row by row, as in the notebook."""

    n: int

    def epoch(self, rng: np.random.Generator) -> Epoch:  # noqa: ARG002
        """The same pass every epoch."""
        return Epoch(np.arange(self.n + 1), np.arange(self.n))


@dataclass(frozen=True)
class Shuffled:
    """All ratings, reshuffled each epoch and cut into groups of `size` (the last may be smaller)."""

    n: int
    size: int = 1

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """A new permutation, cut into groups."""
        offsets = np.append(np.arange(0, self.n, self.size), self.n)
        return Epoch(offsets, np.arange(len(offsets) - 1), rng.permutation(self.n))


@dataclass(frozen=True)
class Replayed:
    """Fixed groups of ratings stored group by group; each epoch visits the groups in a new random order.

    offsets: as in `Epoch`.
    """

    offsets: Positions

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """The same groups in a new sequence."""
        return Epoch(self.offsets, rng.permutation(len(self.offsets) - 1))


@dataclass(frozen=True)
class Diagonals:
    """The fixed blocks of a grid of `lanes` x `lanes` parts; each epoch visits its diagonals in a new random order.

    offsets, lanes: as in `Epoch`.
    """

    offsets: Positions
    lanes: int

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """The same blocks in a new sequence."""
        diagonals = _by_halves(self.lanes, rng)
        return Epoch(self.offsets, (diagonals[:, None] * self.lanes + np.arange(self.lanes)).ravel(), lanes=self.lanes)


@dataclass(frozen=True)
class Ring:
    """The waves of the blocks of a grid of `parts` x `parts` parts; an epoch visits one diagonal of blocks after another.

    So item part b is needed with user part 0 at diagonal b, with user part 1 at diagonal b - 1, and so on: the parts go
    round a ring. The waves of a block are visited in a new random order each epoch. offsets: of the waves, as in `Epoch`.
    blocks: int64 [parts² + 1], the first wave of each block, which are numbered as in `Epoch`.
    """

    offsets: Positions
    blocks: Positions
    parts: int

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """The same waves in a new sequence."""
        return Epoch(self.offsets, np.concatenate([lo + rng.permutation(hi - lo) for lo, hi in pairwise(self.blocks)]))


def _by_halves(n: int, rng: np.random.Generator) -> Positions:
    """0..n-1 in random order, but with all even numbers before or after all odd ones, and so on within each half.

    So two or four threads exchange the factors of an item only a few times an epoch, not at each diagonal.
    """
    if n % 2:
        return rng.permutation(n)
    halves = [2 * _by_halves(n // 2, rng), 2 * _by_halves(n // 2, rng) + 1]
    return np.concatenate(halves if rng.integers(2) else halves[::-1])
