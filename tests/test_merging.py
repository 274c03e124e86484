"""Records of another machine: taken once and whole, never in place of another result; a study goes on from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import last_line, mfbench
from steady import steady
from sweeping import bits, swept

from mfbench import merge
from mfbench.core.errors import InputError
from mfbench.data.sealed import openers
from mfbench.runs.record_files import errors_path, model_path, study_records, write_record
from mfbench.search.outcome import Swept

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def elsewhere(small: dict[str, Any], workplace: Path) -> Swept:
    """A sweep whose records are in other/runs."""
    found = swept(small, "sweep.trials=6")
    shutil.move("runs", workplace / "other" / "runs")
    return found


def test_a_study_goes_on_from_the_records_of_another_machine(small: dict[str, Any], elsewhere: Swept) -> None:
    finals = [final.run_key for final in elsewhere.finals]
    merged = merge("other/runs")
    assert set(finals) < set(merged.added)
    assert (len(merged.added), merged.same, merged.others) == (len(elsewhere.records), 0, [])
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*.json")}
    assert bits(swept(small, "sweep.trials=6")) == bits(elsewhere)
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*.json")} == before, "nothing is trained again"
    assert openers(elsewhere.finals[0].data.test_digest) == [elsewhere.study]
    again = merge("other/runs")
    assert (again.added, again.same) == ([], len(elsewhere.records))


def test_two_halves_of_a_study_make_the_whole(small: dict[str, Any], elsewhere: Swept) -> None:
    swept(small, "sweep.trials=3")
    merged = merge("other/runs")
    assert merged.same >= 3
    assert not merged.others
    assert bits(swept(small, "sweep.trials=6")) == bits(elsewhere)


def test_a_study_that_others_began_is_continued_as_if_it_had_run_here(small: dict[str, Any]) -> None:
    whole = swept(small, "sweep.trials=6")
    shutil.move("runs", "whole")
    begun = swept(small, "sweep.trials=3")
    shutil.move("runs", "other")
    merge("other")
    before = {path: path.read_bytes() for path in Path("runs").rglob("trial-*.json")}
    assert len(before) == len(begun.all_trials) == 3
    assert bits(swept(small, "sweep.trials=6")) == bits(whole)
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_with_another_result_is_named_and_stays(small: dict[str, Any], elsewhere: Swept) -> None:
    swept(small, "sweep.trials=6")
    one = next(study_records(elsewhere.study, "trial"))
    ours = one.path.read_bytes()
    other = one.changed({"valid_rmse": 0.5, "scores": one.scores.model_copy(update={"valid_rmse": [0.5] * one.epochs})})
    write_record(other)
    one.path.replace("other" / one.path)
    one.path.write_bytes(ours)
    merged = merge("other/runs")
    assert merged.others == [
        f"{one.run_key}: its result differs from that of the run here, valid_rmse 0.5 there and {one.valid_rmse} here"
    ]
    assert one.path.read_bytes() == ours


def test_what_is_damaged_changed_or_misplaced_is_left_out(elsewhere: Swept) -> None:
    one, two, three, *_ = sorted(Path("other/runs").glob("*/loop/trial-*.json"))
    one.write_text(one.read_text()[:100])
    tree = json.loads(two.read_text())
    two.write_text(json.dumps({**tree, "valid_rmse": 0.1}))
    shutil.copy(three, three.with_name("trial-0099.json"))
    final = next(iter(Path("other/runs").glob("*/loop/final-*.json")))
    with np.load(model_path(final)) as arrays:
        changed = {**arrays, "P": arrays["P"] + 1}
    np.savez(model_path(final), **changed)
    merged = merge("other/runs")
    assert len(merged.others) == 4
    for words in (
        "this record is damaged",
        "this record was changed after it was written",
        "this is the record of",
        "this file does not match",
    ):
        assert [words in sentence for sentence in merged.others].count(True) == 1, words
    assert not final.relative_to("other").exists()
    assert not model_path(final.relative_to("other")).exists()
    assert len(merged.added) == len(elsewhere.records) - 3


def test_a_run_whose_errors_by_user_are_not_its_own_is_left_out(elsewhere: Swept) -> None:
    final = next(iter(Path("other/runs").glob("*/loop/final-*.json")))
    with np.load(errors_path(final)) as arrays:
        changed = {**arrays, "user_squared_error": arrays["user_squared_error"][::-1]}
    np.savez(errors_path(final), **changed)
    merged = merge("other/runs")
    assert merged.others == [f"{errors_path(final)}: this file does not match its record; copy it again"]
    for path in (final, model_path(final)):
        assert not path.relative_to("other").exists()
    assert len(merged.added) == len(elsewhere.records) - 1


def test_the_command_says_what_came_of_it(elsewhere: Swept) -> None:
    status, out, err = mfbench("merge", "other/runs", "--json")
    assert status == 0, err
    assert len(last_line(out)["added"]) == len(elsewhere.records)
    assert f"{len(elsewhere.records)} new runs, 0 that were here already, 0 left out" in err
    assert steady(last_line(mfbench("merge", "other/runs", "--json")[1])) == {
        "added": [], "same": len(elsewhere.records), "others": [],
    }  # fmt: skip


def test_a_folder_without_records_is_refused() -> None:
    with pytest.raises(InputError, match=r"nowhere: there are no records in this folder; give a runs folder"):
        merge("nowhere")
