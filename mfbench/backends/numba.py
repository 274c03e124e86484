"""The plain loop, compiled and on all cores; the number of threads does not change a bit of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Barrier
from typing import Any, ClassVar, Literal

import numpy as np

from mfbench.backends.base import AtLeast1, Threads
from mfbench.core.arrays import Array
from mfbench.core.machine import core_list
from mfbench.matrix.compiled import CACHE_LINE, aligned, compiled, prefetch, unsigned
from mfbench.matrix.cuts import blocks, shuffled, waves
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Epoch, Replayed, Schedule
from mfbench.matrix.steps import BIAS, FIRST_HALF, Adaptive, accumulators

AHEAD = 6
"""The number of ratings between the one whose rows are being fetched from memory and the one that is trained on."""

Cut = Literal["blocks", "waves", "rows"]
Dtype = Literal["float32", "float64"]


@dataclass(frozen=True)
class Numba:
    """Plain SGD, compiled and on all cores: what `loop` computes over the same schedule, a hundred times as fast.

    schedule: "blocks" divides users and items into `blocks` parts each, once; the blocks on a diagonal of this grid share
    no user and no item, so they run in parallel, and the diagonals are run in a new random order each epoch. "waves" cuts
    one shuffled order into groups that share no user and no item, run in a new random order each epoch; they are too short
    to be worth a second thread. "rows" keeps the stored order, by user and item, on one thread. blocks: also the largest
    useful number of threads; it changes the result, so it does not depend on the machine. threads: by default all cores that
    the process may use; the number does not change the result. dtype: the type of the factors and of the arithmetic.
    simultaneous: update q with the p from before the rating, as `loop` does; with "rows" and float64 this is Surprise's SVD.
    """

    schedule: Cut = "blocks"
    blocks: AtLeast1 = 16
    threads: Threads | None = None
    dtype: Dtype = "float32"
    simultaneous: bool = False

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta", "step", "decay"})

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:
        """The ratings sorted by block or by wave, or as they are, and the schedule over them."""
        if self.schedule == "rows":
            return train, Replayed(np.array([0, len(train)]))
        if self.schedule == "blocks":
            return blocks(train, self.blocks, rng)
        arranged, offsets = waves(train, shuffled(len(train), rng))
        return arranged, Replayed(offsets)

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Factors]:
        """Yield the start once compiled, then Factors in `dtype` after each epoch; overflow gives inf or nan."""
        tables: tuple[Any, ...] = tuple(aligned(t, self.dtype) for t in (start.P, start.Q, start.user_bias, start.item_bias))
        beta, mean = np.array([hyper.beta, start.mean], self.dtype)
        values = train.values.astype(self.dtype, copy=False)
        columns: tuple[Any, ...] = (*unsigned(train.users, train.items), values)
        threads = self.threads or len(core_list())

        def snapshot() -> Factors:
            P, Q, user_bias, item_bias = (aligned(table, self.dtype) for table in tables)
            return Factors(P, Q, user_bias, item_bias, start.mean)

        sweep: Callable[..., None] = _sweep_simultaneous if self.simultaneous else _sweep
        more: tuple[Any, ...] = ()
        if hyper.step == "adagrad":
            sweep, adaptive, K = _sweep_adagrad, Adaptive.of(train), start.P.shape[1]
            G = (accumulators(len(start.P), self.dtype), accumulators(len(start.Q), self.dtype))
            halves = aligned(np.arange(K) < FIRST_HALF, self.dtype)
            more = (*G, halves, *np.array([1 / adaptive.s, adaptive.gain, adaptive.bias_gain], self.dtype))

        def arguments(epoch: int) -> tuple[Any, ...]:
            """What the compiled loop is given in that epoch, after the tables."""
            alpha = np.asarray(hyper.rate(epoch), self.dtype)[()]
            return (*tables, alpha, beta, mean, hyper.bias, *((*more, epoch > 0) if more else ()))

        nothing = np.zeros(1, np.int64)
        sweep(nothing, nothing, 0, 0, 1, *columns, *arguments(0))  # compiles, and changes nothing
        yield snapshot()
        with ThreadPoolExecutor(threads) as pool:
            for number in range(hyper.epochs):
                epoch = schedule.epoch(rng)
                ordered = columns if epoch.order is None else tuple(column[epoch.order] for column in columns)
                _run(sweep, epoch, min(threads, epoch.lanes), pool, (*ordered, *arguments(number)))
                yield snapshot()


def _run(sweep: Callable[..., None], epoch: Epoch, threads: int, pool: ThreadPoolExecutor, arguments: tuple[Any, ...]) -> None:
    """One pass. Groups that share nothing are distributed over threads, which wait for each other at the end of a stretch.

    Python threads, which run in parallel as the compiled code releases the GIL, belong to this training alone. Numba's own
    threads have one setting per process, and some of its threading layers abort the process if two callers use them at once.
    """
    bounds, barrier = epoch.stretches(threads), Barrier(threads)

    def work(thread: int) -> None:
        try:
            for first, end in pairwise(bounds):
                sweep(epoch.sequence, epoch.offsets, first + thread, end, threads, *arguments)
                barrier.wait()
        except BaseException:
            barrier.abort()  # otherwise the other threads would wait for ever
            raise

    others = [pool.submit(work, thread) for thread in range(1, threads)]
    work(0)
    for other in others:
        other.result()


@compiled(reordered=True)
def _sweep(
    sequence: Array, offsets: Array, first: int, end: int, by: int,
    users: Array, items: Array, values: Array,
    P: Array, Q: Array, user_bias: Array, item_bias: Array, alpha: float, beta: float, mean: float, bias: bool,
) -> None:  # fmt: skip
    """The update rule for each rating of the groups sequence[first:end:by], in place."""
    K = np.uint32(P.shape[1])
    last = len(users) - 1
    for s in range(first, end, by):
        for n in range(offsets[sequence[s]], offsets[sequence[s] + 1]):
            u, i, ahead = users[n], items[n], min(n + AHEAD, last)
            prefetch(P, users[ahead], 0)  # the processor itself fetches the lines that follow
            prefetch(Q, items[ahead], 0)
            prediction = mean + user_bias[u] + item_bias[i]
            for k in range(K):
                prediction += P[u, k] * Q[i, k]
            e = values[n] - prediction
            e2 = e + e  # not 2 * e, which Numba would compute in float64
            for k in range(K):
                p, q = P[u, k], Q[i, k]
                p += alpha * (e2 * q - beta * p)
                q += alpha * (e2 * p - beta * q)  # with the p just written
                P[u, k], Q[i, k] = p, q
            if bias:
                user_bias[u] += alpha * (e2 - beta * user_bias[u])
                item_bias[i] += alpha * (e2 - beta * item_bias[i])


@compiled(reordered=True)
def _sweep_simultaneous(
    sequence: Array, offsets: Array, first: int, end: int, by: int,
    users: Array, items: Array, values: Array,
    P: Array, Q: Array, user_bias: Array, item_bias: Array, alpha: float, beta: float, mean: float, bias: bool,
) -> None:  # fmt: skip
    """Like `_sweep`, but q is updated with the p that was read: a function of its own, so that the other stays as fast."""
    K = np.uint32(P.shape[1])
    for s in range(first, end, by):
        for n in range(offsets[sequence[s]], offsets[sequence[s] + 1]):
            u, i = users[n], items[n]
            prediction = mean + user_bias[u] + item_bias[i]
            for k in range(K):
                prediction += P[u, k] * Q[i, k]
            e = values[n] - prediction
            e2 = e + e
            for k in range(K):
                p, q = P[u, k], Q[i, k]
                P[u, k] = p + alpha * (e2 * q - beta * p)
                Q[i, k] = q + alpha * (e2 * p - beta * q)
            if bias:
                user_bias[u] += alpha * (e2 - beta * user_bias[u])
                item_bias[i] += alpha * (e2 - beta * item_bias[i])


@compiled(reordered=True)
def _sweep_adagrad(
    sequence: Array, offsets: Array, first: int, end: int, by: int,
    users: Array, items: Array, values: Array,
    P: Array, Q: Array, user_bias: Array, item_bias: Array, alpha: float, beta: float, mean: float, bias: bool,
    G_user: Array, G_item: Array, halves: Array, per_s: float, gain: float, bias_gain: float, whole: bool,
) -> None:  # fmt: skip
    """The rule of `matrix.steps` for each rating of the groups sequence[first:end:by], in place.

    One pass over both rows gives the error, and the sums of squared gradients by |2 e q - beta p|² = (2 e)² |q|² -
    4 e beta p·q + beta² |p|²; a second one updates. halves: [K], 1 in the first half of a row and 0 in the second. whole:
    both halves move.
    """
    K = np.uint32(P.shape[1])
    line, last = CACHE_LINE // P.itemsize, len(users) - 1
    half = min(K, np.uint32(FIRST_HALF))
    zero, both = P.dtype.type(0), whole and half < K
    rate, gain1 = alpha * per_s, gain / P.dtype.type(half)
    rate2, gain2 = (rate, gain / P.dtype.type(K - half)) if both else (zero, zero)
    for s in range(first, end, by):
        for n in range(offsets[sequence[s]], offsets[sequence[s] + 1]):
            u, i, ahead = users[n], items[n], min(n + AHEAD, last)
            for k in range(0, K, line):
                prefetch(P, users[ahead], k)
                prefetch(Q, items[ahead], k)
            pq, pp, qq = zero, zero, zero
            for k in range(K):
                p, q = P[u, k], Q[i, k]
                pq += p * q
                pp += p * p
                qq += q * q
            pq1, pp1, qq1 = zero, zero, zero  # of the first half; what is left is of the second
            for k in range(half):
                p, q = P[u, k], Q[i, k]
                pq1 += p * q
                pp1 += p * p
                qq1 += q * q
            e = values[n] - (mean + user_bias[u] + item_bias[i] + pq)
            e2 = e + e  # not 2 * e: Numba would go on in float64
            step_p, step_q = rate2 / np.sqrt(G_user[u, 1]), rate2 / np.sqrt(G_item[i, 1])
            more_p, more_q = rate / np.sqrt(G_user[u, 0]) - step_p, rate / np.sqrt(G_item[i, 0]) - step_q
            a, b, c = e2 * e2, (e2 + e2) * beta, beta * beta
            G_user[u, 0] += gain1 * (a * qq1 - b * pq1 + c * pp1)
            G_item[i, 0] += gain1 * (a * pp1 - b * pq1 + c * qq1)
            G_user[u, 1] += gain2 * (a * (qq - qq1) - b * (pq - pq1) + c * (pp - pp1))
            G_item[i, 1] += gain2 * (a * (pp - pp1) - b * (pq - pq1) + c * (qq - qq1))
            for k in range(K):
                p, q = P[u, k], Q[i, k]
                P[u, k] = p + (step_p + more_p * halves[k]) * (e2 * q - beta * p)
                Q[i, k] = q + (step_q + more_q * halves[k]) * (e2 * p - beta * q)
            if bias:
                d_u, d_i = e2 - beta * user_bias[u], e2 - beta * item_bias[i]
                user_bias[u] += alpha * d_u / np.sqrt(G_user[u, BIAS])
                item_bias[i] += alpha * d_i / np.sqrt(G_item[i, BIAS])
                G_user[u, BIAS] += bias_gain * d_u * d_u
                G_item[i, BIAS] += bias_gain * d_i * d_i
