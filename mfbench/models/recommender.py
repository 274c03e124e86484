"""What a trained model is good for: recommendations and their reasons, neighbours, groups of users, the filled-in matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mfbench.core.arrays import Array, Positions
from mfbench.core.errors import InputError
from mfbench.core.files import whole_file
from mfbench.core.randomness import seed_for
from mfbench.matrix.factors import Factors
from mfbench.matrix.predicting import position
from mfbench.matrix.ratings import Ratings, canonical_order
from mfbench.models.ranking import best_unseen
from mfbench.models.trained import TrainedModel, raw_ids

LEAST_RATINGS = 20
"""An item that tells groups of users apart, or is like another, has so many ratings: of one that few know the factors say
little."""
SHARES = (
    "what a rating adds is its part of the score of the user's row refitted to the user's own ratings, without the mean and"
    " the biases; the trained row's score, which is the prediction, may differ from it"
)
"""For people: what the numbers of `Recommender.explain` are."""
CELLS_AT_ONCE = 1 << 20

Side = Literal["user", "item"]


@dataclass(frozen=True)
class Scored:
    """An item or a user by its raw id, its title (the id where there is none), a score, and how many ratings it has."""

    id: Any
    title: str
    score: float
    ratings: int


@dataclass(frozen=True)
class Group:
    """Users with similar factors, and the items that set them apart: those whose predictions are highest above all users'."""

    users: list[Any]
    items: list[Scored]


@dataclass(frozen=True)
class Recommender:
    """A trained model beside the ratings of its users: train and valid; what is in the sealed test part counts as unseen."""

    model: TrainedModel
    known: Ratings
    ridge: float
    seed: int

    def users(self) -> list[Any]:
        """The raw ids of all users that have ratings."""
        return list(self.model.user_ids[np.unique(self.known.users)].tolist())

    def title(self, item: Any) -> str:
        """The title of an item by its raw id; InputError for one that the data lacks."""
        return self._scored("item", self._rows("item", [item]), np.zeros(1))[0].title

    def typed(self, side: Side, ids: Sequence[str]) -> list[Any]:
        """Raw ids as a person types them, as the kind that the data has; InputError where they cannot be that."""
        of = self.model.user_ids if side == "user" else self.model.item_ids
        if of.dtype.kind == "U":
            return list(ids)
        try:
            return [int(one) for one in ids]
        except ValueError:
            raise InputError(f"{side} {', '.join(ids)}: ids are whole numbers here; there are {_some(of)}") from None

    def recommend(self, users: Sequence[Any], n: int = 10) -> dict[Any, list[Scored]]:
        """For each of these users, raw ids, the n unseen items with the highest predictions, best first; fewer are all."""
        if n < 1:
            raise InputError(f"n {n}: ask for 1 item or more")
        rows = self._rows("user", users)
        items, scores = best_unseen(self._factors(), rows.astype(np.int32), self.known, min(n, len(self.model.Q)))
        ids = self.model.user_ids[rows].tolist()
        return {
            user: self._scored("item", best[best >= 0], score[best >= 0])
            for user, best, score in zip(ids, items, scores, strict=True)
        }

    def explain(self, user: Any, items: Sequence[Any], n: int = 5) -> dict[Any, list[Scored]]:
        """For each of these items the ratings of the user's own that carry its score: what each adds to p·q, most first.

        With Q held, the user's row that fits the history best is p = A⁻¹ Σ e_j q_j, e_j being what the mean and the biases
        leave of the rating of item j and A = Σ q_j q_jᵀ + (beta n / 2) I. So item j adds e_j q_jᵀ A⁻¹ q to p·q (Hu, Koren and
        Volinsky 2008, section 5). A model that was trained by small steps is near that fit, not quite at it: see `SHARES`.
        """
        (u,), rows = self._rows("user", [user]), self._rows("item", items)
        K = self.model.Q.shape[1]
        if K == 0:
            raise InputError("explain: this model has no factors, so no rating of the user's carries a score")
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
        """The n users or items whose rows of P or Q have the greatest cosine with that one's, itself left out.

        Of an item they are among those with `LEAST_RATINGS` or more: the row of one with a rating or two still has the
        direction of its few users, or of its start, and would come first by chance. Where the data has no n such items,
        among the n that have most ratings, and those with as many as the last of these.
        """
        (row,) = self._rows(side, [one])
        table = (self.model.P if side == "user" else self.model.Q).astype(np.float64)
        length = np.sqrt(np.einsum("nk,nk->n", table, table))
        if length[row] == 0:
            raise InputError(f"{side} {one}: the model has learned no factors of it; there is nothing to compare")
        others = np.flatnonzero((length > 0) & (np.arange(len(table)) != row))
        if side == "item":
            others = self._well_rated(others, n)
        cosine = np.einsum("nk,k->n", table[others], table[row]) / (length[others] * length[row])
        best = np.argsort(-cosine, kind="stable")[:n]
        return self._scored(side, others[best], cosine[best])

    def groups(self, n: int, titles: int = 8) -> list[Group]:
        """The users that have ratings in n groups by k-means on P, the largest group first, and the items of each."""
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        users = np.flatnonzero(self._counts["user"])
        P, Q = self.model.P[users].astype(np.float64), self.model.Q.astype(np.float64)
        if P.shape[1] == 0:
            raise InputError("groups: this model has no factors to group users by; give a run that has")
        if not 1 <= n <= (most := len(np.unique(P, axis=0))):
            raise InputError(f"{n} groups: give a number from 1 to {most}; so many users have factors of their own")
        state = int(seed_for(self.seed, "groups").generate_state(1)[0])
        with threadpool_limits(1):  # sums of several threads come in no fixed order
            label = KMeans(n, n_init=10, random_state=state).fit(P).labels_
        items = self._well_rated(np.arange(len(Q)), titles)
        members = sorted((np.flatnonzero(label == g) for g in range(n)), key=lambda of: (-len(of), of[0]))
        found = []
        for of in members:
            above = np.einsum("ik,k->i", Q[items], P[of].mean(axis=0) - P.mean(axis=0))
            best = np.argsort(-above, kind="stable")[:titles]
            found.append(Group(self.model.user_ids[users[of]].tolist(), self._scored("item", items[best], above[best])))
        return found

    def fill(self, out: Path) -> int:
        """Write the filled-in matrix as Parquet, a row a cell: user, item, prediction (float64); give the number of cells.

        Block of users after block of users: no more than about a million cells are in memory.
        """
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        names = ("user", "item", "prediction")
        n_users, n_items = len(self.model.user_ids), len(self.model.item_ids)
        with whole_file(out) as file:
            writer = None
            for first in range(0, n_users, block := max(1, CELLS_AT_ONCE // n_items)):
                users = np.arange(first, min(first + block, n_users))
                cells = np.repeat(users, n_items).astype(np.int32), np.tile(np.arange(n_items, dtype=np.int32), len(users))
                prediction = self._factors().predict(*cells)
                columns = self.model.user_ids[cells[0]], self.model.item_ids[cells[1]], prediction
                table = pa.table(dict(zip(names, columns, strict=True)))
                writer = writer or ParquetWriter(file, table.schema)
                writer.write_table(table)
            assert writer is not None
            writer.close()
        return n_users * n_items

    def _factors(self) -> Factors:
        model = self.model
        return Factors(model.P, model.Q, model.user_bias, model.item_bias, model.mean)

    def _well_rated(self, items: Positions, n: int) -> Positions:
        """Those of the items with LEAST_RATINGS or more; where these are fewer than n, with as many as the n-th most."""
        counts = self._counts["item"][items]
        kept: Positions = items[counts >= min([LEAST_RATINGS, *np.sort(counts)[-n:][:1].tolist()])]
        return kept

    def _rows(self, side: Side, ids: Sequence[Any]) -> Positions:
        """int64 [n]: the rows of raw ids; InputError for one that the data lacks."""
        of = self.model.user_ids if side == "user" else self.model.item_ids
        rows = position(of, raw_ids(side, ids, of))
        if (rows < 0).any():
            raise InputError(f"{side} {ids[int(np.argmin(rows))]}: this run's data has no such {side}; it has {_some(of)}")
        return rows

    def _scored(self, side: Side, rows: Iterable[int] | Array, scores: Array) -> list[Scored]:
        """Rows of P or Q as a person reads them."""
        rows = np.asarray(rows)
        ids = (self.model.user_ids if side == "user" else self.model.item_ids)[rows].tolist()
        titles = ids if side == "user" or self.model.titles is None else self.model.titles[rows].tolist()
        counts = self._counts[side][rows].tolist()
        lines: Iterator[tuple[Any, Any, float, int]] = zip(ids, titles, scores.tolist(), counts, strict=True)
        return [Scored(one, str(title) or str(one), score, count) for one, title, score, count in lines]

    @cached_property
    def _by_user(self) -> Ratings:
        return self.known.take(canonical_order(self.known))

    @cached_property
    def _counts(self) -> dict[Side, Positions]:
        """int64 [n_users] and [n_items]: how many ratings each has."""
        known = self.known
        return {
            "user": np.bincount(known.users, minlength=known.n_users),
            "item": np.bincount(known.items, minlength=known.n_items),
        }


def _some(ids: Array) -> str:
    return ", ".join(str(one) for one in ids[:3].tolist()) + (f" and {len(ids) - 3:,} more" if len(ids) > 3 else "")
