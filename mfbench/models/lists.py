"""Top-k lists of all users of a part, what in them is relevant, and the ranking metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfbench.backends.base import Model
from mfbench.core.arrays import Array, Positions
from mfbench.matrix.metrics import mean_or_none
from mfbench.matrix.ratings import Ratings
from mfbench.models.ranking import best_unseen


@dataclass(frozen=True)
class Lists:
    """The lists of the m users of a part, against the items that each of them rated `relevant` or more there.

    users: int64 [m]. items: int64 [m, k], best first, -1 where there is no further candidate. hits: bool [m, k], whether
    that item is relevant to that user. n_relevant: int64 [m], the number of each user's relevant items, in the list or not.

    Candidates are all items in train that the user has not rated there; none are sampled (Krichene and Rendle, KDD 2020). A
    relevant item without a rating in train is no candidate and counts as missed.
    """

    users: Positions
    items: Positions
    hits: Array
    n_relevant: Positions

    @staticmethod
    def of(model: Model, train: Ratings, part: Ratings, k: int, relevant: float) -> Lists:
        """The lists of length k, for a model that was trained on `train`, given in any order."""
        users = np.unique(part.users).astype(np.int64)
        items, _ = best_unseen(model, users.astype(part.users.dtype), train, k)
        wanted = part.take(part.values >= relevant)
        cells = users[:, None] * part.n_items + items
        hits = (items >= 0) & np.isin(cells, wanted.users.astype(np.int64) * part.n_items + wanted.items)
        return Lists(users, items, hits, np.bincount(wanted.users, minlength=part.n_users)[users])


def ranking_metrics(lists: Lists, popularity: Positions, lengths: Sequence[int]) -> dict[str, float | int | None]:
    """The ranking metrics of the first k places for each k of `lengths`. popularity: int64 [n_items], ratings in train.

    Users without relevant items are left out of all but coverage, the share of all candidates that is in any list (Ge et
    al., RecSys 2010), and popularity, the mean over users of the mean number of train ratings of the items in the list (Yin
    et al., VLDB 2012).
    """
    judged = lists.n_relevant > 0
    found: dict[str, float | int | None] = {
        "n_relevant": int(lists.n_relevant.sum()), "n_users_relevant": int(judged.sum()),
    }  # fmt: skip
    filled = lists.items >= 0
    for k in lengths:
        each = _by_user(lists.hits[judged, :k], lists.n_relevant[judged])
        found |= {f"{name}_{k}": mean_or_none(values) for name, values in each.items()}
        listed, length = np.where(filled, popularity[lists.items], 0)[:, :k], filled[:, :k].sum(axis=1)
        found[f"coverage_{k}"] = len(np.unique(lists.items[:, :k][filled[:, :k]])) / np.count_nonzero(popularity)
        found[f"popularity_{k}"] = mean_or_none(listed.sum(axis=1)[length > 0] / length[length > 0])
    return found


def _by_user(hits: Array, n_relevant: Positions) -> dict[str, Array]:
    """[users] by metric. hits: bool [users, k], whether place j of a list holds one of the user's |R| > 0 relevant items.

    precision Σ h_j / k; recall Σ h_j / |R|; hit_rate 1 if Σ h_j > 0; map, the average precision Σ h_j precision_j / |R|, as
    in trec_eval; mrr, the reciprocal rank 1 / j of the first relevant item, 0 if there is none (Voorhees, TREC-8, 1999);
    ndcg Σ h_j / log2(j + 1), divided by the same sum for a list that begins with min(k, |R|) relevant items (Järvelin and
    Kekäläinen, TOIS 2002, with gains of 0 and 1).
    """
    k = hits.shape[1]
    places = np.arange(1, k + 1)
    discount = 1 / np.log2(places + 1)
    so_far = np.cumsum(hits, axis=1)
    ideal = np.cumsum(discount)[np.minimum(n_relevant, k) - 1]
    return {
        "precision": so_far[:, -1] / k,
        "recall": so_far[:, -1] / n_relevant,
        "ndcg": np.sum(hits * discount, axis=1) / ideal,
        "map": np.sum(hits * so_far / places, axis=1) / n_relevant,
        "mrr": np.max(hits / places, axis=1, initial=0.0),
        "hit_rate": so_far[:, -1] > 0,
    }
