"""A model as its file holds it, with row numbers of users and items as in training: to evaluate it again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mfbench.backends.base import Model
from mfbench.backends.embeddings.network import Network
from mfbench.core.arrays import Array, Floats64, Ints
from mfbench.core.errors import RecordError
from mfbench.core.files import load_model_arrays
from mfbench.matrix.factors import NOT_THE_MODEL, Factors, check_digest
from mfbench.matrix.predicting import spread


@dataclass(frozen=True)
class SavedPosterior(Factors):
    """The mean over the samples of a posterior, and what of the samples is saved, see `Posterior.arrays`."""

    saved: Mapping[str, Array] = field(default_factory=dict)

    def spread(self, users: Ints, items: Ints) -> Floats64 | None:
        """float64 [n]: the standard deviation of a rating around its prediction."""
        return spread(self.saved, users, items)


def saved_model(path: Path, digest: str | None) -> Model:
    """Read the model in a run's npz file, with the bits that it had when it was trained.

    digest: of its arrays, from the run's record. RecordError if the file is missing, damaged or of another run, or if its
    arrays are those of no built-in backend.
    """
    arrays = {name: array for name, array in load_model_arrays(path).items() if name not in NOT_THE_MODEL}
    check_digest(arrays, digest, path)
    factors = Factors.of(arrays)
    if factors is not None:
        return SavedPosterior(**vars(factors), saved=arrays) if "sample_mean" in arrays else factors
    if "kernel_1" in arrays:
        numbers = itertools.takewhile(lambda n: f"kernel_{n}" in arrays, itertools.count(1))
        layers = tuple((arrays[f"kernel_{n}"], arrays[f"bias_{n}"]) for n in numbers)
        P, Q, user_bias, item_bias = (arrays[n] for n in ("user_embedding", "item_embedding", "user_bias", "item_bias"))
        return Network(P, Q, user_bias, item_bias, float(arrays["mean"]), layers)
    raise RecordError(
        f"{path}: only factor models and networks can be evaluated from their file, not the arrays"
        f" {', '.join(sorted(arrays))}; name the metric in evaluation.extra of the spec and run it again"
    )
