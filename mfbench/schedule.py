"""Schedules: the order in which an epoch visits the training ratings, and its groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mfbench.ratings import Positions


@dataclass(frozen=True)
class Epoch:
    """One pass over the ratings: the groups in `sequence`, one after another.

    offsets: int64 [groups + 1], from 0 to n; group g holds the ratings from offsets[g] up to offsets[g + 1]. sequence:
    int64 [groups], a permutation of the groups. order: a permutation of the n positions in which the groups are cut,
    None where the ratings stand in it already. lanes: each so many groups of the sequence, from its start on, share no
    user and no item, so they may run at the same time.
    """

    offsets: Positions
    sequence: Positions
    order: Positions | None = None
    lanes: int = 1

    def __len__(self) -> int:
        return len(self.sequence)

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
    """Groups cut once, of ratings that stand in their order; `lanes` groups at a time are run in an order drawn anew.

    offsets, lanes: as in `Epoch`.
    """

    offsets: Positions
    lanes: int = 1

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """The same groups in another sequence."""
        side_by_side = np.arange(len(self.offsets) - 1).reshape(-1, self.lanes)
        return Epoch(self.offsets, rng.permutation(side_by_side).ravel(), lanes=self.lanes)
