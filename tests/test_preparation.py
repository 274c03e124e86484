"""What trials share is made ready once, and changes no bit of them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from trainings import job

from mfbench.backends.loop import Loop
from mfbench.data.splits import Parts, parts_of
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Schedule
from mfbench.runs.preparation import Preparation
from mfbench.runs.records import Stage
from mfbench.runs.training import train_and_record
from mfbench.spec import load_spec


@pytest.fixture
def parts(workplace: Path, small: dict[str, Any]) -> Parts:
    assert Path.cwd() == workplace
    return parts_of(load_spec(small))


@dataclass(frozen=True)
class Counted(Loop):
    """Counts how often it arranges, and whether an earlier arrangement is still held then."""

    held: ClassVar[list[int]] = []
    made: ClassVar[list[weakref.ref[Any]]] = []

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:
        """As `Loop`, on a copy."""
        self.held.append(sum(ref() is not None for ref in self.made))
        copy = train.take(np.arange(len(train)))
        self.made.append(weakref.ref(copy.values))
        return super().arrange(copy, rng)


def test_the_ratings_are_arranged_once_for_what_is_the_same_and_let_go_before_others_are(parts: Parts) -> None:
    preparation, one, other = Preparation(), Counted(), Counted(order="rows")
    for backend, seed, whole in [(one, 3, False), (one, 3, False), (one, 4, False), (other, 4, False), (other, 4, True)]:
        preparation.prepare(parts, backend, seed, whole)
    assert Counted.held == [0, 0, 0, 0]


@pytest.mark.parametrize("backend", ["loop", "numba", "jax", "adam", "mean"])
def test_trials_after_one_another_are_what_each_is_alone(parts: Parts, small: dict[str, Any], backend: str) -> None:
    spec, shared = load_spec(small), Preparation()
    stages: list[Stage] = ["trial", "trial", "final", "trial"]
    for number, stage in enumerate(stages):
        one = job(spec, backend, stage, number, K=3 + number)
        assert train_and_record([one], parts, None, shared)[0].result == train_and_record([one], parts)[0].result
