"""Metrics of one's own, evaluations of stored models, and boards with a metric of choice."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from refusals import refused
from user_files import write_spec

import mfbench
from mfbench.core.errors import InputError, RecordError, SpecError
from mfbench.models.own_metrics import OwnMetric
from mfbench.runs.record_files import read_record
from mfbench.testing import MetricContract

MINE = '''
import numpy as np

def first_hit(users, items, hits, n_relevant):
    """The reciprocal rank of the first relevant item."""
    place = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    return np.mean((1 / place)[n_relevant > 0]) if np.any(n_relevant) else None

first_hit.higher_is_better = True

def root_error(users, items, ratings, predicted):
    assert users.dtype == items.dtype == np.int64 and ratings.dtype == predicted.dtype == np.float64
    return np.sqrt(np.mean((ratings - predicted) ** 2))

root_error.higher_is_better = False
'''


def module(code: str) -> Any:
    """The functions of a module with this code."""
    made = ModuleType("mine")
    exec(compile(code, "mine.py", "exec"), vars(made))
    return made


BROKEN = """
def by_place(users, items, ratings, predicted):
    return ratings[0]

def writes(users, items, ratings, predicted):
    predicted[:] = 0

calls = []

def forgetful(users, items, ratings, predicted):
    calls.append(1)
    return len(calls)

def unlike(users, predictions):
    return 0
"""


class TestFirstHit(MetricContract):
    metric = module(MINE).first_hit


class TestRootError(MetricContract):
    metric = module(MINE).root_error


@pytest.mark.parametrize(
    ("metric", "test"),
    [
        ("by_place", "test_the_order_of_ratings_and_users_does_not_matter"),
        ("writes", "test_gives_a_number_and_changes_nothing"),
        ("forgetful", "test_gives_a_number_and_changes_nothing"),
        ("unlike", "test_takes_predictions_or_lists"),
    ],
)
def test_the_contract_finds_what_breaks_it(metric: str, test: str) -> None:
    broken = type("Broken", (MetricContract,), {"metric": getattr(module(BROKEN), metric)})()
    with pytest.raises((AssertionError, ValueError, SpecError)):
        getattr(broken, test)()


@pytest.fixture
def mine(stored: Path, small: dict[str, Any]) -> dict[str, Any]:
    """A spec with two metrics in mine.py, in a workplace of its own."""
    (stored / "mine.py").write_text(MINE)
    return {**small, "evaluation": {"k": [5, 10], "extra": ["mine.py:first_hit", "mine.py:root_error"]}}


def test_own_metrics_are_in_the_record_with_the_digest_of_their_file(mine: dict[str, Any]) -> None:
    plain = mfbench.run(mine, ["model.backend=loop"]).record
    assert plain.evaluation["valid_root_error"] == pytest.approx(plain.valid_rmse, rel=1e-12)
    assert plain.evaluation["valid_first_hit"] == pytest.approx(plain.evaluation["valid_mrr_10"], rel=1e-12)
    assert {name: code.code for name, code in plain.own_metrics.items()} == {
        "first_hit": "mine.py:first_hit",
        "root_error": "mine.py:root_error",
    }
    result = mfbench.sweep(mine, trials=2).summary()
    (final,) = result["finals"]
    assert final["evaluation"]["test_root_error"] == pytest.approx(final["test_rmse"], rel=1e-12)
    before = Path(f"runs/{result['study']}/loop/trial-0000.json").read_bytes()
    assert mfbench.reproduce(final["run_key"]).verdict == "to the bit"
    # Another metric of the same name: the final run is made again, its trials are not.
    Path("mine.py").write_text(MINE + "\n# changed\n")
    (changed,) = [one for one in mfbench.reproduce(final["run_key"]).found if one.what == "mine.py:first_hit"]
    assert "changed since the run" in changed.says
    mfbench.sweep(mine, trials=2)
    folder = Path(f"runs/{result['study']}/loop")
    assert len(list(folder.glob("final-*.aside"))) == 1
    assert (folder / "trial-0000.json").read_bytes() == before


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "def other(users, ratings): return 0",
            "takes (users, ratings), but a metric takes (users, items, ratings",
        ),
        ("def first(users, items, ratings, predicted): return 0", "mine.py has no function 'other'"),
        ("def other(users, items, ratings, predicted): return 1 / 0", "failed on a small example (ZeroDivisionError"),
        ("def other(users, items, ratings, predicted): return 'high'", "it returned 'high'; return one number"),
        ("def other(users, items, ratings, predicted): ratings[:] = 0", "failed on a small example (ValueError"),
        ("other = 3", "mine.py:other is not a function"),
    ],
)
def test_a_function_that_is_no_metric_is_refused_before_training(
    stored: Path, small: dict[str, Any], code: str, says: str
) -> None:
    (stored / "mine.py").write_text(code)
    with refused(InputError, says):
        mfbench.run({**small, "evaluation": {"extra": ["mine.py:other"]}})
    assert not Path("runs").exists()


def test_a_name_of_ours_is_not_taken(workplace: Path) -> None:
    (workplace / "mine.py").write_text("def mrr_10(users, items, hits, n_relevant): return 0\n")
    with pytest.raises(SpecError, match="mrr_10 is the name of a built-in metric"):
        OwnMetric.load("mine.py:mrr_10")


def test_a_stored_model_is_evaluated_beside_its_record(mine: dict[str, Any]) -> None:
    del mine["evaluation"]["extra"]
    mine["sweep"] |= {"backends": ["loop", "numba", "als", "bmf", "mlp", "mean"], "trials": 1, "batch": 1}
    finals = mfbench.sweep(mine).swept.finals
    assert len(finals) == 6
    for final in finals:
        record = read_record(final.path)
        before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
        again = mfbench.evaluate(final.run_key)
        recorded = {**record.evaluation, "test_rmse": record.test_rmse, "test_mae": record.test_mae}
        assert again.values.keys() == recorded.keys()
        # The errors of als are summed in another order where its rows lie closer together, as in the file.
        tolerance = 1e-12 if final.backend == "als" else 0.0
        for name, value in recorded.items():
            assert again.values[name] == (None if value is None else pytest.approx(value, rel=tolerance, abs=0.0))
        log = Path(f"runs/{record.study}/test-openings.jsonl")
        assert all(path.read_bytes() == content for path, content in before.items() if path != log)
        assert f"to evaluate {final.run_key}" in log.read_text().splitlines()[-1]
        assert json.loads(again.path.read_text())["record_seal"] == record.seal
        assert again.stored.is_sealed
        assert mfbench.evaluate(final.run_key).path == again.path
    assert mfbench.sweep(mine).swept.finals == finals


def test_more_metrics_of_a_stored_model_are_on_a_board_by_choice(mine: dict[str, Any], command: Any) -> None:
    extra = mine.pop("evaluation")["extra"]
    mine["sweep"] |= {"backends": ["loop", "mean"], "trials": 2}
    path = write_spec(mine)
    loop, mean = sorted(mfbench.sweep(path).swept.finals, key=lambda one: one.backend)
    with refused(InputError, "no run here has this metric", "mfbench evaluate RUN"):
        mfbench.compare(path, metrics=["test_first_hit"])
    status, out, _ = command("evaluate", loop.run_key, "--metric", extra[0], "--metric", "ndcg_20", "--json")
    assert status == 0
    said = json.loads(out.splitlines()[-1])
    assert said["values"].keys() == {"test_first_hit", "test_ndcg_20"}
    assert said["values"]["test_first_hit"] == pytest.approx(loop.evaluation["test_mrr_10"], rel=1e-12)
    assert said["own_metrics"]["first_hit"]["code"] == "mine.py:first_hit"

    (board,) = mfbench.compare(path, metrics=["test_ndcg_20", "test_first_hit"])
    rows = {row["backend"]: row for row in board.summary()["runs"]}
    assert rows["loop"]["test_ndcg_20"] == said["values"]["test_ndcg_20"]
    assert rows["mean"]["test_first_hit"] is None
    # A metric on test is a column and orders nothing; one on valid orders.
    assert board.summary()["ordered_by"] == "valid_rmse"
    default = [row.record.run_key for row in mfbench.compare(path)[0].board]
    assert [row.record.run_key for row in board.board] == default
    (by_mae,) = mfbench.compare(path, metrics=["valid_mae"])
    assert by_mae.summary()["ordered_by"] == "valid_mae"
    values = [row.record.valid_mae for row in by_mae.board]
    assert values == sorted(values, key=lambda value: value or 0.0)
    status, out, _ = command("compare", path, "--metric", "valid_mae", "--metric", "test_ndcg_20")
    assert status == 0
    assert "ordered by valid_mae" in out
    assert "test_ndcg_20" in out

    Path("mine.py").write_text(MINE + "\n# changed\n")
    mfbench.evaluate(mean.run_key, [extra[0]])
    with pytest.raises(InputError, match="its code differed"):
        mfbench.compare(path, metrics=["test_first_hit"])


def test_what_cannot_be_evaluated_is_refused(mine: dict[str, Any]) -> None:
    final = mfbench.sweep(mine, trials=1).swept.finals[0]
    log = Path(f"runs/{final.study}/test-openings.jsonl")
    opened = log.read_text()
    for run, metrics, says in (
        (f"{final.study}/loop/0/trial", [], "trials keep no model"),
        (final.run_key, ["ndgc_10"], "unknown metric"),
        (final.run_key, ["mine.py:none"], "has no function 'none'"),
    ):
        with pytest.raises(InputError, match=says):
            mfbench.evaluate(run, metrics)
    assert log.read_text() == opened
    made = mfbench.evaluate(final.run_key, ["ndcg_20"])
    text = made.path.read_text()
    made.path.write_text(text.replace('"relevant": 4.0', '"relevant": 3.0'))
    with pytest.raises(RecordError, match="changed after it was written"):
        mfbench.compare("small")
    made.path.unlink()
    record = final.path.read_text()
    final.path.write_text(record.replace('"planned_epochs": ', '"planned_epochs": 1'))
    with pytest.raises(RecordError, match="changed after it was written"):
        mfbench.evaluate(final.run_key)


def test_the_report_has_a_second_board_of_the_lists(mine: dict[str, Any]) -> None:
    result = mfbench.sweep(write_spec(mine), trials=1)
    page = mfbench.write_report("spec.yaml").read_text()
    final = result.swept.finals[0]
    assert "<h2>Top lists</h2>" in page
    for name in ("test_ndcg_10", "test_mrr_10", "test_first_hit"):
        assert f"<th>{name}</th>" in page
        assert f"<td>{final.evaluation[name]:.4f}</td>" in page
