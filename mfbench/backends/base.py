"""What a backend is: a frozen dataclass of its own knobs that trains, one epoch after another."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


class Model(Protocol):
    """Something that predicts ratings. Once yielded it stays what it is."""

    def predict(self, users: Ints, items: Ints) -> Floats64:
        """float64 [n]: the prediction for each (user, item) pair."""
        ...

    def arrays(self) -> Mapping[str, Floats]:
        """What is saved, by name."""
        ...


class Backend(Protocol):
    """A way to train. It knows no clock, no validation set, no tracking and no search."""

    tunable: ClassVar[frozenset[str]]
    """Which of K, alpha and beta it has a use for; one with none of them is a floor, not searched."""

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:
        """The ratings in the order in which they are best read, and the schedule over them that its knobs ask for.

        rng is for what is drawn once, as an order that is then cut; the ratings are the same ones, `train` itself or a copy.
        """
        ...

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Model]:
        """Yield the start once compiled and warm, then a model after each epoch.

        train: as arranged for the schedule. start is float64, and is not changed. rng is for the order of the ratings, and
        is passed to `schedule.epoch`.
        """
        ...


@runtime_checkable
class HasDevice(Protocol):
    """What a backend has besides if it computes on a device other than the processor, or may."""

    @property
    def hardware(self) -> Mapping[str, str]:
        """What it computes on: `platform` (cpu, gpu, tpu) and what else of it, drivers too, can change a bit."""
        ...

    @property
    def exact(self) -> bool:
        """Whether two runs on this device give the same bits."""
        ...


@dataclass(frozen=True)
class Training:
    """What tells one of the trainings that run side by side from the others; start is float64, and is not changed."""

    start: Factors
    hyper: HyperParams
    schedule: Schedule
    rng: np.random.Generator


SideBySideTraining = Generator[list[Model], npt.NDArray[np.bool_] | None, None]
"""Yields the models of all trials; is sent bool [trials], those that go on, or None for all."""


@runtime_checkable
class SideBySide(Protocol):
    """What a backend has besides if it can train many trials in one program."""

    @property
    def accelerated(self) -> bool:
        """Whether its device is one where side by side is the faster way."""
        ...

    def epochs_many(self, train: Ratings, trainings: Sequence[Training]) -> SideBySideTraining:
        """As `epochs` for each trial at once: each has its own K, alpha, beta, start and order, and none touches another.

        Yield the starts, then all models after each epoch; the caller sends which trials go on. The model of one that does
        not stays what it was.
        """
        ...
