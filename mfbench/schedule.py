"""Schedules: the order in which an epoch visits the training ratings, and its cut into groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mfbench.ratings import Positions


@dataclass(frozen=True)
class Epoch:
    """One pass: group g holds the ratings at `order[offsets[g] : offsets[g + 1]]`, and the groups run one after another.

    order: int64 [n], a permutation of the positions. offsets: int64 [groups + 1], from 0 to n.
    """

    order: Positions
    offsets: Positions

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def groups(self) -> Iterator[Positions]:
        """The positions of each group in turn."""
        for lo, hi in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.order[lo:hi]


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
        return Epoch(np.arange(self.n), np.arange(self.n + 1))


@dataclass(frozen=True)
class Shuffled:
    """All ratings in an order drawn anew each epoch, cut into groups of `size` (the last may be smaller)."""

    n: int
    size: int = 1

    def epoch(self, rng: np.random.Generator) -> Epoch:
        """A fresh permutation, cut."""
        return Epoch(rng.permutation(self.n), np.append(np.arange(0, self.n, self.size), self.n))
