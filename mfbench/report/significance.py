"""Which runs are statistically indistinguishable from the best: paired tests over the users of the same held-out part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mfbench.core.arrays import Array, Floats64
from mfbench.core.errors import RecordError
from mfbench.core.randomness import generator
from mfbench.runs.record_files import errors_beside, errors_path, find_record, later_repeats, leave_out
from mfbench.runs.records import Record

DRAWS = 10_000
LEVEL = 0.05
ROUNDING = 1e-6  # of the RMSE: about what factors in float32 can tell
SEED = 0  # not the spec's, so that a leaderboard of runs from several specs is reproducible too
USERS_AT_ONCE = 1 << 18  # drawn together, which bounds the memory


@dataclass(frozen=True)
class AgainstBest:
    """A run's RMSE minus that of the best, √(Σ e² / n) each, with its 95 % confidence interval and two p-values.

    difference_low, difference_high: the percentile interval of the paired bootstrap over users. p_bootstrap: twice the
    smaller share of draws on one side of 0 (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, 13.3 and 15.4).
    p_holm: of Wilcoxon's signed-rank test over the users' own RMSE (Demšar, JMLR 7, 2006), corrected for the number of runs
    compared with the best (Holm, Scand. J. Statist. 6, 1979).

    Σ e² and n are summed over the folds of a k-fold split, so the difference is not quite that of the mean RMSEs. If a final
    run was repeated with several seeds, each user's Σ e² is the mean over them.
    """

    difference: float
    difference_low: float
    difference_high: float
    p_bootstrap: float
    p_holm: float

    @property
    def is_distinguishable(self) -> bool:
        """True if both tests agree that they differ: 0 lies outside the closed interval, and p_holm < 0.05."""
        return not self.difference_low <= 0 <= self.difference_high and self.p_holm < LEVEL


def against_best(ranked: Sequence[Record]) -> dict[str, AgainstBest]:
    """Compare each run with the first (the best on valid) that has scores on the same part; by run key.

    Finals and floors are compared on test, plain runs on valid. The order is by valid, so the test part selects nothing.
    A run is left out if no per-user errors were saved with its record, or if its splits are not those of the first.
    """
    done = [record for record in ranked if record.outcome == "completed"]
    tested = [record for record in done if record.test_rmse is not None]
    plain = [record for record in done if record.stage == "run" and record.valid_rmse is not None]
    return _against_first(tested, "test") | _against_first(plain, "valid")


def _against_first(judged: Sequence[Record], part: str) -> dict[str, AgainstBest]:
    errors = [(record.run_key, errors_of(record, part)) for record in judged]
    if not errors or (first := errors[0][1]) is None:
        return {}
    same = {key: one.squared for key, one in errors if one is not None and one.splits == first.splits}
    if len(same) < 2:
        return {}
    return dict(zip(list(same)[1:], compare(np.stack(list(same.values())), first.counts), strict=True))


def compare(squared: Floats64, count: Array) -> list[AgainstBest]:
    """Compare each run after the first with the first.

    squared: float64 [runs, users], Σ e² of each user. count: int [users], their numbers of ratings; users with none are left
    out. A run whose RMSE differs for no user by more than rounding counts as equal to the first; without that, a gap of one
    sign and the size of rounding would be significant. The draws depend on the order of the users; callers sort them by id.
    """
    rated = count > 0
    squared, count = squared[:, rated], count[rated]
    by_user = np.sqrt(squared / count)
    gaps = np.abs(by_user - by_user[0]).max(axis=1, initial=0)
    squared = np.where(gaps[:, None] > ROUNDING * np.sqrt(squared[0].sum() / count.sum()), squared, squared[0])
    of_whole = np.sqrt(squared.sum(axis=1) / count.sum())
    drawn = _drawn(np.vstack([squared, count]).tobytes(), len(count))
    corrected = holm([_wilcoxon(np.sqrt(one / count) - np.sqrt(squared[0] / count)) for one in squared[1:]])
    found = []
    for rmse, draws, p in zip(of_whole[1:].tolist(), drawn[1:], corrected, strict=True):
        differences = draws - drawn[0]
        low, high = np.quantile(differences, [LEVEL / 2, 1 - LEVEL / 2]).tolist()
        # Counting the sample itself as a draw keeps p above 0 (Davison and Hinkley, 1997, 4.2).
        fewer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0)) + 1
        found.append(AgainstBest(rmse - float(of_whole[0]), low, high, min(1.0, 2 * fewer / (DRAWS + 1)), p))
    return found


def rmse_intervals(squared: Floats64, count: Array) -> list[tuple[float, float]]:
    """The 95 % interval of each run's RMSE, by the percentiles of the bootstrap over users; the arrays as in `compare`."""
    squared, count = squared[:, count > 0], count[count > 0]
    drawn = _drawn(np.vstack([squared, count]).tobytes(), len(count))
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], axis=1).tolist()
    return list(zip(low, high, strict=True))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: for the k-th smallest of m, the largest (m - j + 1) p_j over j ≤ k, but at most 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.array(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    p[order] = np.minimum(1, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]))
    return [float(one) for one in p]


def _wilcoxon(differences: Floats64) -> float:
    """The two-sided p-value; users whose difference is 0 are left out, and without any others it is 1."""
    from scipy.stats import wilcoxon  # takes half a second to import

    return float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0


@lru_cache(maxsize=4)
def _drawn(table: bytes, users: int) -> Floats64:
    """float64 [runs, DRAWS]: the RMSE of each run over `users` users drawn with replacement, the same draws for all runs.

    table: float64 [runs + 1, users] as bytes: Σ e² of each run, then the counts. Bytes are hashable, so the cache serves the
    several tables that a sweep makes of the same runs.
    """
    rows = np.frombuffer(table).reshape(-1, users)
    rng = generator(SEED, "bootstrap")
    sums = np.empty((len(rows), DRAWS))
    step = max(1, USERS_AT_ONCE // users)
    for first in range(0, DRAWS, step):
        n = min(step, DRAWS - first)
        drawn = rng.integers(users, size=(n, users)) + users * np.arange(n)[:, None]
        times = np.bincount(drawn.ravel(), minlength=n * users).reshape(n, users).astype(np.float64)
        sums[:, first : first + n] = np.einsum(
            "ru,du->rd", rows, times
        )  # sums in a fixed order, which a threaded product does not
    rmse: Floats64 = np.sqrt(sums[:-1] / sums[-1])
    return rmse


class UserErrors(NamedTuple):
    """Σ e² (float64 [n_users]) and number of ratings (int [n_users]) of each user, over a run's parts of these splits."""

    splits: set[str]
    squared: Floats64
    counts: Array


def errors_of(record: Record, part: str) -> UserErrors | None:
    """The errors on that part; None if there are none, or not all are finite.

    For the mean of several repeats: averaged over the repeats on one split (the seeds), then summed over the splits (the
    folds, whose valid parts share no rating).
    """
    mean = record.intervals.get(f"{part}_rmse")
    try:
        repeats = [record, *filter(None, map(find_record, later_repeats(record)))] if mean else [record]
    except RecordError as error:
        leave_out(error)
        return None
    if len(repeats) != (mean.n if mean else 1):
        return None
    found: dict[str, list[dict[str, Array]]] = {}
    for one in repeats:
        arrays = errors_beside(one)
        if arrays is None or not _fit(arrays, one, part):
            return None
        found.setdefault(one.data.split_digest, []).append(arrays)
    means = [np.mean([arrays["user_squared_error"] for arrays in each], axis=0) for _, each in sorted(found.items())]
    squared = np.sum(means, axis=0)
    counts = np.sum([each[0]["user_count"] for each in found.values()], axis=0)
    return UserErrors(set(found), squared, counts) if np.all(np.isfinite(squared)) else None


def _fit(arrays: Mapping[str, Array], record: Record, part: str) -> bool:
    """Whether these are errors of that many users and ratings; if not, a LeftOutWarning says so."""
    squared, counts = (arrays.get(name, np.empty(0)) for name in ("user_squared_error", "user_count"))
    shaped = squared.shape == counts.shape == (record.data.n_users,)
    kinds = shaped and squared.dtype.kind == "f" and counts.dtype.kind == "i" and counts.min() >= 0
    if kinds and counts.sum() == getattr(record.data, f"n_{part}"):
        return True
    leave_out(RecordError(f"{errors_path(record.path)}: these are not the errors of {record.run_key}; repeat that run"))
    return False
