"""Which runs cannot be told from the best: the statistics on cases with a known answer, and the boards that are marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from exported import artifact, runs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import altered, sweep_records, write
from record_factory import record as make_record
from rich.console import Console
from sweeping import swept
from user_files import read_csv, write_ratings

import mfbench
from mfbench.commands.compare import compared
from mfbench.core.errors import LeftOutWarning
from mfbench.core.files import write_model
from mfbench.matrix.factors import Factors
from mfbench.matrix.ratings import Ratings
from mfbench.models.evaluation import user_errors
from mfbench.report.leaderboard import MARK, Row, markdown, note, rows, table
from mfbench.report.significance import AgainstBest, compare, holm
from mfbench.runs.record_files import errors_path, model_path
from mfbench.runs.records import Interval, Record
from mfbench.runs.repeats import averaged

HOW = "(paired bootstrap over users; Wilcoxon with Holm's correction)"
ON_TEST = f"{MARK}: test RMSE statistically indistinguishable from that of the first tested run {HOW}"
ON_VALID = f"{MARK}: valid RMSE statistically indistinguishable from that of the first plain run {HOW}"


def errors(users: int = 200, seed: int = 0) -> tuple[Any, Any]:
    """Σ e² and counts of users who rate 1 to 40 times, one run."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 41, users)
    return rng.gamma(count / 2, 1.4), count


# --- the statistics --------------------------------------------------------------------------------------------------


def test_the_same_model_twice_is_not_distinguishable() -> None:
    squared, count = errors()
    (found,) = compare(np.stack([squared, squared]), count)
    assert found == AgainstBest(0.0, 0.0, 0.0, 1.0, 1.0)
    assert not found.is_distinguishable


def test_a_gap_of_the_size_of_rounding_is_none_however_regular_it_is() -> None:
    count = np.full(200, 4)
    rmse = np.random.default_rng(0).uniform(0.5, 1.5, 200)
    squared = [rmse**2 * 4, (rmse + 1e-12) ** 2 * 4, (rmse + 1e-7) ** 2 * 4, (rmse + 1e-4) ** 2 * 4]
    tiny, small, found = compare(np.stack(squared), count)
    assert tiny == small == AgainstBest(0.0, 0.0, 0.0, 1.0, 1.0)
    assert found.is_distinguishable


def test_a_planted_gap_is_found_and_a_difference_by_chance_is_not() -> None:
    squared, count = errors()
    noise = np.exp(np.random.default_rng(1).normal(0, 0.1, len(count)))
    worse, chance = compare(np.stack([squared, squared * 1.05 * noise, squared * noise]), count)
    assert worse.is_distinguishable
    assert worse.difference_low > 0
    assert max(worse.p_bootstrap, worse.p_holm) < 0.001
    assert not chance.is_distinguishable
    assert chance.difference_low < 0 < chance.difference_high
    better, _ = compare(np.stack([squared * 1.05 * noise, squared, squared]), count)
    assert better.is_distinguishable  # the first is the best by valid, and may be worse on test
    assert better.difference == -worse.difference


def test_the_difference_by_hand_and_users_without_ratings_count_for_nothing() -> None:
    squared, count = np.array([[1.0, 0.0, 3.0], [4.0, 0.0, 12.0]]), np.array([1, 0, 3])
    (found,) = compare(squared, count)
    assert found.difference == found.difference_low == found.difference_high == 1.0  # of each user 2 against 1
    assert (found,) == tuple(compare(squared[:, [0, 2]], count[[0, 2]]))


def test_the_interval_is_that_of_scipy() -> None:
    squared, count = errors(seed=2)
    other, _ = errors(seed=3)
    (found,) = compare(np.stack([squared, other]), count)

    def difference(one: Any, two: Any, n: Any, axis: int = -1) -> Any:
        return np.sqrt(two.sum(axis) / n.sum(axis)) - np.sqrt(one.sum(axis) / n.sum(axis))

    theirs = scipy.stats.bootstrap(
        (squared, other, count), difference, paired=True, n_resamples=10_000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert found.difference == pytest.approx(difference(squared, other, count))
    assert (found.difference_low, found.difference_high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_wilcoxon_is_that_of_scipy_corrected_for_the_number_of_runs() -> None:
    squared, count = errors(seed=4)
    others = [squared * np.exp(np.random.default_rng(seed).normal(0.01, 0.2, len(count))) for seed in (5, 6)]
    own = [np.sqrt(one / count) for one in (squared, *others)]
    alone = [float(scipy.stats.wilcoxon(one, own[0]).pvalue) for one in own[1:]]
    for one, p in zip(others, alone, strict=True):
        assert compare(np.stack([squared, one]), count)[0].p_holm == pytest.approx(p, rel=1e-6)
    assert [one.p_holm for one in compare(np.stack([squared, *others]), count)] == pytest.approx(holm(alone), rel=1e-6)


def test_another_run_beside_it_changes_no_draw() -> None:
    squared, count = errors()
    two = np.stack([squared, errors(seed=7)[0]])
    (alone,) = compare(two, count)
    beside = compare(np.stack([*two, errors(seed=8)[0]]), count)[0]
    names = ("difference", "difference_low", "difference_high", "p_bootstrap")
    assert [getattr(beside, name) for name in names] == [getattr(alone, name) for name in names]


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; the last may not be under the third.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(deadline=None)
def test_holm_rejects_one_after_the_other_from_the_smallest(p_values: list[float]) -> None:
    """Reject p_(k) while p_(k) (m - k + 1) < level, then stop: the procedure itself, without adjusted values."""
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    going = True
    for place, k in enumerate(order):
        going = going and p_values[k] * (len(order) - place) < 0.05
        assert (adjusted[k] < 0.05) == going


def test_the_errors_of_users_by_hand() -> None:
    model = Factors(np.zeros((3, 1)), np.zeros((2, 1)), np.array([1.0, 0.0, 0.0]), np.zeros(2), 3.0)
    part = Ratings(np.array([0, 2, 0], np.int32), np.array([0, 1, 1], np.int32), np.array([5.0, 1.0, 4.5]), 3, 2)
    found = user_errors(model, part)
    assert found["user_squared_error"].tolist() == [1.25, 0.0, 4.0]
    assert found["user_count"].tolist() == [2, 0, 1]


# --- boards ----------------------------------------------------------------------------------------------------------


def finals(*factors: float) -> list[Record]:
    """The finals and the floor of a sweep, written, each with the errors of one model times its factor."""
    squared, count = errors()
    of_users = {"n_users": len(count), "n_test": int(count.sum())}
    made = [altered(record, data=of_users) for record in sweep_records() if record.stage != "trial"]
    write(made)
    for record, factor in zip(made, factors, strict=False):
        write_model(errors_path(record.path), {"user_squared_error": squared * factor, "user_count": count})
    return made


@pytest.mark.usefixtures("workplace")
def test_a_board_marks_what_cannot_be_told_from_the_best_by_valid() -> None:
    records = finals(1.0, 1.0, 2.0)
    records[2].valid_rmse = 1.1
    board = rows(records, {}, {})
    assert {row.record.backend: row.marked for row in board} == {"adam": None, "jax": "test", "mean": None}
    assert board[0].against_best is None
    assert board[2].against_best is not None
    assert board[2].as_dict()["difference_low"] > 0
    text = markdown(board)
    assert text.count(f"0.9500 {MARK} |") == 1
    assert text.endswith(f"\n\n{ON_TEST}\n")
    console = Console(width=200)
    with console.capture() as said:
        console.print(table("board", board))
    assert ON_TEST in " ".join(said.get().split())


@pytest.mark.usefixtures("workplace")
def test_without_errors_or_on_another_test_part_nothing_is_marked() -> None:
    records = finals(1.0)
    assert not [row for row in rows(records, {}, {}) if row.against_best]
    records = finals(1.0, 1.0, 1.0)
    records[1] = altered(records[1], data={"split_digest": "00"})
    assert [row.record.backend for row in rows(records[::2], {}, {}) if row.against_best] == ["mean"]
    assert not [row for row in rows(records[:2], {}, {}) if row.against_best]
    assert note(rows(records[:2], {}, {})) is None


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"user_squared_error": np.ones(200)},
        {"user_squared_error": np.ones(199), "user_count": np.ones(199, int)},
        {"user_squared_error": np.ones((200, 1)), "user_count": np.ones(200, int)},
        {"user_squared_error": np.ones(200), "user_count": np.ones(200)},
        {"user_squared_error": np.array(["x"] * 200), "user_count": np.ones(200, int)},
        {"user_squared_error": np.ones(200), "user_count": np.ones(200, int)},  # not as many ratings as the test part has
    ],
)
def test_damaged_errors_are_named_and_their_run_is_not_compared(damaged: dict[str, Any]) -> None:
    records = finals(1.0, 1.0, 2.0)
    path = errors_path(records[2].path)
    write_model(path, damaged)
    with pytest.warns(LeftOutWarning, match=str(path)):
        board = rows(records, {}, {})
    assert [row.record.backend for row in board if row.against_best] == ["jax"]
    path.write_bytes(b"PK\3\4")
    with pytest.warns(LeftOutWarning, match=str(path)):
        assert [row.record.backend for row in rows(records, {}, {}) if row.against_best] == ["jax"]


@pytest.mark.usefixtures("workplace")
def test_a_plain_run_that_is_first_takes_no_mark_from_those_that_were_tested() -> None:
    records = finals(1.0, 1.0, 2.0)
    found = {row.record.run_key: row.against_best for row in rows(records, {}, {})}
    plain = make_record(7, stage="run").model_copy(update={"valid_rmse": 0.5})
    board = rows([*records, plain], {}, {})
    assert board[0].record.run_key == plain.run_key
    assert {row.record.run_key: row.against_best for row in board[1:]} == found
    assert sum(one is not None for one in found.values()) == 2


@pytest.mark.usefixtures("workplace")
def test_of_several_finals_the_mean_of_each_users_errors_is_compared() -> None:
    records = finals(1.0, 1.0, 2.0)
    squared, count = errors()
    jax = next(record for record in records if record.backend == "jax")
    repeat = jax.model_copy(update={"repeat": 3})
    write([repeat])
    write_model(errors_path(repeat.path), {"user_squared_error": squared * 5, "user_count": count})
    mean = jax.model_copy(update={"intervals": {"test_rmse": Interval(half_width=0.1, n=2)}})
    board = {row.record.backend: row for row in rows([mean, *(one for one in records if one is not jax)], {}, {})}
    found = board["jax"].against_best or board["adam"].against_best
    assert found is not None
    whole = np.sqrt(squared.sum() / count.sum())
    assert abs(found.difference) == pytest.approx(whole * (np.sqrt(3) - 1))
    errors_path(repeat.path).unlink()
    assert not [row for row in rows([mean, jax], {}, {}) if row.against_best]


def on_folds(backend: str, squared: list[list[float]], splits: str = "ab") -> Record:
    """The mean of a plain run on folds, written: its Σ e² by fold and user, of whom each rates once in each fold."""
    made = []
    for r, (own, split) in enumerate(zip(squared, splits, strict=True)):
        plain = make_record(backend=backend, stage="run", seed=0)
        rmse = float(np.sqrt(np.mean(own)))
        made.append(
            altered(plain, repeat=r, valid_rmse=rmse, data={"split_digest": split, "n_users": len(own), "n_valid": len(own)})
        )
        counts = np.ones(len(own), dtype=np.int64)
        write_model(errors_path(made[-1].path), {"user_squared_error": np.array(own), "user_count": counts})
    write(made)
    (mean,) = averaged(made)
    return mean


def against(*records: Record) -> list[AgainstBest]:
    return [row.against_best for row in rows(records, {}, {}) if row.against_best]


@pytest.mark.usefixtures("workplace")
def test_over_folds_each_users_errors_are_summed() -> None:
    first = on_folds("first", [[1.0, 1.0], [1.0, 1.0]])
    other = on_folds("other", [[1.0, 7.0], [7.0, 1.0]])  # of each user 8 over two ratings against 2
    (found,) = against(first, other)
    assert found.difference == found.difference_low == found.difference_high == 1.0
    assert not against(first, on_folds("other", [[1.0, 7.0], [7.0, 1.0]], "ac"))
    assert against(first, on_folds("other", [[7.0, 1.0], [1.0, 7.0]], "ba")) == [found]
    assert not against(first, on_folds("fewer", [[4.0, 4.0]], "a"))
    errors_path(first.model_copy(update={"repeat": 1}).path).unlink()
    assert not against(first, other)


@pytest.mark.usefixtures("workplace")
def test_plain_runs_are_compared_on_valid_and_those_that_were_tested_on_test() -> None:
    tested = finals(1.0, 1.0, 2.0)
    alone = {row.record.run_key: row.against_best for row in rows(tested, {}, {})}
    plain = []
    squared, count = errors(seed=1)
    for number, factor in enumerate((1.0, 1.0, 2.0)):  # on the same split as the finals, whose valid part is another one
        of_users = {"n_users": len(count), "n_valid": int(count.sum())}
        one = altered(make_record(number, stage="run"), valid_rmse=0.5 + number, data=of_users)
        write_model(errors_path(one.path), {"user_squared_error": squared * factor, "user_count": count})
        plain.append(one)
    board = rows([*tested, *plain], {}, {})
    found: dict[str, Row] = {row.record.run_key: row for row in board}
    assert {key: found[key].against_best for key in alone} == alone
    first, same, worse = (found[one.run_key] for one in plain)
    assert (first.against_best, same.marked, worse.marked) == (None, "valid", None)
    assert worse.as_dict()["difference_low"] > 0
    assert markdown(board).count(f"1.5000 {MARK} |") == 1
    assert note([same, first]) == ON_VALID
    assert note(board) == ON_VALID.replace(HOW, ON_TEST.removeprefix(f"{MARK}: ")).replace("run test", "run; test")
    assert not against(tested[0], plain[0])


@pytest.mark.usefixtures("stored")
def test_cross_validations_without_a_test_part_are_compared_on_their_folds(small: dict[str, Any]) -> None:
    del small["sweep"]
    small["split"] = {"kind": "kfold", "folds": 2, "seed": 7}
    small["model"] |= {"K": 2, "beta": 4.0, "backend": "als"}
    one = mfbench.run(small)
    again = mfbench.run(small | {"name": "again"})
    overfitted = mfbench.run(small, ["model.beta=0.01"])
    counts = []
    for record in one.records:
        with np.load(errors_path(record.path)) as arrays:
            counts.append(arrays["user_count"])
            assert np.sqrt(arrays["user_squared_error"].sum() / counts[-1].sum()) == pytest.approx(record.valid_rmse)
    assert [count.sum() for count in counts] == [record.evaluation["n_valid"] for record in one.records]
    assert np.sum(counts) == 2000
    board = compared(["small", "again"])
    rows_of = {row.record.run_key: row for row in board.board}
    assert [row.marked for row in board.board] == [None, "valid", None]
    twin = max(one.record.run_key, again.record.run_key)
    assert rows_of[twin].against_best == AgainstBest(0.0, 0.0, 0.0, 1.0, 1.0)
    worst = rows_of[overfitted.record.run_key].against_best
    assert worst is not None
    assert worst.difference_low > 0
    assert worst.p_holm < 0.01
    assert note(board.board) == ON_VALID
    compared(["small"]).write_results()
    first, second = read_csv("results/small/leaderboard.csv")
    assert first["difference"] == ""
    assert float(second["difference"]) == worst.difference
    assert not list(Path("mlruns").rglob("*errors*"))


@pytest.mark.usefixtures("served")
def test_a_sweep_marks_its_board_wherever_it_is_shown(small: dict[str, Any]) -> None:
    small["sweep"] |= {"trials": 2, "backends": ["loop", "als", "mean"]}
    result = mfbench.sweep(small)
    for record in result.swept.finals:
        with np.load(errors_path(record.path)) as arrays:
            squared, count = arrays["user_squared_error"], arrays["user_count"]
        assert count.sum() == record.evaluation["n_test"]
        assert np.sqrt(squared.sum() / count.sum()) == pytest.approx(record.test_rmse)
        assert not set(np.load(model_path(record.path))) & {"user_squared_error", "user_count"}
    assert not list(Path("runs").rglob("trial-*.npz"))
    first, *others = result.summary()["finals"]
    assert "difference" not in first
    assert len(others) == 2
    for final in others:
        assert final["difference"] == pytest.approx(final["test_rmse"] - first["test_rmse"])
        assert final["difference_low"] <= final["difference"] <= final["difference_high"]
    marked = {row.record.backend for row in result.leaderboard() if row.marked}
    told = {final["backend"]: final for final in others}
    assert marked == {
        name for name, one in told.items() if one["difference_low"] <= 0 <= one["difference_high"] or one["p_holm"] >= 0.05
    }
    assert marked

    board = compared(["small"])
    board.write_results()
    lines = {line["backend"]: line for line in read_csv("results/small/leaderboard.csv")}
    for name, one in told.items():
        for column in ("difference", "difference_low", "difference_high", "p_bootstrap", "p_holm"):
            assert float(lines[name][column]) == one[column]
    assert lines[first["backend"]]["difference"] == lines[first["backend"]]["p_holm"] == ""
    assert ON_TEST in Path("results/small/leaderboard.md").read_text()
    assert board.summary()["runs"][1]["difference"] == others[0]["difference"]

    (parent,) = runs_of("small", "sweep")
    kept = artifact(parent.info.run_id, "leaderboard.md").read_text()
    assert ON_TEST in kept
    assert kept.count(f" {MARK} |") == len(marked)


@pytest.mark.usefixtures("served")
def test_the_order_of_a_files_rows_changes_no_bit(small: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    rated = [(cell // 40, cell % 40, rng.integers(1, 6)) for cell in rng.choice(60 * 40, 900, replace=False).tolist()]
    small["sweep"] = {"trials": 1, "backends": ["loop", "mean"]}
    small["model"] |= {"K": 2, "alpha": 0.01, "beta": 0.1}
    found = []
    for path, lines in {"as-they-are.csv": rated, "sorted.csv": sorted(rated)}.items():
        small |= {"name": Path(path).stem, "data": write_ratings(lines, path)}
        found.append([row.against_best for row in rows(swept(small).finals, {}, {})])
    assert found[0] == found[1]
    assert found[0][1] is not None
