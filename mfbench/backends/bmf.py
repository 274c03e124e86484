"""Bayesian matrix factorization by Gibbs sampling: the prediction is a mean over samples of the factors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from mfbench.backends.base import AtLeast1, Threads
from mfbench.backends.on_device.optional import OptionalDevice
from mfbench.core.arrays import Array, Floats64, Positions
from mfbench.core.machine import core_list
from mfbench.matrix.compiled import compiled
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.posterior import Posterior, Sample
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Rows, Schedule

Dtype = Literal["float32", "float64"]

CHUNK = 64
"""Rows that a thread draws at a time; rows with the most ratings come first, so that threads finish together."""


@dataclass(frozen=True)
class Bmf(OptionalDevice):
    """Bayesian matrix factorization by Gibbs sampling on all cores: K is its only tunable hyperparameter.

    r = mean + user_bias[u] + item_bias[i] + p·q + noise. The noise is normal around 0, with a precision that is sampled too.
    Each family of values (the user biases, the item biases, factor f of P, factor f of Q) has a normal prior whose mean and
    precision are sampled too. An epoch is one Gibbs sweep: it draws each value once, given all others, first the bias and
    the factors of each user in turn, then those of each item (Rendle, *Factorization machines with libFM*, TIST 2012). The
    mean is sampled with center: true, the biases with bias: true.

    After each epoch the model predicts the mean over the samples drawn so far. burn_in: the first epochs, whose samples are
    discarded once there are later ones. kept: the maximal number of samples that a model keeps, after even thinning; it
    determines the size of the model file. dtype: of the samples. threads: by default all cores that the process may use;
    each row has its own random numbers, so the number of threads does not change a bit. device: with gpu, tpu, cpu, cpu:0,
    ... JAX draws many rows at once on that device; as it is given the same random numbers, the samples differ by rounding.
    """

    burn_in: Annotated[int, Field(ge=0)] = 8
    kept: AtLeast1 = 100
    dtype: Dtype = "float32"
    threads: Threads | None = None
    device: str | None = None

    tunable: ClassVar[frozenset[str]] = frozenset({"K"})

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:  # noqa: ARG002
        """The ratings in stored order; another order would change the samples only by rounding."""
        return train, Rows(len(train))

    def epochs(
        self,
        train: Ratings,
        start: Factors,
        hyper: HyperParams,
        schedule: Schedule,  # noqa: ARG002
        rng: np.random.Generator,
    ) -> Iterator[Posterior]:
        """Yield the start once compiled, then the posterior after each epoch."""
        threads = self.threads or len(core_list())
        with ThreadPoolExecutor(threads) as pool:

            def draw(own: Side, other: Side) -> Draw:
                if self.device is None:
                    return _Compiled(own, other, hyper.bias, pool, threads)
                from mfbench.backends.on_device.bmf import DrawInJax  # imports jax: only if it is needed

                return DrawInJax(own, other, hyper.bias, self.device)

            chain = _Chain(train, start, self.dtype, rng, draw)
            posterior = Posterior((), chain.sample(), self.kept)
            chain.warm_up()
            yield posterior
            for epoch in range(hyper.epochs):
                chain.step()
                # Burn-in samples are used until there are later ones, so that every epoch has a model to score.
                posterior = posterior.after(chain.sample(), forget=epoch == self.burn_in)
                yield posterior


class Side:
    """The users or the items: their factors and biases, their ratings, and the order in which threads draw them."""

    def __init__(self, table: Array, bias: Array, rows: Array, others: Array, values: Array):
        self.table, self.bias = table, bias
        order = np.argsort(rows, kind="stable")
        count = np.bincount(rows, minlength=len(table))
        self.offsets = np.concatenate([[0], np.cumsum(count)])
        self.others, self.values = others[order], values[order]
        self.rated = np.flatnonzero(count)
        self.rated = self.rated[np.argsort(-count[self.rated], kind="stable")]
        self.most = int(count.max(initial=0))
        self.errors = np.zeros((len(table), 2))  # Σ e and Σ e² over the ratings of a row, e = prediction - rating


class Draw(Protocol):
    """Draws all rated rows of one side in place, given the other side, and leaves the sums of their errors."""

    def __call__(self, mean: float, noise: float, priors: Floats64, normal: Floats64) -> None:
        """noise: a precision. priors, normal: see `_draw_rows`; without normal numbers it only compiles."""
        ...


class _Chain:
    """The Markov chain of the sampler; its state is one draw of all values."""

    def __init__(
        self, train: Ratings, start: Factors, dtype: str, rng: np.random.Generator, draw: Callable[[Side, Side], Draw]
    ):
        values = train.values.astype(np.float64)
        tables = (start.P, start.user_bias, train.users, train.items), (start.Q, start.item_bias, train.items, train.users)
        self._users, self._items = (
            Side(table.astype(dtype), b.astype(dtype), rows, others, values) for table, b, rows, others in tables
        )
        self._draws = draw(self._users, self._items), draw(self._items, self._users)
        self._n, self._mean, self._centered = len(train), start.mean, start.mean != 0.0
        self._noise, self._rng = 1.0, rng
        self._priors = [np.tile([0.0, 1.0], (start.P.shape[1] + 1, 1)) for _ in range(2)]
        error = start.predict(train.users, train.items) - values
        self._items.errors[self._items.rated[0]] = error.sum(), (error * error).sum()  # a row that the next sweep overwrites

    def sample(self) -> Sample:
        """A copy of the current state."""
        copies = (one.copy() for one in (self._users.table, self._items.table, self._users.bias, self._items.bias))
        P, Q, user_bias, item_bias = copies
        return Sample(Factors(P, Q, user_bias, item_bias, self._mean), self._noise, *self._priors)

    def warm_up(self) -> None:
        """Compile the code of `step`, without changing the state."""
        for draw, priors in zip(self._draws, self._priors, strict=True):
            draw(self._mean, self._noise, priors, np.zeros((0, len(priors))))

    def step(self) -> None:
        """One Gibbs sweep: draw the noise precision and the mean, then the users, then the items."""
        rng, (total, squares) = self._rng, self._items.errors.sum(axis=0)
        self._noise = float(rng.gamma((1 + self._n) / 2, 2 / (1 + squares)))
        if self._centered:
            precision = self._noise * self._n + 1
            self._mean = float(rng.normal(self._noise * (self._mean * self._n - total) / precision, precision**-0.5))
        for number, side in enumerate((self._users, self._items)):
            values = np.column_stack([side.table[side.rated], side.bias[side.rated]]).astype(np.float64)
            priors = np.array([_prior(family, rng) for family in values.T])  # one for each factor, then one for the bias
            normal = rng.standard_normal(values.shape)
            self._priors[number] = priors
            self._draws[number](self._mean, self._noise, priors, normal)


@dataclass(frozen=True)
class _Compiled:
    """Draws by compiled code on threads, each with a chunk of rows at a time."""

    own: Side
    other: Side
    biased: bool
    pool: ThreadPoolExecutor
    threads: int

    def __call__(self, mean: float, noise: float, priors: Floats64, normal: Floats64) -> None:
        own, other, n = self.own, self.other, len(normal)
        arguments = (
            own.offsets, own.others, own.values, own.table, own.bias, other.table, other.bias, own.errors, own.most, mean,
            noise, self.biased, priors,
        )  # fmt: skip

        threads = min(self.threads, max(1, -(-n // CHUNK)))

        def work(thread: int) -> None:
            for first in range(thread * CHUNK, max(n, 1), threads * CHUNK):
                rows = slice(first, min(first + CHUNK, n))
                _draw_rows(*(own.rated[rows], *arguments, normal[rows]))

        for task in [self.pool.submit(work, thread) for thread in range(threads)]:
            task.result()


def _prior(values: Floats64, rng: np.random.Generator) -> tuple[float, float]:
    """Draw the mean and the precision of a family's prior, given its values.

    The precision has the prior Gamma(1/2, rate 1/2); given the precision, the mean is normal around 0 with that precision.
    """
    m, mean = len(values), values.sum() / (1 + len(values))
    precision = rng.gamma((1 + m) / 2, 2 / (1 + ((values - mean) ** 2).sum() + mean**2))
    return rng.normal(mean, (precision * (1 + m)) ** -0.5), precision


@compiled(reordered=True)
def _draw_rows(
    rows: Array, offsets: Positions, others: Array, values: Array, table: Array, bias: Array, other_table: Array,
    other_bias: Array, errors: Array, most: int, mean: float, noise: float, biased: bool, priors: Array, normal: Array,
) -> None:  # fmt: skip
    """Draw the biases and the factors of these rows in place, one row after another, given the other side.

    priors: [K + 1, 2], mean and precision of each factor and of the bias. normal: [rows, K + 1], standard normal numbers.
    """
    K = table.shape[1]
    h = np.empty((K, most), table.dtype)
    e = np.empty(most, table.dtype)
    zero = table.dtype.type(0)
    for r in range(len(rows)):
        row = rows[r]
        first = offsets[row]
        n = offsets[row + 1] - first
        for j in range(n):
            other = others[first + j]
            e[j] = mean + bias[row] + other_bias[other] - values[first + j]
            for k in range(K):
                h[k, j] = other_table[other, k]
        for k in range(K):
            p = table[row, k]
            for j in range(n):
                e[j] += p * h[k, j]
        if biased:
            total = zero
            for j in range(n):
                total += e[j]
            mu, weight = priors[K]
            precision = weight + noise * n
            centre = (noise * (n * np.float64(bias[row]) - total) + weight * mu) / precision
            drawn = table.dtype.type(centre + normal[r, K] / np.sqrt(precision))
            moved = drawn - bias[row]
            bias[row] = drawn
            for j in range(n):
                e[j] += moved
        for k in range(K):
            hh, eh = zero, zero
            for j in range(n):
                hh += h[k, j] * h[k, j]
                eh += e[j] * h[k, j]
            mu, weight = priors[k]
            precision = weight + noise * hh
            centre = (noise * (np.float64(table[row, k]) * hh - eh) + weight * mu) / precision
            drawn = table.dtype.type(centre + normal[r, k] / np.sqrt(precision))
            moved = drawn - table[row, k]
            table[row, k] = drawn
            for j in range(n):
                e[j] += moved * h[k, j]
        total, squares = 0.0, 0.0
        for j in range(n):
            total += np.float64(e[j])
            squares += np.float64(e[j]) * np.float64(e[j])
        errors[row, 0], errors[row, 1] = total, squares
