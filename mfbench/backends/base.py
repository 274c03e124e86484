"""The interface of a backend: a frozen dataclass of its own knobs that trains, one epoch after another."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mfbench.core.arrays import Floats, Floats64, Ints
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Schedule

AtLeast1 = Annotated[int, Field(ge=1)]
"""The type of a knob that is a number of things; checked where a spec is read."""
Threads = Annotated[int, Field(ge=1, le=1024)]
"""The type of a number of threads: more than any machine has cores would only be started, and wait."""


class Model(Protocol):
    """A model that predicts ratings. It does not change after it has been yielded."""

    def predict(self, users: Ints, items: Ints) -> Floats64:
        """float64 [n]: the prediction for each (user, item) pair."""
        ...

    def arrays(self) -> Mapping[str, Floats]:
        """The arrays to save, by name."""
        ...


class Backend(Protocol):
    """A training algorithm. It knows nothing of clocks, validation, tracking and search."""

    tunable: ClassVar[frozenset[str]]
    """Which of K, alpha and beta it uses; a backend with none of them is a floor, which is not searched."""

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:
        """The ratings in the order that is fastest to read, and the schedule over them that the knobs select.

        The ratings are `train` itself or a reordered copy. rng: for draws made once per training, such as fixed groups.
        """
        ...

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Model]:
        """Yield the start once all code is compiled, then a model after each epoch.

        train: as returned by `arrange`. start: float64, must not be changed. rng: passed to `schedule.epoch`, which draws
        the order of the ratings from it.
        """
        ...


@runtime_checkable
class HasDevice(Protocol):
    """Optional interface of a backend that can compute on a device other than the CPU."""

    @property
    def hardware(self) -> Mapping[str, str]:
        """Its device: `platform` (cpu, gpu, tpu) and all else that can change the bits of a result, drivers included."""
        ...

    @property
    def exact(self) -> bool:
        """Whether two runs on this device give the same bits."""
        ...


@dataclass(frozen=True)
class Training:
    """One of several trainings that run side by side; its fields are the arguments of `Backend.epochs`."""

    start: Factors
    hyper: HyperParams
    schedule: Schedule
    rng: np.random.Generator


SideBySideTraining = Generator[list[Model], npt.NDArray[np.bool_] | None, None]
"""Yields the models of all trials; is sent bool [trials], True for those to train on, or None for all."""


@runtime_checkable
class SideBySide(Protocol):
    """Optional interface of a backend that can train many trials in one program."""

    @property
    def accelerated(self) -> bool:
        """Whether training side by side is faster on its device."""
        ...

    def epochs_many(self, train: Ratings, trainings: Sequence[Training]) -> SideBySideTraining:
        """Like `epochs`, for all trials at once: each has its own K, alpha, beta, start and order, and no effect on others.

        Yield the starts, then all models after each epoch; the caller sends which trials to train on. The model of a trial
        that has ended does not change.
        """
        ...


@runtime_checkable
class Spread(Protocol):
    """Optional interface of a model that lies on several devices, or in several processes, all of which call it alike."""

    def score(self, ratings: Ratings) -> tuple[float, float]:
        """RMSE and MAE over n > 0 ratings, computed where the model lies; inf or nan if predictions overflowed."""
        ...

    def gathered(self) -> Factors:
        """The whole model, in the memory of each process."""
        ...

    def save(self, folder: Path) -> None:
        """Write the state of the training to files in this folder, which all processes share; return when all have."""
        ...


@runtime_checkable
class Distributed(Protocol):
    """Optional interface of a backend that yields models that are `Spread`, and can go on from what these have saved."""

    checkpoint_every: int

    @property
    def is_distributed(self) -> bool:
        """Whether it does so with its present knobs."""
        ...

    def epochs_from(self, train: Ratings, training: Training, done: int, folder: Path) -> Iterator[Model]:
        """As `Backend.epochs`, after `done` epochs: first yield the model of that epoch, which was saved in the folder."""
        ...
