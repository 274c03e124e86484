"""SGD in JAX, vectorised over the ratings of a group, on CPU, GPU or TPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np

from mfbench.backends.base import AtLeast1, Model, SideBySideTraining, Training
from mfbench.backends.on_device.accelerator import (
    SideBySideOnDevice,
    device_named,
    in_turn,
    ratings_on,
    side_by_side,
    tables_on,
    use_compile_cache,
    widest,
)
from mfbench.backends.on_device.sgd import sgd_epoch
from mfbench.core.arrays import Array, Positions
from mfbench.core.errors import SpecError
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Replayed, Ring, Schedule, Shuffled
from mfbench.matrix.steps import Adaptive, accumulators

Cut = Literal["minibatch", "waves", "ring"]
Dtype = Literal["float32", "float64"]


@dataclass(frozen=True)
class Jax(SideBySideOnDevice):
    """SGD in JAX, one group of ratings per step: minibatches, or waves, which compute exactly what the plain loop does.

    schedule: with "waves" the ratings of a group share no user and no item, and the update rule is that of `loop` over the
    same order: one shuffled order, cut into waves that are run in a new random order each epoch. "minibatch" is an
    approximation: all ratings of a batch read the same old factors, their gradients are summed per row and applied at
    once, and q's update uses the p before the batch. A row that occurs c times in a batch would take c steps of alpha from
    the same point, and overshoot if it is popular; its step is therefore min(alpha, max(CAP, alpha) / c) with CAP = 0.25:
    it never moves further than CAP along the mean of its gradients, and nothing changes where alpha c <= CAP or c = 1.

    "ring" trains on all devices of a kind, in one process or several, see `on_device.rings.ring`: each has its share of the
    ratings and of the factors. Users and items are divided into `parts` parts each, in the blocks of which waves are run in
    a new random order each epoch. The number of parts changes the result; those of devices and processes do not.
    checkpoint_every: the epochs between two checkpoints of a plain run on a ring.

    batch_size: ratings per minibatch. device: cpu, gpu, tpu, cpu:0, ...; by default the best available. dtype: the type
    that the device computes in. Scatter-add is ordered on a CPU, so runs repeat to the bit there. Waves do on any device,
    as a wave adds to each row once; minibatches on a GPU do not.
    """

    batch_size: AtLeast1 = 1024
    device: str | None = None
    dtype: Dtype = "float32"
    schedule: Cut = "minibatch"
    parts: AtLeast1 = 4
    checkpoint_every: AtLeast1 = 5

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta", "step", "decay"})

    def __post_init__(self) -> None:
        if self.device is not None:
            device_named(self.device)
            if self.schedule == "ring" and ":" in self.device:
                kind = self.device.partition(":")[0]
                raise SpecError(f"device: {self.device!r} is one device, and a ring uses all of a kind; write {kind}")

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:
        """The ratings in stored order and batches reshuffled each epoch, or the ratings sorted by wave."""
        if self.schedule == "minibatch":
            return train, Shuffled(len(train), self.batch_size)
        from mfbench.matrix.cuts import cut_to, shuffled, waves, waves_in_blocks

        if self.schedule == "ring":
            arranged, offsets, blocks = waves_in_blocks(train, self.parts, rng)
            offsets = cut_to(offsets, _width(offsets))
            return arranged, Ring(offsets, np.searchsorted(offsets, blocks.offsets), blocks.lanes)
        arranged, offsets = waves(train, shuffled(len(train), rng))
        return arranged, Replayed(cut_to(offsets, _width(offsets)))

    @property
    def exact(self) -> bool:
        """True on a CPU, and with waves on any device."""
        return self.schedule != "minibatch" or super().exact

    @property
    def accelerated(self) -> bool:
        """Whether the device is not a CPU; a training on a ring has all devices to itself."""
        return self.schedule != "ring" and super().accelerated

    @property
    def is_distributed(self) -> bool:
        """Whether a training may extend over several processes."""
        return self.schedule == "ring"

    def epochs_from(self, train: Ratings, training: Training, done: int, folder: Path) -> Iterator[Model]:
        """See `backends.base.Distributed`."""
        return self._on_ring(train, training, done, folder)

    def _on_ring(self, train: Ratings, training: Training, done: int = 0, folder: Path | None = None) -> Iterator[Model]:
        from mfbench.backends.on_device.rings.ring import train_on_ring

        platform = str(device_named(self.device).platform)
        return train_on_ring(train, training, platform, self.dtype, widest([training]), done, folder)

    def epochs_many(self, train: Ratings, trainings: Sequence[Training]) -> SideBySideTraining:
        """Yield the starts once compiled, then Factors in `dtype` after each epoch, for all trials in one program."""
        if self.schedule == "ring":
            yield from in_turn([self._on_ring(train, one) for one in trainings], trainings[0].hyper.epochs)
            return
        use_compile_cache()
        device, exact, width = device_named(self.device), self.schedule == "waves", widest(trainings)
        with jax.enable_x64(self.dtype == "float64"):
            ratings = ratings_on(device, train, self.dtype, beyond=width)
            tables = tables_on(device, trainings, self.dtype)
            n_slots = () if exact else (train.n_users, train.n_items)
            slots = tuple(jax.device_put(np.zeros((len(trainings), n), np.int32), device) for n in n_slots)
            G, adaptive = (), None
            if trainings[0].hyper.step == "adagrad":
                adaptive = Adaptive.of(train)
                new = (accumulators(len(trainings) * n, self.dtype) for n in (train.n_users, train.n_items))
                G = tuple(jax.device_put(one.reshape(len(trainings), -1, 3), device) for one in new)
        program = partial(_epochs, width=width, bias=trainings[0].hyper.bias, exact=exact, adaptive=adaptive)
        state: Any = (tables, slots, G)

        def run(epochs: Any, groups: int, told: Array) -> Any:
            nonlocal state
            with jax.enable_x64(self.dtype == "float64"):  # not around a yield: it would leak to the caller
                state = program(state, ratings, epochs, groups, told)
            return state[0]

        yield from side_by_side(run, trainings, width, self.dtype)


@partial(jax.jit, donate_argnums=0, static_argnames=("width", "bias", "exact", "adaptive"))
def _epochs(
    state: Any, ratings: Any, epochs: Any, groups: Any, told: Any,
    *, width: int, bias: bool, exact: bool, adaptive: Adaptive | None,
) -> Any:  # fmt: skip
    """`sgd_epoch` for all trials: all arguments but the ratings and the number of groups have a leading axis of trials."""
    one = partial(sgd_epoch, width=width, bias=bias, exact=exact, adaptive=adaptive)
    return jax.vmap(one, in_axes=(0, None, 0, None, 0))(state, ratings, epochs, groups, told)


def _width(offsets: Positions) -> int:
    """The width, a multiple of 64, that waves are split to, so that one program of that width runs them all.

    A step costs as much as its width plus about 64 ratings, however short its wave; this width has the least total cost.
    """
    sizes = np.diff(offsets)
    return min(range(64, 1025, 64), key=lambda width: int(np.ceil(sizes / width).sum()) * (width + 64))
