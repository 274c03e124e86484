"""A posterior over factor models, represented by samples: the mean prediction and its predictive deviation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mfbench.core.arrays import Array, Floats, Floats64, Ints
from mfbench.matrix.factors import Factors
from mfbench.matrix.predicting import spread


@dataclass(frozen=True)
class Sample:
    """One draw of a factor model, of the noise of ratings around its predictions, and of the priors of its rows.

    noise: a precision. user_priors, item_priors: float64 [K + 1, 2], the mean and the precision of each factor, and of the
    bias last.
    """

    factors: Factors
    noise: float
    user_priors: Floats64
    item_priors: Floats64


@dataclass(frozen=True)
class Posterior:
    """The samples drawn so far, thinned evenly to at most `limit`.

    samples: those kept. latest: the last one drawn. count: the number drawn, without those dropped by `forget`; a training
    is scored by the mean over all of them (see `models.scoring.Scorer`). stride: one sample in `stride` is kept.

    The mean prediction of S samples with K factors is the prediction of one model with S K factors, P = [P_1 ... P_S] / √S
    and Q likewise: `factors`. So a posterior is saved, and used for predictions and recommendations, like a factor model.
    """

    samples: tuple[Sample, ...]
    latest: Sample
    limit: int
    count: int = 0
    stride: int = 1

    def after(self, sample: Sample, forget: bool = False) -> Posterior:
        """The posterior with this sample added. forget: drop all samples before it."""
        if forget:
            return Posterior((sample,), sample, self.limit, 1)
        count, stride, kept = self.count + 1, self.stride, self.samples
        if count % stride == 0:
            kept = (*kept, sample)
        if len(kept) > self.limit:
            stride, kept = 2 * stride, kept[1::2]
        return Posterior(kept, sample, self.limit, count, stride)

    @cached_property
    def factors(self) -> Factors:
        """The model that predicts the mean over the kept samples; before the first sample, the start."""
        models = [one.factors for one in self.samples]
        if not models:
            return self.latest.factors
        share = len(models) ** -0.5

        def mean(arrays: list[Floats]) -> Floats:
            average: Floats64 = np.mean(arrays, axis=0, dtype=np.float64)
            return average.astype(arrays[0].dtype)

        return Factors(
            np.concatenate([one.P for one in models], axis=1) * models[0].P.dtype.type(share),
            np.concatenate([one.Q for one in models], axis=1) * models[0].Q.dtype.type(share),
            mean([one.user_bias for one in models]),
            mean([one.item_bias for one in models]),
            float(np.mean([one.mean for one in models])),
        )

    def predict(self, users: Ints, items: Ints) -> Floats64:
        """float64 [n]: the mean prediction over the kept samples."""
        return self.factors.predict(users, items)

    def spread(self, users: Ints, items: Ints) -> Floats64 | None:
        """float64 [n]: the standard deviation of a rating around its prediction; None before the first sample."""
        return spread(self.arrays(), users, items)

    def arrays(self) -> dict[str, Array]:
        """The arrays to save: those of `factors`, and for the S kept samples sample_user_bias [n_users, S], sample_item_bias
        [n_items, S], sample_mean [S], sample_noise [S] (precisions), sample_user_priors and sample_item_priors
        [S, K + 1, 2].
        """
        models = [one.factors for one in self.samples]
        if not models:
            return dict(self.factors.arrays())
        return {
            **self.factors.arrays(),
            "sample_user_bias": np.stack([one.user_bias for one in models], axis=1),
            "sample_item_bias": np.stack([one.item_bias for one in models], axis=1),
            "sample_mean": np.array([one.mean for one in models]),
            "sample_noise": np.array([one.noise for one in self.samples]),
            "sample_user_priors": np.stack([one.user_priors for one in self.samples]),
            "sample_item_priors": np.stack([one.item_priors for one in self.samples]),
        }


def factors_of(model: object) -> Factors | None:
    """The factors that a model predicts with; None if it is not a factor model."""
    if isinstance(model, Posterior):
        return model.factors
    return model if isinstance(model, Factors) else None
