"""The ratings arranged for a backend, prepared once for all trials that share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfbench.backends.base import Backend
from mfbench.core.machine import check_memory
from mfbench.core.randomness import generator
from mfbench.data.splits import Parts
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Schedule
from mfbench.runs.jobs import Job
from mfbench.spec import ModelSpec


def check_jobs(jobs: Sequence[Job], parts: Parts) -> None:
    """As `check_size`, for each of these jobs."""
    for job in jobs:
        check_size(parts, job.model, job.model.K if "K" in job.hyper else 0)


def check_size(parts: Parts, model: ModelSpec, K: int) -> None:
    """InputError if the start with K factors, or the scores of all epochs, cannot fit into this machine's memory."""
    rows, scored = parts.n_users + parts.n_items, model.epochs // model.evaluate_every
    check_memory(f"model.K: {K} factors of {rows:,} users and items", 8 * K * rows, "lower K")
    check_memory(f"model.epochs: {scored:,} evaluations", 200 * scored, "lower epochs, or raise model.evaluate_every")


@dataclass(frozen=True)
class Prepared:
    """The ratings in the order in which a backend reads them.

    train: as arranged by the backend for `schedule`. valid: None in a final run, which trains on it, or if the split has
    none. mean: of the training ratings, summed in canonical order, by user and item. rng: in its state after
    arranging; copy it before use, as several trainings start from it.
    """

    train: Ratings
    valid: Ratings | None
    mean: float
    schedule: Schedule
    rng: np.random.Generator


class Preparation:
    """Prepares one training after another, reusing the ratings of the last one if they are the same.

    The trials of a study share the data, the backend's knobs and the seed, so a worker arranges the ratings once for all
    of them. At most one set of ratings is held in memory, that of the current training.
    """

    def __init__(self) -> None:
        self._of: tuple[Path, Backend, int, bool] | None = None
        self._last: Prepared | None = None

    def prepare(self, parts: Parts, backend: Backend, seed: int, whole: bool) -> Prepared:
        """The ratings arranged for this backend. whole: train on train and valid together."""
        wanted = (parts.folder, backend, seed, whole)
        if self._last is None or self._of != wanted:
            self._last = None  # free it first, as there may not be memory for two
            self._of, self._last = wanted, _prepared(*wanted[1:], parts)
        return self._last


def _prepared(backend: Backend, seed: int, whole: bool, parts: Parts) -> Prepared:
    train, valid = parts.train, parts.valid
    if whole and valid is not None:
        train, valid = train.with_(valid), None
    rng = generator(seed, "order")
    mean = train.mean()
    train, schedule = backend.arrange(train, rng)
    return Prepared(train, valid, mean, schedule, rng)
