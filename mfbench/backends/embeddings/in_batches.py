"""What `adam` and `mlp` have in common: their knobs, the batches of an epoch, and the loop over both."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from mfbench.backends.base import AtLeast1
from mfbench.backends.embeddings.rows import AdamRows, Steps
from mfbench.core.arrays import Array
from mfbench.matrix.compiled import unsigned
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Schedule, Shuffled

if TYPE_CHECKING:
    from mfbench.backends.on_device.accelerator import OnDevice

Columns = tuple[Array, Array, Array]
"""Users and items (uint32) and values (float32) of some ratings."""

Trained = TypeVar("Trained")

LEAST = 1024
"""The least room for rows, so that those of a whole table are not read in too small parts."""


@dataclass(frozen=True)
class InBatches(ABC):
    """Base class of backends that train with Adam on mini-batches: compiled for the CPU, or in JAX on a `device`."""

    batch_size: AtLeast1 = 512
    device: str | None = None

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta"})

    def __post_init__(self) -> None:
        if self.device is not None:
            from mfbench.backends.on_device.accelerator import device_named  # imports jax: only if it is needed

            device_named(self.device)

    @property
    def hardware(self) -> dict[str, str]:
        """The CPU, or the device as JAX describes it."""
        return {"platform": "cpu"} if self.device is None else self._in_jax().hardware

    @property
    def exact(self) -> bool:
        """True on a CPU, on any number of cores."""
        return self.device is None or self._in_jax().exact

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:  # noqa: ARG002
        """The ratings in stored order, and batches reshuffled each epoch."""
        return train, Shuffled(len(train), self.batch_size)

    @abstractmethod
    def _in_jax(self) -> OnDevice:
        """The JAX form of this backend, on its device."""


@dataclass(frozen=True)
class Batches:
    """The ratings of an epoch, one batch after another; batch n is from bounds[n] up to bounds[n + 1]."""

    columns: Columns
    bounds: list[int]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[Columns]:
        users, items, values = self.columns
        for first, end in pairwise(self.bounds):
            yield users[first:end], items[first:end], values[first:end]


def columns_of(train: Ratings, start: Factors, bias: bool) -> Columns:
    """The ratings, less the mean and, unless they are learned, the biases: what is left for the model to learn."""
    rest = train.values - start.mean
    if not bias:
        rest = rest - start.user_bias[train.users] - start.item_bias[train.items]
    users, items = unsigned(train.users, train.items)
    return users, items, rest.astype(np.float32)


def room_for(schedule: Schedule, rng: np.random.Generator) -> int:
    """The number of rows that `AdamRows` needs room for: the size of the largest batch, or more."""
    return max(LEAST, int(np.diff(schedule.epoch(copy.deepcopy(rng)).offsets).max(initial=0)))


def epochs_in_batches(columns: Columns, schedule: Schedule, rng: np.random.Generator, epochs: int) -> Iterator[Batches]:
    """Yield the batches of each epoch; another thread puts those of the next epoch in order at the same time."""

    def drawn() -> Batches:
        epoch = schedule.epoch(rng)
        positions = epoch.positions()
        users, items, values = (column.take(positions) for column in columns)
        bounds = np.cumsum(np.append(0, np.diff(epoch.offsets)[epoch.sequence]))
        return Batches((users, items, values), bounds.tolist())

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(drawn)
        for number in range(epochs):
            batches = ahead.result()
            if number + 1 < epochs:
                ahead = pool.submit(drawn)
            yield batches


def trained(
    columns: Columns,
    schedule: Schedule,
    rng: np.random.Generator,
    hyper: HyperParams,
    steps: Steps,
    descend: Callable[[Array, Array, Array], None],
    model: Callable[[], Trained],
    rows: Sequence[AdamRows],
) -> Iterator[Trained]:
    """Yield the start once compiled, then a model after each epoch.

    descend: takes one step of Adam along the gradient of a batch. model: a copy of the present parameters. rows: those to
    bring up to date before it.
    """
    users, items, values = columns
    descend(users[:0], items[:0], values[:0])  # compiles, and changes nothing
    yield model()
    for batches in epochs_in_batches(columns, schedule, rng, hyper.epochs):
        steps.begin(hyper.alpha or 0.0, len(batches))
        for batch in batches:
            steps.next()
            descend(*batch)
        for table in rows:
            table.catch_up(steps)
        yield model()
