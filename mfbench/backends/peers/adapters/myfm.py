"""myFM: a Bayesian factorization machine over user and item by Gibbs sampling, which is the model of `bmf`.

K is its rank; it has neither alpha nor beta, as the precisions of all priors are sampled. An epoch is one sweep of its
sampler, and gives one sample; the harness predicts the mean over them, as for `bmf`. Its priors are those of `bmf`. Its mean
is sampled with center: true, its biases with bias: true. It draws its start itself, normal with mean 0 and the standard
deviation of the start that the spec draws, and its random numbers from a seed that the harness draws. float64, one thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


def train(given: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """The samples of MyFMGibbsRegressor, each as the factors, the noise and the priors of a sample of `bmf`."""
    from myfm import MyFMGibbsRegressor
    from scipy.sparse import csr_matrix

    n, n_users = len(given.values), given.n_users
    columns = np.column_stack([given.users.astype(np.int64), n_users + given.items.astype(np.int64)]).ravel()
    shape = (n, n_users + given.n_items)
    X = csr_matrix((np.ones(2 * n), columns, np.arange(0, 2 * n + 1, 2)), shape=shape)
    rated = np.unique(given.users)
    sampler = MyFMGibbsRegressor(
        given.K, init_stdev=float(given.P[rated].std()), random_seed=given.seed, fit_w0=given.center, fit_linear=given.bias
    )
    samples: queue.Queue[Any] = queue.Queue()
    wanted = threading.Semaphore(0)
    stop = threading.Event()

    def on_sample(_: int, fm: Any, hyper: Any, __: Any) -> tuple[bool, None]:
        samples.put(_arrays(fm, hyper, n_users))
        wanted.acquire()
        return stop.is_set(), None

    def run() -> None:
        wanted.acquire()
        try:
            if not stop.is_set():
                shapes = [n_users, given.n_items]
                sampler.fit(
                    X, given.values.astype(np.float64), n_iter=given.epochs, n_kept_samples=1, group_shapes=shapes,
                    callback=on_sample,
                )  # fmt: skip
        except BaseException as error:
            samples.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield {}
        for _ in range(given.epochs):
            wanted.release()
            sample = samples.get()
            if isinstance(sample, BaseException):
                raise sample
            yield sample
    finally:
        stop.set()
        wanted.release()
        thread.join()


def _arrays(fm: Any, hyper: Any, n_users: int) -> dict[str, Any]:
    w, V = np.array(fm.w), np.array(fm.V)
    means = np.column_stack([np.array(hyper.mu_V), np.array(hyper.mu_w)])  # [2 groups, K + 1]
    precisions = np.column_stack([np.array(hyper.lambda_V), np.array(hyper.lambda_w)])
    of_users, of_items = (np.stack([means[g], precisions[g]], axis=1) for g in (0, 1))
    return {
        "P": V[:n_users], "Q": V[n_users:], "user_bias": w[:n_users], "item_bias": w[n_users:], "mean": np.float64(fm.w0),
        "noise": np.float64(hyper.alpha), "user_priors": of_users, "item_priors": of_items,
    }  # fmt: skip
