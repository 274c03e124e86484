"""Records from somebody else: opening one runs no code, and reads and writes nothing outside, unless one says --trust."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_factory import STUDY, record, rewritten, sweep_records, write
from refusals import refused
from trainings import made
from user_files import write_backend, write_ratings

import mfbench
from mfbench.backends.foreign import is_installed, named_code
from mfbench.core.errors import DataError, InputError, MfbenchError, RecordError
from mfbench.core.files import write_model
from mfbench.data.catalogue import load
from mfbench.data.sealed import LOG
from mfbench.matrix.factors import digest_of
from mfbench.runs.record_files import errors_path, model_path, read_record
from mfbench.spec import Data
from mfbench.tracking.client import Tracker

Tree = dict[str, Any]
EVIL = """\
import os, pathlib
from mfbench.backends.loop import Loop
pathlib.Path(os.environ["MARK"]).touch()
X = Loop
"""


@pytest.fixture
def project(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project beside a folder `gift`, whose evil.py leaves a mark where it is imported."""
    here, gift = workplace / "project", workplace / "gift"
    here.mkdir()
    gift.mkdir()
    (gift / "evil.py").write_text(EVIL)
    monkeypatch.chdir(here)
    monkeypatch.setenv("MARK", str(workplace / "ran"))
    return workplace


def plain(small: Tree, **more: Any) -> Tree:
    model = {**small["model"], "backend": "loop", "K": 3, "alpha": 0.01, "beta": 0.05}
    return {**{key: value for key, value in small.items() if key != "sweep"}, "model": model, **more}


def given(place: Path, small: Tree, sealed: bool = True, **changes: Any) -> Path:
    """A record in the gift, of a run that this project never made, with these fields; a tree goes into the field."""
    record = made(plain(small))
    path = Path(shutil.move(record.path, place / "gift" / "record.json"))
    shutil.rmtree("runs")
    whole = json.loads(path.read_text())
    for field, value in changes.items():
        node = whole
        *above, last = field.split("__")
        for step in above:
            node = node[step]
        node[last] = value
    path.write_text(json.dumps(whole))
    if sealed:
        try:
            record = read_record(path)
        except MfbenchError:
            return path
        record.put_seal()
        path.write_bytes(record.as_json())
    return path


def snapshot(place: Path) -> dict[str, bytes]:
    """All files outside the project's runs, data and locks."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and not path.is_relative_to(place / "project" / "runs") and "cache" not in str(path)
    }


CODE: dict[str, Tree] = {
    "as its backend": {"backend": "../gift/evil.py:X"},
    "as its model's": {"spec__model__backend": "../gift/evil.py:X"},
    "in options": {"spec__model__options": {"../gift/evil.py:X": {}}},
    "by a link": {"backend": "inside/evil.py:X"},
    "in the home": {"spec__model__options": {"~/evil.py:X": {}}},
    "as a module": {"spec__model__options": {"evil:X": {}}},
    "in a sweep": {"spec__sweep": {"backends": ["../gift/evil.py:X"]}},
    "as a space": {"spec__sweep": {"backends": ["loop"], "spaces": {"../gift/evil.py:X": {}}}},
    "in a race": {"spec__race": {"backends": ["../gift/evil.py:X"]}},
    "from the standard library": {"backend": "antigravity:X"},
    "as a metric": {"spec__evaluation": {"extra": ["../gift/evil.py:X"]}},
    "as a metric that it had": {"own_metrics": {"X": {"code": "../gift/evil.py:X", "digest": "0"}}},
    "within a module": {"own_metrics": {"X": {"code": "evil.more:X", "digest": "0"}}},
}


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("names", CODE)
def test_its_code_is_named_and_not_run(
    project: Path, small: Tree, names: str, sealed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = given(project, small, sealed, **CODE[names])
    Path("inside").symlink_to(project / "gift")
    monkeypatch.setenv("HOME", str(project / "gift"))
    monkeypatch.syspath_prepend(str(project / "gift"))
    for strict in (False, True):
        with refused(InputError, "--trust", next(iter(named_code(list(CODE[names].values()))))):
            mfbench.reproduce(path, strict=strict)
    assert not (project / "ran").exists()


def test_with_trust_it_is_run(project: Path, small: Tree, command: Callable[..., tuple[int, str, str]]) -> None:
    path = str(given(project, small, **CODE["as its backend"]))
    assert command("reproduce", path)[0] == 2
    assert not (project / "ran").exists()
    status, out, err = command("reproduce", path, "--trust")
    assert (project / "ran").exists(), out + err
    assert status == 0
    assert "its file has changed since the run" in out + err


@pytest.mark.usefixtures("workplace")
def test_own_code_needs_no_word_while_the_record_is_ours_and_unchanged(small: Tree) -> None:
    record = made(plain(small), write_backend(""))
    assert mfbench.reproduce(record.run_key).reproduced
    elsewhere = Path(shutil.copy(record.path, "copied.json"))
    assert mfbench.reproduce(elsewhere).reproduced  # the same is under runs/
    rewritten(elsewhere, sealed=False, epochs=2)
    with refused(InputError, "mine.py:Mine", "--trust"):
        mfbench.reproduce(elsewhere)
    rewritten(record.path, epochs=2)
    with refused(InputError, "mine.py:Mine", "--trust"):
        mfbench.reproduce(record.run_key)


def test_what_is_installed_is_found_out_without_an_import() -> None:
    assert is_installed("numpy.linalg:X")
    assert is_installed("mfbench.backends.loop:Loop")
    assert is_installed("no_such_package_at_all:X")
    assert not is_installed("antigravity:X")
    assert not is_installed("os:X")
    assert not is_installed("numpy/linalg.py:X")


SHAPES: dict[str, Tree] = {
    "study up": {"study": "../../elsewhere"},
    "study absolute": {"study": "/tmp/elsewhere"},
    "study hidden": {"study": ".diffs"},
    "study with a separator": {"study": "a/b"},
    "spec name absolute": {"spec__name": "/tmp/elsewhere"},
    "spec name up": {"spec__name": "../elsewhere"},
    "spec name with a line": {"spec__name": "a\nb"},
    "backend up": {"backend": ".."},
    "backend here": {"backend": "."},
    "backend with NUL": {"backend": "a\0b"},
    "backend with an escape": {"backend": "\x1b[2Jloop"},
    "backend too long": {"backend": "x" * 3000},
    "no backend": {"backend": ""},
    "number below 0": {"number": -1},
    "number without end": {"number": 10**300},
    "repeat below 0": {"repeat": -3},
    "diff up": {"environment__git_diff": "../../gift/secret"},
    "diff absolute": {"environment__git_diff": "/etc/passwd"},
    "stage": {"stage": "../final"},
    "data set absolute": {"spec__data": {"dataset": "/tmp/elsewhere"}},
    "data set up": {"spec__data": {"dataset": "../elsewhere"}},
    "ratings absolute": {"spec__data": {"file": "/etc/passwd"}},
    "ratings up": {"spec__data": {"file": "../gift/secret.csv"}},
    "ratings home": {"spec__data": {"file": "~/secret.csv"}},
    "ratings by a link": {"spec__data": {"file": "inside/secret.csv"}},
    "a device that never ends": {"spec__data": {"file": "/dev/zero"}},
    "factors digest up": {"factors_digest": ["../x"]},
    "split digest a list": {"data__split_digest": ["a"]},
    "no study": {"study": ""},
    "study with NUL": {"study": "a\0b"},
    "study that is the folder": {"study": "."},
    "race up": {"study": ".races/../../elsewhere"},
    "race below": {"study": ".races/a/b"},
    "spec name hidden": {"spec__name": ".diffs"},
    "spec name endless": {"spec__name": "x" * 3000},
    "backend absolute": {"backend": "/tmp/elsewhere.py:X"},
    "backend at home": {"backend": "~/mine.py:X"},
    "backend outside": {"backend": "../../mine.py:X"},
    "backend with a line": {"backend": "loop\nmean"},
    "number with a path": {"number": "0/../../elsewhere"},
    "number a fraction": {"number": 0.5},
    "repeat with a path": {"repeat": "../1"},
    "metric with a path": {"evaluation": {"../../elsewhere": 1.0}},
    "metric endless": {"evaluation": {"x" * 3000: 1.0}},
    "hyperparameter with a tag": {"hyper": {"<b>": 1}},
    "metric of no module": {"own_metrics": {"X": {"code": "/etc/passwd", "digest": "0"}}},
    "diff a part of a digest": {"environment__git_diff": "ab"},
    "diff below": {"environment__git_diff": "ab" * 30 + "/../"},
    "data set that is the folder": {"spec__data": {"dataset": "."}},
    "data set of ours": {"spec__data": {"dataset": "splits"}},
    "ratings of the process": {"spec__data": {"file": "/proc/self/environ"}},
    "ratings of a descriptor": {"spec__data": {"file": "/dev/fd/0"}},
    "ratings up from inside": {"spec__data": {"file": "runs/../../gift/secret.csv"}},
    "fold with a path": {"spec__split": {"kind": "folds", "fold": "../x", "valid": 0.1}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_name_is_a_name_and_a_file_stays_inside(
    project: Path, small: Tree, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = given(project, small, **SHAPES[shape])
    secret = project / "gift" / "secret.csv"
    secret.write_text("user,item,rating\n1,1,5\n2,2,4\n3,3,3\n")
    secret.with_suffix(".diff").write_text("secret")
    Path("inside").symlink_to(project / "gift")
    monkeypatch.setenv("HOME", str(project / "gift"))
    before = snapshot(project)
    for ask in (mfbench.reproduce, mfbench.recommender):
        with pytest.raises(MfbenchError) as caught:
            ask(str(path))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    assert snapshot(project) == before
    assert not Path("/tmp/elsewhere").exists()


def test_own_ratings_outside_are_read_for_a_record_of_this_project(project: Path, small: Tree) -> None:
    rows = [(user, item, (3 * user + item) % 5 + 1) for user in range(20) for item in range(20)]
    write_ratings(rows, str(project / "ratings.csv"))
    record = made(plain(small, data={"file": "../ratings.csv"}))
    assert mfbench.reproduce(record.run_key).reproduced
    assert mfbench.recommender(record.run_key).users()
    gift = project / "gift" / "record.json"
    shutil.move(record.path, gift)
    shutil.copy(record.path.with_suffix(".npz"), gift.with_suffix(".npz"))
    with refused(InputError, "../ratings.csv", "--trust"):
        mfbench.reproduce(gift)
    with refused(InputError, "../ratings.csv", "--trust"):
        mfbench.recommender(gift)
    assert mfbench.reproduce(gift, trust=True).reproduced
    assert mfbench.reproduce(gift, data="../ratings.csv").reproduced


# --- other ways to run code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["../gift/evil.py:X", "evil:X"])
def test_an_evaluation_names_its_metric_and_does_not_run_it(
    project: Path, small: Tree, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(project / "gift"))
    path = given(project, small, spec__evaluation={"extra": [place]})
    for metrics in ([], ["X"], ["valid_X"]):
        with refused(InputError, place, "--trust"):
            mfbench.evaluate(path, metrics)
    assert not (project / "ran").exists()
    with pytest.raises(MfbenchError):  # there is no model beside it
        mfbench.evaluate(path, ["ndcg_5"])
    assert not (project / "ran").exists()


def test_an_evaluation_reads_no_ratings_outside(project: Path, small: Tree) -> None:
    path = given(project, small, spec__data={"file": "../gift/secret.csv"})
    with refused(InputError, "../gift/secret.csv", "--trust"):
        mfbench.evaluate(path)


def test_a_record_in_somebody_elses_mlflow_is_none_of_this_project(project: Path, small: Tree, fresh_store: Path) -> None:
    shutil.copy(fresh_store, "mlflow.db")
    path = given(project, small, spec__evaluation={"extra": ["../gift/evil.py:X"]})
    run_id = Tracker("small").export(read_record(path), None)
    for ask in (mfbench.reproduce, mfbench.evaluate):
        with refused(InputError, "../gift/evil.py:X", "--trust"):
            ask(run_id)
    assert not (project / "ran").exists()


# --- files that are none ---------------------------------------------------------------------------------------------


def test_what_is_no_file_is_not_read(project: Path, small: Tree) -> None:
    path = given(project, small)
    model = path.with_suffix(".npz")
    for target in ("/dev/zero", "/dev/null", "/"):
        model.unlink(missing_ok=True)
        model.symlink_to(target)
        with refused(RecordError, "record.npz"):
            mfbench.load_model(path)
    model.unlink()
    os.mkfifo(model)  # to read it would take for ever
    with refused(RecordError, "it is not a file"):
        mfbench.load_model(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    for ask in (mfbench.load_model, mfbench.reproduce, mfbench.recommender, mfbench.evaluate):
        with pytest.raises(MfbenchError):
            ask(path)


def test_a_model_that_unpacks_to_more_than_its_size_is_not_unpacked(project: Path, small: Tree) -> None:
    path = given(project, small)
    with path.with_suffix(".npz").open("wb") as file:
        np.savez_compressed(file, P=np.zeros((10**6, 10)))
    assert path.with_suffix(".npz").stat().st_size < 10**6
    with refused(RecordError, "unpacks to more than its size"):
        mfbench.load_model(path)


@pytest.mark.usefixtures("workplace")
def test_a_table_that_unpacks_to_far_more_than_its_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfbench.data.files.text.LEAST_LIMIT", 10_000)
    table = b"user,item,rating\n" + b"1,1,5\n" * 500_000
    Path("ratings.csv.gz").write_bytes(gzip.compress(table))
    with refused(DataError, "ratings.csv.gz", "unpacks to more than 100 times its size"):
        load(Data(file="ratings.csv.gz"))
    Path("ratings.csv.gz").write_bytes(gzip.compress(b"user,item,rating\n1,1,5\n2,2,4\n"))
    assert len(load(Data(file="ratings.csv.gz")).ratings) == 2


# --- the runs of somebody else ---------------------------------------------------------------------------------------


def test_a_merge_follows_no_link_out_of_the_other_folder(project: Path) -> None:
    secret = project / "secret"
    secret.write_text('{"what": "a secret"}\n')
    model = {"P": np.ones((3, 2)), "Q": np.ones((2, 2))}  # as `write` writes it
    write([one.changed({"factors_digest": digest_of(model)}) for one in sweep_records()])
    write_model(errors_path(record(0, stage="final", backend="adam").path), {"secret": np.zeros(3)})
    other = project / "gift" / "runs"
    shutil.move("runs", other)
    shutil.copytree(other / STUDY, other / "a\nb")  # no name of a study
    final = {name: other / STUDY / name / "final-0000.json" for name in ("jax", "adam")}
    shutil.move(model_path(final["jax"]), project / "secret.npz")
    model_path(final["jax"]).symlink_to(project / "secret.npz")
    errors_path(final["adam"]).unlink()
    errors_path(final["adam"]).symlink_to(secret)
    trial = other / STUDY / "jax" / "trial-0000.json"
    shutil.move(trial, project / "secret.json")
    trial.symlink_to(project / "secret.json")
    (other / STUDY / "jax" / "trial-0001.json").unlink()
    os.mkfifo(other / STUDY / "jax" / "trial-0001.json")
    (other / STUDY / LOG).symlink_to(secret)
    merged = mfbench.merge(other)
    left_out = ("final-0000.npz", "final-0000.errors.npz", "trial-0000.json", "trial-0001.json")
    assert len(merged.others) == 4
    assert all(any(name in sentence for sentence in merged.others) for name in left_out)
    assert len(merged.added) == len(sweep_records()) - 4
    assert [path.name for path in Path("runs").iterdir()] == [STUDY]
    assert not any(b"secret" in path.read_bytes() for path in Path("runs").rglob("*") if path.is_file())
