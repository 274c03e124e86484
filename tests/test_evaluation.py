"""The metric contract: by hand, and against scikit-learn and trec_eval (through ir-measures) on random cases."""

from __future__ import annotations

import math
import re
from typing import Any

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG
from sklearn.metrics import mean_absolute_error, ndcg_score, root_mean_squared_error

from mfbench.matrix.factors import Factors
from mfbench.matrix.ratings import Ratings
from mfbench.models.evaluation import Metrics, evaluate, quintiles
from mfbench.spec import Evaluation, load_spec, run_study_key, study_key

USERS, ITEMS = 14, 16


def case(seed: int, share: float) -> tuple[Factors, Ratings, Ratings]:
    """A model with tied predictions, train, and a part; some users and items of the part are not in train."""
    rng = np.random.default_rng(seed)
    users, items = (index.astype(np.int32) for index in np.nonzero(rng.random((USERS, ITEMS)) < share))
    ratings = Ratings(users, items, (rng.integers(1, 11, len(users)) / 2).astype(np.float32), USERS, ITEMS)
    in_part = rng.random(len(ratings)) < 0.4
    in_part |= np.isin(ratings.users, [1, 5]) | np.isin(ratings.items, [0, 7])
    in_part[-1:], in_part[:1] = False, True
    sizes: list[tuple[int, ...]] = [(USERS, 2), (ITEMS, 2), (USERS,), (ITEMS,)]
    P, Q, user_bias, item_bias = (rng.integers(-2, 3, size) / 2 for size in sizes)
    model = Factors(P, Q, user_bias, item_bias, mean=3.5)
    return model, ratings.take(~in_part), ratings.take(in_part)


cases = st.builds(case, st.integers(0, 10**6), st.sampled_from([0.1, 0.3, 0.7]))


def close(value: float | int | None, expected: Any) -> bool:
    return value is not None and math.isclose(value, expected, rel_tol=1e-12, abs_tol=1e-12)


def by_user(part: Ratings, expected: Any, predicted: Any, metric: Any) -> float:
    """The mean over users of what scikit-learn says of each."""
    each = [metric(expected[part.users == user], predicted[part.users == user]) for user in np.unique(part.users)]
    return float(np.mean(each))


@settings(max_examples=50, deadline=None)
@given(case=cases)
def test_errors_are_those_of_scikit_learn(case: tuple[Factors, Ratings, Ratings]) -> None:
    model, train, part = case
    told = evaluate(model, train, part, "test", Evaluation())
    lo, hi = train.values.min(), train.values.max()
    known = np.isin(part.users, train.users) & np.isin(part.items, train.items)
    for which, rows in (("", part), ("_known", part.take(known))):
        assert (told[f"n_test{which}"], told[f"n_test_users{which}"]) == (len(rows), len(set(rows.users)))
        raw = model.predict(rows.users, rows.items)
        for how, predicted in (("", raw), ("_clipped", np.clip(raw, lo, hi))):
            for name, metric in (("rmse", root_mean_squared_error), ("mae", mean_absolute_error)):
                if len(rows) == 0:
                    assert told[f"test_{name}{which}{how}"] is told[f"test_{name}{which}_user{how}"] is None
                    continue
                if which or how:
                    assert close(told[f"test_{name}{which}{how}"], metric(rows.values, predicted))
                assert close(told[f"test_{name}{which}_user{how}"], by_user(rows, rows.values, predicted, metric))
    assert "test_rmse" not in told
    every = np.abs(part.values - model.predict(part.users, part.items))
    for share in (50, 90, 95):
        assert close(told[f"test_abs_error_{share}"], np.percentile(every, share))


@settings(max_examples=50, deadline=None)
@given(case=cases)
def test_groups_are_whole_and_their_errors_those_of_scikit_learn(case: tuple[Factors, Ratings, Ratings]) -> None:
    model, train, part = case
    told = evaluate(model, train, part, "test", Evaluation())
    predicted = model.predict(part.users, part.items)

    def fifth(index: Any, one: int) -> int:
        counts = [int(np.sum(index == other)) for other in set(index.tolist())]
        own = int(np.sum(index == one))
        return 1 + 5 * sum(count < own for count in counts) // len(counts) if own else 0

    groups: dict[str, list[Any]] = {
        "rating": [f"{value:g}" for value in part.values],
        "activity": [fifth(train.users, user) for user in part.users],
        "popularity": [fifth(train.items, item) for item in part.items],
    }
    for kind, group in groups.items():
        named = {name: n for name, n in told.items() if name.startswith(f"n_test_{kind}_")}
        assert sum(n for n in named.values() if n is not None) == len(part)
        for name, n in named.items():
            mine = np.array([f"n_test_{kind}_{one}" == name for one in group])
            assert n == mine.sum()
            for metric, judge in (("rmse", root_mean_squared_error), ("mae", mean_absolute_error)):
                value = told[f"test_{metric}_{name.removeprefix('n_test_')}"]
                assert close(value, judge(part.values[mine], predicted[mine])) if n else value is None


def ranking(model: Factors, train: Ratings, user: int) -> list[int]:
    """The candidates of a user by prediction, then by item."""
    candidates = sorted(set(train.items.tolist()) - set(train.items[train.users == user].tolist()))
    scores = {item: model.predict(np.array([user]), np.array([item]))[0] for item in candidates}
    return sorted(candidates, key=lambda item: (-scores[item], item))


@settings(max_examples=50, deadline=None)
@given(case=cases, relevant=st.sampled_from([0.5, 3.5, 4.5, 5.0]))
def test_lists_are_judged_as_by_trec_eval(case: tuple[Factors, Ratings, Ratings], relevant: float) -> None:
    model, train, part = case
    told = evaluate(model, train, part, "test", Evaluation(k=[1, 3, 20], relevant=relevant))
    wanted = part.take(part.values >= relevant)
    assert (told["n_test_relevant"], told["n_test_users_relevant"]) == (len(wanted), len(set(wanted.users)))
    lists = {user: ranking(model, train, user) for user in sorted(set(part.users.tolist()))}
    for k in (1, 3, 20):
        shown = {user: items[:k] for user, items in lists.items()}
        assert close(told[f"test_coverage_{k}"], len({i for items in shown.values() for i in items}) / len(set(train.items)))
        counts = [np.mean([np.sum(train.items == item) for item in items]) for items in shown.values() if items]
        assert close(told[f"test_popularity_{k}"], np.mean(counts)) if counts else told[f"test_popularity_{k}"] is None
    measures = {"precision": P, "recall": R, "ndcg": nDCG, "map": AP, "hit_rate": Success, "mrr": RR}
    if not len(wanted):
        assert all(told[f"test_{name}_{k}"] is None for name in measures for k in (1, 3, 20))
        return
    judged = [
        ir_measures.Qrel(str(user), str(item), 1)
        for user, item in zip(wanted.users.tolist(), wanted.items.tolist(), strict=True)
    ]
    # trec_eval breaks ties by name, so it is given the places; a user whose list is empty finds a stranger there.
    ranked = [
        ir_measures.ScoredDoc(str(user), str(item), -place)
        for user, items in lists.items()
        for place, item in enumerate(items or ["none"])
    ]
    expected = ir_measures.calc_aggregate([m @ k for m in measures.values() for k in (1, 3, 20)], judged, ranked)
    for name, measure in measures.items():
        for k in (1, 3, 20):
            assert close(told[f"test_{name}_{k}"], expected[measure @ k])


def test_ndcg_is_that_of_scikit_learn_where_nothing_ties() -> None:
    rng = np.random.default_rng(5)
    gains = rng.random((30, 40)) < 0.2
    gains[:, 0] = True
    scores = rng.normal(size=gains.shape)
    users, items = (index.astype(np.int32) for index in np.nonzero(gains))
    part = Ratings(users, items, np.full(len(users), 5, np.float32), 31, 40)
    # A last user, who is not judged, makes all items known; Q = 1 and P = scores give just these predictions.
    train = Ratings(np.full(40, 30, np.int32), np.arange(40, dtype=np.int32), np.full(40, 3, np.float32), 31, 40)
    model = Factors(np.vstack([scores, np.zeros(40)]), np.eye(40), np.zeros(31), np.zeros(40), 0.0)
    told = evaluate(model, train, part, "valid", Evaluation(k=[1, 7, 40]))
    for k in (1, 7, 40):
        assert close(told[f"valid_ndcg_{k}"], ndcg_score(gains, scores, k=k))


def test_a_list_by_hand() -> None:
    """One user who wants items 1, 2 and 9 and gets 1, 3, 2: found in places 1 and 3, while 9 is unknown to train."""
    users = np.zeros(3, np.int32)
    part = Ratings(users, np.array([1, 2, 9], np.int32), np.array([4, 5, 4.5], np.float32), 2, 10)
    train = Ratings(np.array([0, 1, 1, 1], np.int32), np.arange(4, dtype=np.int32), np.array([5, 2, 3, 4], np.float32), 2, 10)
    bias = np.array([9, 4, 2, 3, 0, 0, 0, 0, 0, 0.0])
    model = Factors(np.zeros((2, 0)), np.zeros((10, 0)), np.zeros(2), bias, 0.0)
    told = evaluate(model, train, part, "test", Evaluation(k=[3]))
    expected: Metrics = {
        "test_precision_3": 2 / 3, "test_recall_3": 2 / 3, "test_hit_rate_3": 1.0, "test_map_3": (1 + 2 / 3) / 3,
        "test_ndcg_3": (1 + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2), "test_coverage_3": 3 / 4, "test_popularity_3": 1.0,
        "n_test": 3, "n_test_known": 2, "n_test_relevant": 3, "n_test_users": 1, "n_test_users_relevant": 1,
        "test_rmse_clipped": math.sqrt((0 + 9 + 2.5**2) / 3), "test_mae_known": 1.5, "test_rmse_rating_4.5": 4.5,
        "test_bias_rating_4.5": -4.5, "test_bias_popularity_1": (0 - 3) / 2,
        "n_test_popularity_0": 1, "n_test_popularity_1": 2, "n_test_activity_1": 3,
    }  # fmt: skip
    assert {name: told[name] for name in expected} == pytest.approx(expected)


def test_equal_counts_share_a_quintile() -> None:
    assert quintiles(np.array([9, 1, 0, 5, 3, 7])).tolist() == [5, 1, 0, 3, 2, 4]
    assert quintiles(np.array([1, 1, 1, 2, 0])).tolist() == [1, 1, 1, 4, 0]
    assert quintiles(np.array([4, 4, 4])).tolist() == [1, 1, 1]
    assert quintiles(np.array([0])).tolist() == [0]


@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_quintiles_rise_with_the_count_and_none_has_more_than_its_fifth_but_for_ties(counts: list[int]) -> None:
    found = quintiles(np.array(counts))
    order = np.argsort(counts, kind="stable")
    assert np.all(np.diff(found[order]) >= 0)
    there = np.array([count for count in counts if count])
    for q in range(1, 6):
        own = [count for count, place in zip(counts, found, strict=True) if count and place == q]
        assert len([count for count in own if count < max(own)]) < len(there) / 5 if own else True


def test_names_are_such_as_mlflow_takes() -> None:
    model, train, part = case(3, 0.7)
    odd = Ratings(part.users, part.items, np.where(part.values > 3, 1e300, -0.25), USERS, ITEMS)
    for rated in (part, odd):
        names = evaluate(model, train, rated, "test", Evaluation())
        assert all(re.fullmatch(r"[A-Za-z0-9_\-. ]{1,250}", name) for name in names)
    assert "n_test_rating_1e300" in names
    many = Ratings(part.users, part.items, np.linspace(1, 5, len(part)), USERS, ITEMS)
    assert not any("rating" in name for name in evaluate(model, train, many, "test", Evaluation()))


def test_neither_the_order_of_train_nor_lists_of_no_length_change_the_rest() -> None:
    model, train, part = case(4, 0.5)
    told = evaluate(model, train, part, "test", Evaluation())
    assert evaluate(model, train.take(np.random.default_rng(0).permutation(len(train))), part, "test", Evaluation()) == told
    without = evaluate(model, train, part, "test", Evaluation(k=[]))
    assert without.items() < told.items()
    assert not any(name.startswith("test_ndcg") for name in without)


def test_what_overflows_is_none() -> None:
    model, train, part = case(5, 0.5)
    model.user_bias[:] = 1e200
    told = evaluate(model, train, part, "test", Evaluation(k=[]))
    assert told["test_rmse_known"] is None
    assert told["test_mae_known"] is not None
    assert told["test_rmse_clipped"] is not None


def test_what_is_asked_of_the_lists_is_no_part_of_a_study(small: dict[str, Any]) -> None:
    one, other = load_spec(small), load_spec(small, ["evaluation.relevant=3"])
    assert (study_key(one), run_study_key(one)) == (study_key(other), run_study_key(other))
