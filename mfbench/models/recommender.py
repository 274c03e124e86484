"""What a trained model is used for: recommendations, explanations, neighbours, groups of users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Positions
from mfbench.core.errors import InputError
from mfbench.core.randomness import seed_for
from mfbench.matrix.factors import Factors
from mfbench.matrix.predicting import position
from mfbench.matrix.ratings import Ratings, canonical_order
from mfbench.models.filled import fill
from mfbench.models.fold_in import Side
from mfbench.models.ranking import best_unseen
from mfbench.models.trained import TrainedModel, raw_ids

LEAST_RATINGS = 20
"""Neighbours of an item, and items that characterise a group of users, have at least this many ratings: the factors of an
item with few ratings say little."""
SHARES = (
    "each number is what that rating adds to p·q (the score without the mean and the biases) after refitting the user's"
    " factors p to the user's own ratings; the prediction uses the trained factors, so it may differ"
)
"""For the user: the meaning of the numbers of `Recommender.explain`."""


@dataclass(frozen=True)
class Scored:
    """An item or a user: its raw id, title (the id if it has none), score, and number of ratings."""

    id: Any
    title: str
    score: float
    ratings: int


@dataclass(frozen=True)
class Group:
    """Users with similar factors, and the items that characterise them: predicted higher for them than for all users."""

    users: list[Any]
    items: list[Scored]


@dataclass(frozen=True)
class Recommender:
    """A trained model and the ratings of its users in train and valid; items of the sealed test part count as unseen.

    ridge: beta / 2, the penalty that `explain` refits with. seed: of the k-means in `groups`.
    """

    model: TrainedModel
    known: Ratings
    ridge: float
    seed: int

    def users(self) -> list[Any]:
        """The raw ids of all users with ratings."""
        return list(self.model.user_ids[np.unique(self.known.users)].tolist())

    def title(self, item: Any) -> str:
        """The title of an item by its raw id; InputError for an unknown item."""
        return self._scored("item", self._rows("item", [item]), np.zeros(1))[0].title

    def typed(self, side: Side, ids: Sequence[str]) -> list[Any]:
        """Convert typed raw ids to the type of the ids in the data, text or int; InputError if they are not numbers."""
        known = self.model.user_ids if side == "user" else self.model.item_ids
        if known.dtype.kind == "U":
            return list(ids)
        try:
            return [int(text) for text in ids]
        except ValueError:
            raise InputError(f"{side} {', '.join(ids)}: {side} ids are whole numbers; choose from {_some(known)}") from None

    def recommend(self, users: Sequence[Any], n: int = 10) -> dict[Any, list[Scored]]:
        """At most n unseen items for each of these users (raw ids), those with the highest predictions, best first.

        >>> P, Q = np.array([[1.0], [0.0]]), np.array([[1.0], [0.5], [-1.0]])
        >>> ids = np.array([1, 2]), np.array([10, 20, 30])
        >>> model = TrainedModel(P, Q, np.zeros(2), np.zeros(3), 3.0, *ids, titles=np.array(["Alien", "Brazil", "Cube"]))
        >>> known = Ratings(np.array([0, 1, 1], np.int32), np.array([0, 1, 2], np.int32), np.array([5.0, 3.0, 2.0]), 2, 3)
        >>> for item in Recommender(model, known, ridge=0.05, seed=0).recommend([1], n=2)[1]:
        ...     print(item.id, item.title, item.score)
        20 Brazil 3.5
        30 Cube 2.0
        """
        _check_count(n)
        rows = self._rows("user", users)
        items, scores = best_unseen(self.model.factors(), rows.astype(np.int32), self.known, min(n, len(self.model.Q)))
        ids = self.model.user_ids[rows].tolist()
        return {
            user: self._scored("item", best[best >= 0], score[best >= 0])
            for user, best, score in zip(ids, items, scores, strict=True)
        }

    def recommend_to_new(self, items: Sequence[Any], ratings: Sequence[float], n: int = 10) -> list[Scored]:
        """At most n items for a user whom the model was not trained with, from the ratings of these items (raw ids)."""
        _check_count(n)
        folded, new = self.model.fold_in(items, ratings), self.known.n_users
        rated = position(self.model.item_ids, raw_ids("item", items, self.model.item_ids)).astype(np.int32)
        rated = rated[rated >= 0]
        theirs = Ratings(np.full(len(rated), new, np.int32), rated, np.zeros(len(rated)), new + 1, self.known.n_items)
        P, bias = np.concatenate([self.model.P, folded.P]), np.concatenate([self.model.user_bias, folded.user_bias])
        factors = Factors(P, self.model.Q, bias, self.model.item_bias, self.model.mean)
        seen = replace(self.known, n_users=new + 1).with_(theirs)
        (best,), (scores,) = best_unseen(factors, np.array([new], np.int32), seen, min(n, self.known.n_items))
        return self._scored("item", best[best >= 0], scores[best >= 0])

    def explain(self, user: Any, items: Sequence[Any], n: int = 5) -> dict[Any, list[Scored]]:
        """For each of these items, the n of the user's own ratings that add most to its p·q, the largest first.

        With Q fixed, the row that best fits the user's history is p = A⁻¹ Σ e_j q_j, where e_j is the rating of item j minus
        mean and biases, and A = Σ q_j q_jᵀ + (beta n / 2) I. So item j adds e_j q_jᵀ A⁻¹ q to p·q (Hu, Koren and Volinsky
        2008, section 5). A model trained by small steps comes close to that fit, but not quite: see `SHARES`.
        """
        _check_count(n)
        (u,), rows = self._rows("user", [user]), self._rows("item", items)
        K = self.model.Q.shape[1]
        if K == 0:
            raise InputError("explain: this model has no factors to explain a score by; give a run that has")
        mine = slice(*np.searchsorted(self._by_user.users, np.array([u, u + 1], dtype=np.int32)))
        history, values = self._by_user.items[mine], self._by_user.values[mine]
        Q = self.model.Q[history].astype(np.float64)
        left = values - self.model.mean - self.model.user_bias[u] - self.model.item_bias[history]
        A = Q.T @ Q + self.ridge * len(history) * np.eye(K)
        parts_of_p = left[:, None] * (Q @ np.linalg.pinv(A, rcond=K * np.finfo(np.float64).eps, hermitian=True))
        reasons = {}
        for item, row in zip(self.model.item_ids[rows].tolist(), rows, strict=True):
            added = np.einsum("hk,k->h", parts_of_p, self.model.Q[row].astype(np.float64))
            most = np.argsort(-added, kind="stable")[:n]
            reasons[item] = self._scored("item", history[most], added[most])
        return reasons

    def similar(self, side: Side, one: Any, n: int = 10) -> list[Scored]:
        """The n other users or items whose rows of P or Q have the highest cosine similarity with that one's.

        Items must have `LEAST_RATINGS` or more: the row of an item with a rating or two still points where its few users, or
        its initial values, point, and would rank high by chance. If there are fewer than n such items, the n with the most
        ratings qualify, and those with as many as the last of these.
        """
        _check_count(n)
        (row,) = self._rows(side, [one])
        table = (self.model.P if side == "user" else self.model.Q).astype(np.float64)
        length = np.sqrt(np.einsum("nk,nk->n", table, table))
        if length[row] == 0:
            raise InputError(
                f"{side} {one}: the model has learned no factors for it; give a {side} with ratings and a run with factors"
            )
        others = np.flatnonzero((length > 0) & (np.arange(len(table)) != row))
        if side == "item":
            others = self._well_rated(others, n)
        cosine = np.einsum("nk,k->n", table[others], table[row]) / (length[others] * length[row])
        best = np.argsort(-cosine, kind="stable")[:n]
        return self._scored(side, others[best], cosine[best])

    def groups(self, n: int, titles: int = 8) -> list[Group]:
        """Group the users with ratings by k-means on P: n groups, the largest first, each with its characteristic items."""
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        users = np.flatnonzero(self._counts["user"])
        P, Q = self.model.P[users].astype(np.float64), self.model.Q.astype(np.float64)
        if P.shape[1] == 0:
            raise InputError("groups: this model has no factors to group users by; give a run that has")
        if not 1 <= n <= (most := len(np.unique(P, axis=0))):
            raise InputError(f"{n} groups: give a number from 1 to {most}, the number of users with different factors")
        if titles < 1:
            raise InputError(f"{titles} titles: give a number from 1, the characteristic items to list for each group")
        state = int(seed_for(self.seed, "groups").generate_state(1)[0])
        with threadpool_limits(1):  # several threads would sum in no fixed order
            label = KMeans(n, n_init=10, random_state=state).fit(P).labels_
        items = self._well_rated(np.arange(len(Q)), titles)
        groups = []
        for rows in sorted((np.flatnonzero(label == g) for g in range(n)), key=lambda rows: (-len(rows), rows[0])):
            above = np.einsum("ik,k->i", Q[items], P[rows].mean(axis=0) - P.mean(axis=0))
            best = np.argsort(-above, kind="stable")[:titles]
            groups.append(Group(self.model.user_ids[users[rows]].tolist(), self._scored("item", items[best], above[best])))
        return groups

    def fill(self, out: Path) -> int:
        """Write the filled-in matrix as CSV, Parquet or npz, see `models.filled`; return the number of cells."""
        return fill(self.model, out)

    def _well_rated(self, items: Positions, n: int) -> Positions:
        """The items with LEAST_RATINGS or more; if fewer than n have that, the n with the most ratings, ties included."""
        counts = self._counts["item"][items]
        kept: Positions = items[counts >= min([LEAST_RATINGS, *np.sort(counts)[-n:][:1].tolist()])]
        return kept

    def _rows(self, side: Side, ids: Sequence[Any]) -> Positions:
        """int64 [n]: the rows of raw ids; InputError for an unknown one."""
        known = self.model.user_ids if side == "user" else self.model.item_ids
        rows = position(known, raw_ids(side, ids, known))
        if (rows < 0).any():
            raise InputError(f"{side} {ids[int(np.argmin(rows))]}: unknown {side}; choose from {_some(known)}")
        return rows

    def _scored(self, side: Side, rows: Iterable[int] | Array, scores: Array) -> list[Scored]:
        """Rows of P or Q with their scores, by id and title."""
        rows = np.asarray(rows)
        ids = (self.model.user_ids if side == "user" else self.model.item_ids)[rows].tolist()
        titles = ids if side == "user" or self.model.titles is None else self.model.titles[rows].tolist()
        counts = self._counts[side][rows].tolist()
        lines: Iterator[tuple[Any, Any, float, int]] = zip(ids, titles, scores.tolist(), counts, strict=True)
        return [Scored(raw_id, str(title) or str(raw_id), score, count) for raw_id, title, score, count in lines]

    @cached_property
    def _by_user(self) -> Ratings:
        return self.known.take(canonical_order(self.known))

    @cached_property
    def _counts(self) -> dict[Side, Positions]:
        """int64 [n_users] and [n_items]: the number of ratings of each user and item."""
        known = self.known
        return {
            "user": np.bincount(known.users, minlength=known.n_users),
            "item": np.bincount(known.items, minlength=known.n_items),
        }


def _check_count(n: int) -> None:
    if n < 1:
        raise InputError(f"n {n}: ask for 1 or more")


def _some(ids: Array) -> str:
    """The first ids and how many more there are, for a message."""
    return ", ".join(map(str, ids[:3].tolist())) + (f" and {len(ids) - 3:,} more" if len(ids) > 3 else "")
