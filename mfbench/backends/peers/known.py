"""The peers that mfbench has adapters for. How K, alpha and beta translate stands in each adapter's docstring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mfbench.backends.base import AtLeast1, Model
from mfbench.backends.peers.peer import Peer
from mfbench.core.arrays import Array
from mfbench.matrix.factors import Factors
from mfbench.matrix.posterior import Posterior, Sample
from mfbench.matrix.ratings import Ratings
from mfbench.spec.fields import Penalty, StepSize


@dataclass(frozen=True)
class Surprise(Peer):
    """Peer: SVD of Surprise, plain SGD with biases, on one thread.

    The rule of `loop` with order: rows and simultaneous: true, from the spec's start; lr = 2 alpha, reg = beta / 2.
    """

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta"})
    peer: ClassVar[str] = "surprise"
    package: ClassVar[str] = "scikit-surprise"
    sent: ClassVar[Mapping[str, Any]] = {"algorithm": "svd"}


@dataclass(frozen=True)
class SurpriseSvdpp(Peer):
    """Peer: SVD++ of Surprise, which also learns from which items a user rated.

    lr = 2 alpha and reg = beta / 2 as of `surprise`, also for the implicit factors. An epoch takes time in proportion to the
    sum of the squares of the users' numbers of ratings.
    """

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta"})
    peer: ClassVar[str] = "surprise"
    package: ClassVar[str] = "scikit-surprise"
    sent: ClassVar[Mapping[str, Any]] = {"algorithm": "svdpp"}


@dataclass(frozen=True)
class SurpriseBaseline(Peer):
    """Peer: the baseline of Surprise, the mean and regularized biases without factors.

    Its options are those of Surprise's `bsl_options`, and have its defaults where they are null: reg_u 15, reg_i 10 and
    10 n_epochs for als; reg 0.02, learning_rate 0.005 and 20 n_epochs for sgd.
    """

    method: Literal["als", "sgd"] = "als"
    n_epochs: AtLeast1 | None = None
    reg_u: Penalty | None = None
    reg_i: Penalty | None = None
    reg: Penalty | None = None
    learning_rate: StepSize | None = None

    tunable: ClassVar[frozenset[str]] = frozenset()
    peer: ClassVar[str] = "surprise"
    package: ClassVar[str] = "scikit-surprise"
    sent: ClassVar[Mapping[str, Any]] = {"algorithm": "baseline"}


@dataclass(frozen=True)
class Myfm(Peer):
    """Peer: the Gibbs sampler of myFM, the model and the priors of `bmf`.

    burn_in, kept: as of `bmf`, which predicts from the samples in the same way.
    """

    burn_in: Annotated[int, Field(ge=0)] = 8
    kept: AtLeast1 = 100

    tunable: ClassVar[frozenset[str]] = frozenset({"K"})
    peer: ClassVar[str] = "myfm"
    package: ClassVar[str] = "myfm"

    def model(self, arrays: Mapping[str, Array], train: Ratings, epoch: int, last: Model | None) -> Model:
        """The posterior with one more sample."""
        factors = super().model(arrays, train, epoch, last)
        assert isinstance(factors, Factors)
        sample = Sample(factors, float(arrays["noise"]), arrays["user_priors"], arrays["item_priors"])
        posterior = last if isinstance(last, Posterior) else Posterior((), sample, self.kept)
        return posterior.after(sample, forget=epoch == self.burn_in)


@dataclass(frozen=True)
class Cornac(Peer):
    """Peer: MF of Cornac, SGD with biases in float32, on one thread."""

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta"})
    peer: ClassVar[str] = "cornac"
    package: ClassVar[str] = "cornac"


@dataclass(frozen=True)
class Lenskit(Peer):
    """Peer: BiasedMF of LensKit, ALS after fixed, damped biases.

    damping: of these biases, for users and items.
    """

    damping: Penalty = 5.0

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "beta"})
    peer: ClassVar[str] = "lenskit"
    package: ClassVar[str] = "lenskit"


@dataclass(frozen=True)
class Keras(Peer):
    """Peer: embeddings trained by Adam in Keras, the model of `adam`.

    batch_size: ratings per batch.
    """

    batch_size: AtLeast1 = 1000

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta"})
    peer: ClassVar[str] = "keras"
    package: ClassVar[str] = "keras"


@dataclass(frozen=True)
class Cmfrec(Peer):
    """Peer: CMF of cmfrec, ALS on the objective of `als`, compiled when it is installed.

    n_iter: its passes, which it makes in one go.
    """

    n_iter: AtLeast1 = 10

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "beta"})
    peer: ClassVar[str] = "cmfrec"
    package: ClassVar[str] = "cmfrec"
    in_one_go: ClassVar[bool] = True


@dataclass(frozen=True)
class Spark(Peer):
    """Peer: ALS of Spark on one machine, without biases; needs Java 17 or newer.

    n_iter: its passes, which it makes in one go. blocks: into which it divides users and items; another number gives another
    result.
    """

    n_iter: AtLeast1 = 10
    blocks: AtLeast1 = 10

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "beta"})
    peer: ClassVar[str] = "spark"
    package: ClassVar[str] = "pyspark"
    in_one_go: ClassVar[bool] = True
