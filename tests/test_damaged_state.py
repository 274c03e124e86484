"""Damaged records and files beside them: each is named, and the commands go on with what is whole."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sweeping
from record_factory import rewritten
from refusals import refused
from trainings import made

import mfbench
from mfbench.commands.find import charted
from mfbench.core.errors import InputError, LeftOutWarning, RecordError, WorkError
from mfbench.core.files import write_model
from mfbench.data.sealed import LOG, log_opening, openers
from mfbench.report.filled import filled_table
from mfbench.report.significance import errors_of
from mfbench.runs.record_files import errors_path, find_record, later_repeats, model_path, study_records
from mfbench.runs.records import RunName
from mfbench.runs.repeats import mean_of
from mfbench.tracking.contents import model
from mfbench.tracking.export import sync

Command = Callable[..., tuple[int, str, str]]


def plain(small: dict[str, Any], **model: Any) -> dict[str, Any]:
    own = {**small["model"], "backend": "loop", "K": 3, "alpha": 0.01, "beta": 0.05, **model}
    return {**{key: value for key, value in small.items() if key != "sweep"}, "model": own}


def a_list(path: Path) -> None:
    tree = json.loads(path.read_text())
    tree["data"]["data_digest"] = ["a"]
    path.write_text(json.dumps(tree))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:900]),
    "empty": lambda path: path.write_bytes(b""),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{"),
    "not an object": lambda path: path.write_text("[1]"),
    "a list for a digest": a_list,
    "a folder": a_folder,
    "changed": lambda path: rewritten(path, valid_rmse=0.1),
}


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("damage", DAMAGE)
def test_one_damaged_record_is_named_and_left_out_everywhere(small: dict[str, Any], damage: str, command: Command) -> None:
    whole, broken = made(plain(small), "loop"), made(plain(small), "mean")
    DAMAGE[damage](broken.path)
    with pytest.warns(LeftOutWarning, match=str(broken.path)):
        assert [record.run_key for record in study_records(whole.study)] == [whole.run_key]
    with pytest.warns(LeftOutWarning, match=str(broken.path)):
        (board,) = mfbench.compare(whole.study)
    assert [row.record.run_key for row in board.board] == [whole.run_key]
    with pytest.warns(LeftOutWarning, match=str(broken.path)):
        assert [record.run_key for record in charted(whole.study)] == [whole.run_key]
    with pytest.warns(LeftOutWarning, match=str(broken.path)):
        assert sync(whole.study) == 1
    status, _, err = command("report", whole.study)
    assert status == 0
    said = [line for line in err.splitlines() if str(broken.path) in line]
    assert len(said) == 1
    assert said[0].startswith("mfbench: ")
    with refused((InputError, RecordError), str(broken.path)):  # type: ignore[arg-type]
        mfbench.compare(str(broken.path))


@pytest.mark.usefixtures("workplace")
def test_a_record_in_the_place_of_another_is_not_taken_for_it(small: dict[str, Any]) -> None:
    swept = sweeping.swept(small)
    (final,), trial = swept.finals, swept.trials["loop"][0]
    content = trial.path.read_bytes()
    shutil.copy(final.path, trial.path)
    with refused(InputError, str(trial.path), f"this is the record of {final.run_key}"):
        mfbench.reproduce(trial.run_key)
    with pytest.warns(LeftOutWarning, match=final.run_key):
        assert final.run_key in [record.run_key for record in study_records(swept.study)]
    listener = sweeping.Listener()
    sweeping.swept(small, watcher=listener)
    assert any(f"this is the record of {final.run_key}" in said for said in listener.said)
    assert json.loads(trial.path.read_bytes())["hyper"] == json.loads(content)["hyper"]


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("excused", [False, True])
def test_a_metric_that_is_missing_or_too_many_is_found_out_also_where_bits_may_differ(
    small: dict[str, Any], excused: bool
) -> None:
    record = made(plain(small))
    versions = {"versions": {**(record.environment.versions or {}), "numpy": "0.1"}} if excused else {}
    environment = {**record.environment.model_dump(), **versions}
    for evaluation in ({**record.evaluation, "valid_other": 1.0}, dict(list(record.evaluation.items())[1:])):
        rewritten(record.path, sealed=True, evaluation=evaluation, environment=environment)
        result = mfbench.reproduce(record.run_key)
        assert result.verdict == "not reproduced"
        assert not result.reproduced


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"text"])
def test_a_damaged_model_is_left_out_of_tables_and_refused_as_a_model(small: dict[str, Any], content: bytes) -> None:
    record = made(plain(small))
    assert filled_table(record)
    model_path(record.path).write_bytes(content)
    with pytest.warns(LeftOutWarning, match=r"run-0000\.npz"):
        assert filled_table(record) is None
    with refused(RecordError, "run-0000.npz"):
        mfbench.load_model(record.run_key)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("other", [lambda P: P[::-1], lambda P: np.full(P.shape, "x")])
def test_another_model_in_the_place_of_a_runs_own_is_in_no_table_and_not_exported(
    small: dict[str, Any], other: Callable[[Any], Any]
) -> None:
    record = made(plain(small))
    path = model_path(record.path)
    with np.load(path) as file:
        arrays = dict(file)
    write_model(path, {**arrays, "user_bias": other(arrays["user_bias"]), "P": other(arrays["P"])})
    with pytest.warns(LeftOutWarning, match=r"run-0000\.npz"):
        assert filled_table(record) is None
    with pytest.warns(LeftOutWarning, match=r"run-0000\.npz"):
        assert model(record) is None
    with refused(RecordError, "run-0000.npz"):
        mfbench.load_model(record.run_key)


@pytest.mark.usefixtures("stored")
def test_a_model_with_too_few_ids_is_not_exported(small: dict[str, Any]) -> None:
    record = made(plain(small))
    with np.load(model_path(record.path)) as file:
        arrays = dict(file)
    write_model(model_path(record.path), {**arrays, "user_ids": np.array(3)})
    assert model(record) is None
    assert sync(record.study) == 1


@pytest.mark.usefixtures("workplace")
def test_of_several_folds_the_model_and_the_errors_of_each_are_its_own(small: dict[str, Any]) -> None:
    small["split"] = {"kind": "kfold", "folds": 2, "seed": 7}
    first, second = mfbench.run(plain(small)).records
    mean = mean_of([first, second])
    assert filled_table(mean) is not None
    with np.load(model_path(first.path)) as file:
        arrays = dict(file)
    write_model(model_path(first.path), {**arrays, "P": arrays["P"][::-1] * 3})
    with pytest.warns(LeftOutWarning, match=r"run-0000\.npz"):
        assert filled_table(mean) is None
    assert errors_of(mean, "valid") is not None
    second.path.write_bytes(second.path.read_bytes()[:900])
    with pytest.warns(LeftOutWarning, match=re.escape(str(second.path))):
        assert errors_of(mean, "valid") is None
    with pytest.warns(LeftOutWarning, match=re.escape(str(second.path))):
        mfbench.compare(first.study)


@pytest.mark.usefixtures("workplace")
def test_a_run_that_diverges_now_has_no_model_of_an_earlier_one(small: dict[str, Any]) -> None:
    record = made(plain(small), alpha=50.0)
    for beside in (model_path, errors_path):
        write_model(beside(record.path), {"P": np.ones((2, 2))})
    assert filled_table(record) is None
    with refused(RecordError, "run-0000.npz: this file does not match its record"):
        mfbench.load_model(record.run_key)
    assert made(plain(small), alpha=50.0).outcome == "diverged"
    assert not model_path(record.path).exists()
    assert not errors_path(record.path).exists()


@pytest.mark.usefixtures("workplace")
def test_errors_in_another_order_are_not_those_of_the_run(small: dict[str, Any]) -> None:
    record = made(plain(small))
    path = errors_path(record.path)
    assert errors_of(record, "valid") is not None
    with np.load(path) as file:
        arrays = dict(file)
    write_model(path, {**arrays, "user_squared_error": arrays["user_squared_error"][::-1]})
    with pytest.warns(LeftOutWarning, match=r"run-0000\.errors\.npz: this file does not match its record"):
        assert errors_of(record, "valid") is None
    assert errors_of(record.changed({"errors_digest": None}), "valid") is not None  # an older record cannot tell


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("name", ["titles", "user_ids", "item_ids"])
def test_ids_and_titles_that_are_not_those_of_the_model_are_found_out(small: dict[str, Any], name: str) -> None:
    record = made(plain(small))
    path = model_path(record.path)
    with np.load(path) as file:
        arrays = dict(file)
    write_model(path, {**arrays, name: np.array(["a", "b"])})
    with refused(RecordError, "do not fit"):
        mfbench.recommender(record.run_key)
    if name != "titles":
        write_model(path, {**arrays, name: arrays[name] + 1})
        with refused(RecordError, "are not those of its data"):
            mfbench.recommender(record.run_key)


@pytest.mark.usefixtures("workplace")
def test_what_lies_about_in_a_study_is_no_repeat(small: dict[str, Any]) -> None:
    record = made(plain(small))
    for name in ("run-0000-rx.json", "run-0000-r.json", "run-0000-r2"):
        record.path.with_name(name).touch()
    assert later_repeats(record) == []
    assert find_record(RunName(study=record.study, backend="none", number=0, stage="run")) is None


@pytest.mark.usefixtures("workplace")
def test_a_damaged_log_of_openings_is_appended_to_and_does_not_fail_the_backend(small: dict[str, Any]) -> None:
    spec, log = plain(small), Path("runs/small-1", LOG)
    log.parent.mkdir(parents=True)
    log.write_bytes(b'{"study": "small-1", "split\xff\xfe')
    log_opening("small-1", "ab" * 32, "cd" * 32, "to see")
    log_opening("small-1", "ab" * 32, "cd" * 32, "to see")
    assert log.read_bytes().count(b"\n") == 2
    assert json.loads(log.read_bytes().splitlines()[1])["reason"] == "to see"
    assert openers("cd" * 32) == ["small-1"]
    log.unlink()
    log.mkdir()
    assert openers("cd" * 32) == []
    with refused(WorkError, LOG):
        made(spec, "loop", "final")
    assert not Path("runs/small-1/loop").exists()
    assert not errors_path(Path("runs/small-1/loop/final-0000.json")).exists()
