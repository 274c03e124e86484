"""Published results beside runs on the same data and split, and runs that are worse than their class of models can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from record_factory import STUDY, altered, record, sweep_records, swept, write

import mfbench
from mfbench.backends.registry import names
from mfbench.commands.compare import compare, compared
from mfbench.report.description import descriptions
from mfbench.report.page import page
from mfbench.report.published.beside import gaps, published
from mfbench.report.published.registry import backends_of, every_line
from mfbench.runs.records import Interval, Record

ML_10M = {"data": {"dataset": "ml-10m"}, "split": {"kind": "random", "valid": 0.1, "test": 0.1, "seed": 3}}
MANY = {"n_test": 1_000_005}


def final(test_rmse: float, spec: dict[str, Any] = ML_10M, **changes: Any) -> Record:
    return altered(record(stage="final", backend="jax"), spec=spec, test_rmse=test_rmse, **{"data": MANY, "K": 64, **changes})


def test_every_line_has_a_source_and_a_value_as_it_was_printed() -> None:
    for line in every_line():
        assert line.source
        assert line.shown == f"{line.value:.{line.digits}f}"
        assert 0.5 < line.value < 1.1
        assert line.metric in ("rmse", "mae")
    assert {"ml-10m", "ml-100k", "ml-1m"} == {line.data for line in every_line()}
    compared = {name for line in every_line() for name in backends_of(line.model_class)}
    assert set(names()) - compared == {"mean", "mlp", "surprise-baseline"}


def test_lines_are_beside_runs_on_the_same_data_and_split_only() -> None:
    found = published([final(0.8)])
    assert [line.shown for line in found][:3] == ["0.7485", "0.7523", "0.7563"]
    assert {line.split for line in found} == {"random 90:10"}
    others: list[dict[str, Any]] = [
        {**ML_10M, "split": {"kind": "random", "valid": 0.1, "test": 0.2}},
        {**ML_10M, "split": {"kind": "leave-out", "valid": 1, "test": 10}},
        {**ML_10M, "data": {"dataset": "ml-20m"}},
        {**ML_10M, "data": {"dataset": "ml-10m", "entry": {"file": "other.csv"}}},
    ]
    for spec in others:
        assert not published([final(0.9, spec)])
        assert not gaps([final(0.9, spec)])


def test_a_cross_validation_needs_all_of_its_folds() -> None:
    spec: dict[str, Any] = {"data": {"dataset": "ml-100k"}, "split": {"kind": "kfold", "folds": 5, "fold": 0}}
    one = altered(record(stage="run", backend="numba"), spec=spec, valid_rmse=0.95, K=100)
    assert published([one]) == []
    five = {name: Interval(half_width=0.004, n=5) for name in ("valid_rmse", "valid_mae")}
    whole = altered(one, intervals=five)
    assert [(line.metric, line.shown) for line in published([whole])][:2] == [("rmse", "0.919"), ("rmse", "0.934")]
    (gap,) = gaps([whole])
    assert gap.line.model.startswith("SVD (")
    assert gap.noise == 0
    assert gaps([altered(whole, valid_rmse=0.9344)]) == []  # rounded, it is 0.934
    held_out = {**spec, "split": {**spec["split"], "test": 0.1}}
    assert published([altered(whole, spec=held_out)]) == []


def test_a_run_worse_than_its_class_is_under_tuned() -> None:
    (gap,) = gaps([final(0.803)])
    assert gap.says.startswith("jax final is under-tuned: its test RMSE 0.8030 is 0.0274 worse than the published 0.7756 of")
    assert "K = 64 (Rendle, Zhang and Koren" in gap.says
    assert gap.as_dict()["difference"] == pytest.approx(0.0274)
    assert gaps([final(0.7770)]) == []  # within 1.96 * 0.7756 / 1000 = 0.0015 of it, as another draw of the split may be
    assert len(gaps([final(0.7773)])) == 1
    assert gaps([final(0.77)]) == []
    assert gaps([final(0.803, outcome="diverged")]) == []


def test_a_run_is_held_against_models_of_its_class_with_no_more_factors() -> None:
    assert gaps([final(0.775, K=511)]) == []
    assert gaps([final(0.775, K=512)])[0].line.shown == "0.7720"
    assert "it has fewer factors, 8" in gaps([final(0.8, K=8)])[0].says
    assert gaps([final(0.77, backend="bmf", K=32)])[0].line.shown == "0.7633"
    assert gaps([final(0.8, backend="mlp")]) == gaps([final(0.8, backend="mine.py:Mine")]) == []


@pytest.fixture
def board(workplace: Path) -> list[Record]:  # noqa: ARG001
    records = [altered(one, spec=ML_10M, data=MANY, **({} if one.stage == "trial" else {"K": 64})) for one in sweep_records()]
    write([one for one in records if one.backend != "adam"])
    return records


def test_board_page_json_and_mlflow_show_them(board: list[Record], tmp_path: Path, command: Any) -> None:
    comparison = compared(["little"])
    summary = json.loads(json.dumps(comparison.summary()))
    assert summary["published"][0]["value"] == 0.7485
    assert [one["run_key"] for one in summary["under_tuned"]] == [f"{STUDY}/jax/0/final"]
    folder = comparison.write_results(tmp_path / "results")
    told = descriptions(swept(board))
    for text in (page(comparison), (folder / "leaderboard.md").read_text(), told[STUDY]):
        assert "0.7485" in text
        assert "arXiv 1905.01395" in text
        assert "jax final is under-tuned" in text
    assert "adam final is under-tuned" in told[STUDY]
    assert "jax final is under-tuned" in told[f"{STUDY}/jax/0/final"]
    assert "adam final" not in told[f"{STUDY}/jax/0/final"]
    status, out, err = command("compare", "little")
    assert status == 0, err
    assert "published on this data and split" in out
    assert "jax final is under-tuned" in out


def test_without_published_lines_nothing_changes(workplace: Path) -> None:  # noqa: ARG001
    write(sweep_records())
    (found,) = compare("little")
    assert found.summary()["published"] == found.summary()["under_tuned"] == []
    assert "ublished" not in page(found)
    assert "ublished" not in (found.write_results() / "leaderboard.md").read_text()


def test_references_are_listed(command: Any) -> None:
    assert len(mfbench.list_references()) == len(every_line()) > 30
    assert not any(one["comparable"] for one in mfbench.list_references("ml-10m") if one["K"] == 50)
    status, out, err = command("references", "ml-1m", "--json")
    assert status == 0
    assert {one["data"] for one in json.loads(out.splitlines()[-1])["references"]} == {"ml-1m"}
    assert "0.8227" in err
    assert command("references", "ml-2m")[0] == 2
