"""Suites: one spec over many data sets, resumable as one sweep, and one table whose statistics and files can be relied on."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from little_suite import two, without_export
from processes import said_by
from record_factory import altered, record
from refusals import refused
from user_files import read_csv, write_spec

import mfbench
from mfbench.commands.suites.definition import load_suite
from mfbench.core.errors import SpecError
from mfbench.report.suites.cells import Cell, cells_of
from mfbench.report.suites.page import page, write_suite
from mfbench.report.suites.ranks import ranks
from mfbench.report.suites.table import SuiteTable

Tree = dict[str, Any]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def untracked(served: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workplace in which the sweeps of a suite are not exported, and no file is written."""
    without_export(monkeypatch)
    return served


def cell(dataset: str, backend: str, rmse: float | None, **more: Any) -> Cell:
    """A cell of that test RMSE, and of the same valid RMSE; None for one without a result."""
    if rmse is None:
        return Cell(dataset, backend, why="it diverged")
    return Cell(dataset, backend, (altered(record(stage="final"), test_rmse=rmse, valid_rmse=rmse),), **more)


def table(scores: dict[str, dict[str, float | None]], name: str = "made") -> SuiteTable:
    """A table of made-up scores, by data set and backend."""
    cells = [cell(dataset, backend, rmse) for dataset, of in scores.items() for backend, rmse in of.items()]
    return SuiteTable(name, list(scores), cells, {})


# --- what a suite says -----------------------------------------------------------------------------------------------


def test_a_suite_is_a_sweep_for_each_data_set_and_seed() -> None:
    suite: Any = load_suite(two(seeds=[3, 4]), ["sweep.trials=5"])
    assert [member.spec.name for member in suite.members] == ["pair.wide.3", "pair.wide.4", "pair.tall.3", "pair.tall.4"]
    assert [(one.spec.split.seed, one.spec.model.seed) for one in suite.members] == [(3, 3), (4, 4)] * 2
    assert [one.spec.model.epochs for one in suite.members] == [3, 3, 2, 2]  # what differs for a data set is merged in
    assert {one.spec.model.center for one in suite.members} == {True}
    assert {one.spec.sweep.trials for one in suite.members} == {5}


def test_a_list_is_of_names_of_the_catalogue() -> None:
    suite = load_suite(two(datasets=["planted-10k", "notebook-6x4"]))
    assert [one.spec.data.dataset for one in suite.members] == suite.datasets == ["planted-10k", "notebook-6x4"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"datasets": {}}, ["datasets"]),
        ({"datasets": {"a b": None}}, ["datasets", "a b"]),
        ({"datasets": {"wide": {"data": {"dataset": "planted-10k"}, "date": 1}}}, ["wide: date: unknown key"]),
        ({"data": {"dataset": "planted-10k"}}, ["datasets in place of data"]),
        ({"seeds": [1, 1]}, ["seeds", "twice"]),
        ({"seeds": ["x"]}, ["seeds", "'x'"]),
        ({"sweep": None}, ["sweep", "missing"]),
        ({"model": {"K": 0}}, ["wide: model.K", "greater than or equal to 1"]),
    ],
)
def test_what_is_wrong_is_named(changes: Tree, says: list[str]) -> None:
    with refused(SpecError, *says):
        load_suite(two(**changes))


def test_a_spec_is_no_suite_and_a_suite_no_spec(tmp_path: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    path = write_spec(two(), str(tmp_path / "suite.yaml"))
    status, _, said = command("sweep", path)
    assert (status, "`mfbench suite`" in said) == (2, True)
    status, _, said = command("suite", write_spec({"name": "one"}, str(tmp_path / "spec.yaml")))
    assert (status, "`mfbench sweep`" in said) == (2, True)


def test_the_committed_suite_has_five_data_sets() -> None:
    suite = load_suite(ROOT / "experiments/suite-small.yaml")
    assert len(suite.datasets) == 5
    assert {"planted-10k", "planted-100k", "ml-latest-small"} <= set(suite.datasets)


# --- its sweeps ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untracked")
def test_a_suite_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been() -> None:
    stopped = mfbench.suite(two(), timeout=0)
    assert stopped.stopped == "time limit reached; 0 of 2 sweeps are finished"
    assert not Path("results").exists()
    kept = {path: path.read_bytes() for path in Path("runs").rglob("trial-*.json")}
    assert len(kept) == 1
    result = mfbench.suite(two())
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert write_suite(result.table, result.suite.text) == Path("results/pair/report.html")
    files = {path.name for path in Path("results/pair").iterdir()}
    assert {"table.csv", "seconds.csv", "table.md", "table.tex", "report.html", "seconds.png", "seconds.pdf"} <= files
    shutil.rmtree("runs")
    assert mfbench.suite(two()).table.csv() == Path("results/pair/table.csv").read_text()


@pytest.mark.usefixtures("untracked")
def test_a_cell_is_the_final_run_with_its_interval_over_users_or_over_seeds() -> None:
    one = mfbench.suite(two())
    frame: Any = one.to_frame().set_index(["dataset", "backend"])
    for name, swept in one.sweeps.items():
        for final in swept.finals:
            row = frame.loc[name.removeprefix("pair."), final.backend]
            assert row.test_rmse == final.test_rmse
            assert row.test_rmse_low < row.test_rmse < row.test_rmse_high
            assert row.run_keys == final.run_key
    assert frame.first_on_valid.sum() == 2  # one of each data set, with which the other is compared
    assert frame.p_holm.notna().sum() == 2
    several: Any = mfbench.suite(two(seeds=[0, 1])).to_frame().set_index(["dataset", "backend"])
    keys = several.loc["wide", "loop"].run_keys.split()
    values = [mfbench.reproduce(key).record.test_rmse for key in keys]
    assert several.loc["wide", "loop"].test_rmse == pytest.approx(np.mean(values), abs=1e-15)
    assert several.loc["wide", "loop"].seeds == 2
    half = 12.706 * np.std(values, ddof=1) / np.sqrt(2)  # Student's t of 1 degree of freedom
    assert several.loc["wide", "loop"].test_rmse_high == pytest.approx(np.mean(values) + half, rel=1e-4)


@pytest.mark.usefixtures("untracked")
def test_the_split_needs_a_test_part() -> None:
    with refused(SpecError, "wide", "give test a share"):
        mfbench.suite(two(split={"kind": "random", "valid": 0.1}))
    assert not Path("runs").exists()


def test_a_data_set_on_which_nothing_completed_is_an_empty_column() -> None:
    (one,) = cells_of({"a": [None]}, ["als"])
    assert (one.rmse, one.why) == (None, "no trial completed")


# --- ranks -----------------------------------------------------------------------------------------------------------

Q = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
"""Table 5 (a) of Demšar (2006): q at 5 %, by the number of classifiers."""


def four(n: int = 14) -> SuiteTable:
    """Four backends on n data sets, of which a is always the first, and b and c share the next rank on every other one."""
    return table({f"set{k}": {"a": 0.8, "b": 0.9, "c": 0.9 if k % 2 else 1.0, "d": 1.1} for k in range(n)})


@pytest.mark.parametrize("k", Q)
def test_the_critical_difference_is_that_of_demsars_table(k: int) -> None:
    names = [f"b{i}" for i in range(k)]
    made = table({f"set{n}": {name: 0.5 + i + n for i, name in enumerate(names)} for n in range(6)})
    assert made.ranks.critical == pytest.approx(Q[k] * np.sqrt(k * (k + 1) / 36), abs=0.002)


def test_the_ranks_by_hand_and_friedmans_test() -> None:
    found = four().ranks
    assert found.mean == {"a": 1.0, "b": 2.25, "c": 2.75, "d": 4.0}
    assert found.critical == pytest.approx(1.25, abs=0.005)  # the paper's own example: four classifiers, 14 data sets
    assert found.friedman < 0.001
    assert "so none of them can" not in found.sentence
    assert "so none of them can" in four(2).ranks.sentence


def test_the_picture_of_the_ranks_has_the_same_bytes_in_another_process() -> None:
    pytest.importorskip("scikit_posthocs", reason="scikit-posthocs is not installed: pip install 'mfbench[suite]'")
    script = (
        "import hashlib, numpy as np\n"
        "from mfbench.report.style import save\n"
        "from mfbench.report.suites.ranks import Ranks, rank_picture\n"
        "names = ['myfm', 'bmf', 'numba', 'surprise', 'als', 'adam']\n"
        "mean = dict(zip(names, [2.0, 2.4, 2.6, 3.2, 4.8, 6.0], strict=True))\n"
        "found = Ranks(names, np.random.default_rng(1).random((5, 6)), mean, 3.37, 0.01)\n"
        "print(hashlib.sha256(save(rank_picture(found))).hexdigest())"
    )
    assert len({said_by(script, settings={"PYTHONHASHSEED": seed}) for seed in ("1", "2", "3")}) == 1


def test_a_backend_without_a_result_ranks_last_and_one_without_any_is_left_out() -> None:
    made = table({"p": {"a": 0.9, "b": None, "c": 1.0, "d": None}, "q": {"a": 0.9, "b": 0.8, "c": 1.0, "d": None}})
    assert made.ranks.mean == {"a": 1.5, "b": 2.0, "c": 2.5}
    assert "b has no result on p: it diverged" in made.notes
    assert ["d", "–", "–", "–", "0.0"] in made.texts()[1]
    assert ranks(made.cells, ["p"], ["a", "c"]) is None  # of one data set there are no ranks


def test_the_rows_are_ordered_by_valid() -> None:
    made = table({"p": {"a": 0.9, "b": 0.8}, "q": {"a": 0.9, "b": 0.8}})
    turned = [
        replace(one, records=tuple(altered(each, test_rmse=2 - each.valid_rmse) for each in one.records)) for one in made.cells
    ]
    assert replace(made, cells=turned).backends == made.backends == ["b", "a"]


def test_the_picture_of_the_ranks_is_drawn_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "scikit_posthocs", None)
        assert set(four().pictures) <= {"seconds"}
        assert "pip install &#39;mfbench[suite]&#39;" in page(four(), "")
    pytest.importorskip("scikit_posthocs", reason="scikit-posthocs is not installed: pip install 'mfbench[suite]'")
    first, second = (four().pictures["ranks"] for _ in range(2))
    assert first.pdf == second.pdf
    assert first.pdf.startswith(b"%PDF")


# --- files -----------------------------------------------------------------------------------------------------------


def test_what_a_suite_names_is_escaped_in_each_kind_of_file(tmp_path: Path) -> None:
    backend = "=x_1|<b>.py:My"
    made = table({"a_b": {backend: 0.9, "als": 0.8}, "-c": {backend: 0.9, "als": 0.8}})
    path = write_suite(made, "a: <script>", tmp_path)
    lines = read_csv(tmp_path / "table.csv")
    assert {line["backend"] for line in lines} == {f"'{backend}", "als"}
    assert {line["dataset"] for line in lines} == {"a_b", "'-c"}
    assert not any(re.match(r"[=+@-](?!\d)", value) for line in lines for value in line.values())
    tex = (tmp_path / "table.tex").read_text()
    assert r"=x\_1|" in tex
    assert r"a\_b & -c" in tex
    assert [word for word in ("toprule", "midrule", "bottomrule") if f"\\{word}" not in tex] == []
    assert len({line.count(" & ") for line in tex.splitlines() if line.endswith(r"\\")}) == 1
    text = path.read_text()
    assert "<script>" not in text
    assert "<b>.py" not in text
    assert not re.search(r"(src|srcset|href)=\"(?!data:)", text)
    assert r"=x_1\|&lt;b>.py:My" in (tmp_path / "table.md").read_text()


def test_the_table_says_which_is_first_and_what_cannot_be_told_apart(untracked: Path) -> None:  # noqa: ARG001
    result = mfbench.suite(two(sweep={"trials": 1, "backends": ["loop", "als", "mean"], "space": {"K": 2}}))
    header, body = result.table.texts()
    assert header == ["backend", "wide", "tall", "mean rank", "search s"]
    assert [line[0] for line in body][-1] == "oracle"
    for column, dataset in ((1, "wide"), (2, "tall")):
        cells = {one.backend: one for one in result.table.cells if one.dataset == dataset}
        for line in body[:-1]:
            one = cells[line[0]]
            marks = "*" if one.is_first else "=" if not one.against_first.is_distinguishable else ""
            assert line[column] == f"{one.rmse:.4f} ± {one.half_width:.4f} {marks}".strip()
    assert rf"{body[0][1][:6]} $\pm$ " in result.table.latex()
