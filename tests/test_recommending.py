"""Recommendations hold no seen item, reasons add up, neighbours and groups follow the factors, the filled matrix is whole."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import last_line

import mfbench
from mfbench.core.errors import InputError
from mfbench.matrix.ratings import Ratings
from mfbench.models.recommender import Recommender
from mfbench.models.trained import TrainedModel


def made(seed=0, n_users=12, n_items=9, K=3, cells=40, ridge=0.1):
    rng = np.random.default_rng(seed)
    cell = rng.choice(n_users * n_items, cells, replace=False)
    users, items = (cell // n_items).astype(np.int32), (cell % n_items).astype(np.int32)
    known = Ratings(users, items, rng.integers(1, 6, cells).astype(np.float32), n_users, n_items)
    biases = rng.normal(size=n_users), rng.normal(size=n_items)
    tables = rng.normal(size=(n_users, K)), rng.normal(size=(n_items, K))
    titles = np.array([f"title {i}" for i in range(n_items)])
    model = TrainedModel(*tables, *biases, 3.0, np.arange(n_users) * 10, np.arange(n_items) + 100, titles)
    return Recommender(model, known, ridge, seed=0)


@settings(deadline=None)
@given(seed=st.integers(0, 50), n=st.integers(1, 12), cells=st.integers(1, 100))
def test_the_best_unseen_items_best_first(seed, n, cells):
    one = made(seed, cells=cells)
    rated = set(zip(one.known.users.tolist(), one.known.items.tolist(), strict=True))
    there = {item for _, item in rated}
    found = one.recommend(one.users(), n)
    assert sorted(found) == one.users()
    for user, items in found.items():
        unseen = [i for i in there if (user // 10, i) not in rated]
        wanted = one.model.predict([user] * len(unseen), [i + 100 for i in unseen]).prediction if unseen else np.empty(0)
        assert np.allclose([item.score for item in items], np.sort(wanted)[::-1][:n])
        assert all((user // 10, item.id - 100) not in rated for item in items)
        assert [item.title for item in items] == [f"title {item.id - 100}" for item in items]


def test_more_items_than_there_are_is_all_of_them_and_fewer_than_one_is_refused():
    one = made()
    assert one.recommend([30], 10**15) == one.recommend([30], 9)
    for n in (0, -1):
        for call in (
            lambda n: one.recommend([30], n),
            lambda n: one.similar("item", 105, n),
            lambda n: one.explain(30, [105], n),
        ):
            with pytest.raises(InputError, match=f"n {n}: ask for 1 or more"):
                call(n)


def test_reasons_add_up_to_what_the_best_fitting_row_scores():
    one = made(cells=60)
    u, i = 4, 7
    mine = one.known.users == u
    Q, items = one.model.Q, one.known.items[mine]
    left = one.known.values[mine] - 3.0 - one.model.user_bias[u] - one.model.item_bias[items]
    p = np.linalg.solve(Q[items].T @ Q[items] + one.ridge * mine.sum() * np.eye(3), Q[items].T @ left)
    reasons = one.explain(40, [107], n=20)[107]
    assert sum(reason.score for reason in reasons) == pytest.approx(p @ Q[i])
    assert sorted(reason.id - 100 for reason in reasons) == sorted(items)
    assert [reason.score for reason in reasons] == sorted((reason.score for reason in reasons), reverse=True)


@settings(deadline=None)
@given(seed=st.integers(0, 50), cells=st.integers(1, 40))
def test_the_reasons_of_a_user_whose_ratings_are_few_or_without_penalty_are_of_the_shortest_row(seed, cells):
    one = made(seed, cells=cells, ridge=0.0)
    for user in one.users():
        mine = one.known.users == user // 10
        history = one.known.items[mine]
        left = one.known.values[mine] - 3.0 - one.model.user_bias[user // 10] - one.model.item_bias[history]
        p = np.linalg.lstsq(one.model.Q[history], left, rcond=None)[0]
        found = one.explain(user, one.model.item_ids.tolist(), n=9)
        sums = [sum(reason.score for reason in reasons) for reasons in found.values()]
        assert np.allclose(sums, one.model.Q @ p, rtol=1e-3, atol=1e-3)


def test_the_equations_of_a_user_are_solved_once_for_all_items(monkeypatch):
    one, solved, solve = made(cells=60), [], np.linalg.pinv

    def counted(*words, **named):
        solved.append(1)
        return solve(*words, **named)

    monkeypatch.setattr(np.linalg, "pinv", counted)
    found = one.explain(40, [107, 100, 103], n=20)
    assert list(found) == [107, 100, 103]
    assert len(solved) == 1
    assert all(found[item] == one.explain(40, [item], n=20)[item] for item in found)


def test_without_factors_there_are_no_reasons():
    with pytest.raises(InputError, match="this model has no factors"):
        made(K=0).explain(40, [107])


def test_an_item_without_a_title_is_called_by_its_id():
    one = made()
    one.model.titles[7] = ""
    assert one.title(107) == "107"
    assert one.title(106) == "title 6"


def test_neighbours_by_cosine():
    one = made()
    one.model.Q[:] = 0
    one.model.Q[[2, 3, 4, 5], :2] = [[1, 0], [5, 0.5], [0, 2], [-1, 0]]
    found = one.similar("item", 102)
    assert [neighbour.id for neighbour in found] == [103, 104, 105]
    assert [neighbour.score for neighbour in found] == pytest.approx([5 / np.hypot(5, 0.5), 0, -1])
    with pytest.raises(InputError, match="no factors for it"):
        one.similar("item", 100)


def test_items_with_few_ratings_are_no_neighbours_where_enough_others_have_many():
    one = made(n_users=30, cells=1)
    counts = np.array([1, 25, 2, 20, 19, 30, 0, 3, 0])
    items = np.repeat(np.arange(9, dtype=np.int32), counts)
    users = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    one = replace(one, known=Ratings(users, items, np.ones(100, np.float32), 30, 9))
    one.model.Q[:] = [[1, 0, 0], [2, 1, 0], [3, 0, 0], [0, 1, 0], [2, 1, 1], [1, 0, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0]]
    ids = lambda n: [neighbour.id for neighbour in one.similar("item", 105, n)]  # noqa: E731
    assert ids(1) == [101]
    assert ids(2) == [101, 103]
    assert ids(3) == [101, 104, 103]
    assert ids(4) == [101, 104, 107, 103]
    assert ids(100) == [100, 102, 106, 108, 101, 104, 107, 103]
    one.model.P[:3] = one.model.P[29]
    assert [user.id for user in one.similar("user", 290, 3)] == [0, 10, 20]


def test_who_has_rated_everything_is_told_so(command, monkeypatch):
    one = made(cells=12 * 9 - 1)
    monkeypatch.setattr("mfbench.commands.load.recommender", lambda *_: one)
    (left,) = (user for user, items in one.recommend(one.users()).items() if items)
    says = "user {} has rated every item in train and valid, so there is nothing to recommend"
    _, out, _ = command("recommend", "a run")
    assert [user for user in one.users() if says.format(user) not in out] == [left]
    full = next(user for user in one.users() if user != left)
    _, out, err = command("recommend", "a run", "--user", str(full), "--explain", "--json")
    assert says.format(full) in err
    assert last_line(out)["users"] == [{"user": full, "items": []}]


def test_groups_of_users_and_what_sets_them_apart():
    one = made(cells=108)
    P, Q = one.model.P, one.model.Q
    P[:], Q[:] = 0, 0
    P[:8, 0], P[8:, 1] = 1, 1
    Q[0, 0], Q[1, 1] = 2, 3
    first, second = one.groups(2, titles=1)
    assert (first.users, second.users) == (list(range(0, 80, 10)), list(range(80, 120, 10)))
    assert [group.items[0].id for group in (first, second)] == [100, 101]
    assert first == one.groups(2, titles=1)[0]
    assert len(made().groups(12)) == 12
    with pytest.raises(InputError, match="from 1 to 12"):
        made().groups(13)
    with pytest.raises(InputError, match="3 groups: give a number from 1 to 2, the number of users with different factors"):
        one.groups(3)
    with pytest.raises(InputError, match="-1 titles: give a number from 1, the characteristic items"):
        one.groups(2, titles=-1)
    with pytest.raises(InputError, match="this model has no factors"):
        made(K=0).groups(2)


def test_the_filled_matrix_is_whole_and_written_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("mfbench.models.filled.CELLS_AT_ONCE", 30)
    one = made()
    for name, read in (("filled.parquet", pd.read_parquet), ("filled.csv", pd.read_csv)):
        assert one.fill(tmp_path / name) == 12 * 9
        table = read(tmp_path / name)
        assert list(table.columns) == ["user", "item", "prediction"]
        assert not table.duplicated(["user", "item"]).any()
        assert np.array_equal(table["prediction"], one.model.predict(table["user"], table["item"]).prediction)
    assert one.fill(tmp_path / "filled.npz") == 12 * 9
    arrays = np.load(tmp_path / "filled.npz")
    assert arrays["prediction"].shape == (12, 9)
    assert np.array_equal(arrays["prediction"].ravel(), table["prediction"])
    assert np.array_equal(arrays["user_ids"], one.model.user_ids)
    assert np.array_equal(arrays["item_ids"], one.model.item_ids)


def test_another_format_is_refused_before_the_model_is_looked_for(command, tmp_path):
    says = f"mfbench: {tmp_path / 'filled.xlsx'}: this is no format of a filled matrix; give a file name that ends with .csv, "
    assert command("fill", "nonesuch", "--out", str(tmp_path / "filled.xlsx"))[::2] == (2, f"{says}.parquet, .npz\n")


@pytest.mark.parametrize("what", [lambda one: one.recommend([7]), lambda one: one.similar("user", 7)])
def test_an_id_that_the_data_lacks_is_one_sentence(what):
    with pytest.raises(InputError, match="user 7: unknown user; choose from 0, 10, 20 and 9 more"):
        what(made())


@pytest.mark.usefixtures("stored")
def test_the_commands(command):
    spec = {
        "name": "tiny", "data": {"planted": {"users": 30, "items": 20, "ratings": 200}},
        "split": {"kind": "random", "valid": 0.1}, "model": {"backend": "loop", "K": 2, "epochs": 2},
    }  # fmt: skip
    key = mfbench.run(spec).record.run_key

    def said(*words):
        status, out, err = command(*words, "--json")
        assert status == 0, err
        return last_line(out)

    one = mfbench.recommender(key)
    assert said("recommend", key, "--user", "3", "-n", "2")["users"][0]["items"][0]["id"] == one.recommend([3], 1)[3][0].id
    explained = said("recommend", key, "--user", "3", "--explain")
    item = explained["users"][0]["items"][0]
    assert item["because"] == [asdict(reason) for reason in one.explain(3, [item["id"]])[item["id"]]]
    says = "after refitting the user's factors p to the user's own ratings"
    assert says in explained["because"]
    assert says in command("recommend", key, "--user", "3", "--explain")[1]
    assert says not in command("recommend", key, "--user", "3")[1]
    assert len(said("recommend", key)["users"]) == len(one.users())
    assert len(said("similar", key, "--item", "4", "-n", "5")["similar"]) == 5
    assert sum(len(group["users"]) for group in said("groups", key, "-n", "3")["groups"]) == len(one.users())
    assert said("fill", key, "--out", "all.parquet")["cells"] == 600
    assert Path("all.parquet").exists()
