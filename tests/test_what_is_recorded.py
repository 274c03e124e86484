"""What a record says of how its run was made: code, versions, device, clocks; sealed, and without a path of the machine."""

from __future__ import annotations

import json
import math
import platform
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from exported import artifact
from processes import mfbench
from record_factory import record, write
from trainings import made
from user_files import write_backend, write_ratings, write_spec
from waiting import SECONDS

from mfbench import write_report
from mfbench.backends.registry import BUILT_IN, describe, digest, resolve
from mfbench.core.machine import OWN_XLA_FLAG
from mfbench.core.paths import portable, without_places
from mfbench.runs import checkout, environment
from mfbench.runs.jobs import hardware
from mfbench.runs.record_files import read_record
from mfbench.runs.records import Record
from mfbench.tracking.client import Tracker

# --- the code --------------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A checkout with a package of one module in it, that takes the place of our own; and its git."""
    (tmp_path / "mfbench").mkdir()
    (tmp_path / "mfbench/a.py").write_text("one = 1\n")
    (tmp_path / "notes.txt").write_text("first\n")
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    monkeypatch.setattr(checkout, "PACKAGE", tmp_path / "mfbench")

    def git(*words: str, at: Path = tmp_path) -> str:
        command = ["git", "-C", str(at), "-c", "user.name=A", "-c", "user.email=a@b.c", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    yield git
    checkout.code.cache_clear()
    checkout.changes.cache_clear()


def code() -> dict[str, Any]:
    checkout.code.cache_clear()
    checkout.changes.cache_clear()
    return checkout.code()


def test_a_clean_checkout_has_a_commit_and_no_diff(repository: Any, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/board.md").write_text("written by a sweep\n")
    (tmp_path / "dvc.lock").write_text("written by dvc repro, while a sweep runs\n")
    found = code()
    assert found["git_commit"] == repository("rev-parse", "HEAD").strip()
    assert (found["git_dirty"], found["git_diff"]) == (False, None)


def test_the_diff_makes_the_commit_into_the_code_that_ran(
    repository: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clean = code()
    (tmp_path / "mfbench/a.py").write_text("one = 2\n")
    (tmp_path / "mfbench/b.py").write_text("three = 3\n")
    (tmp_path / "notes.txt").write_text("second\n")
    found = code()
    assert found["git_dirty"] is True
    assert found["git_commit"] == clean["git_commit"]
    assert found["source"] != clean["source"]
    clone = tmp_path_factory.mktemp("clone")
    repository("clone", "-q", str(tmp_path), str(clone))
    (clone / "code.diff").write_bytes(checkout.kept_changes())
    repository("apply", "code.diff", at=clone)
    for name in ("mfbench/a.py", "mfbench/b.py", "notes.txt"):
        assert (clone / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.usefixtures("repository")
def test_a_file_of_the_users_makes_the_checkout_dirty_and_is_not_copied(tmp_path: Path) -> None:
    clean = code()
    (tmp_path / "spec.yaml").write_text("name: mine\n")
    assert code() == {**clean, "git_dirty": True}


@pytest.mark.usefixtures("repository")
def test_a_large_diff_is_a_sentence_and_its_digest_is_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mfbench/a.py").write_text("one = 2\n")
    digest_of_all = code()["git_diff"]
    monkeypatch.setattr(checkout, "MOST_BYTES", 10)
    assert code()["git_diff"] == digest_of_all
    assert checkout.kept_changes().endswith(b"more than the limit of 10; its digest covers the whole diff.\n")


def test_without_git_the_source_still_has_a_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mfbench").mkdir()
    (tmp_path / "mfbench/a.py").write_text("one = 1\n")
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    monkeypatch.setattr(checkout, "PACKAGE", tmp_path / "mfbench")
    first = code()
    assert (first["git_commit"], first["git_dirty"], first["git_diff"]) == (None, None, None)
    (tmp_path / "mfbench/a.py").write_text("one = 2\n")
    assert code()["source"] != first["source"]
    monkeypatch.undo()
    code()


def test_a_diff_is_kept_once_beside_the_records_and_with_each_run_in_mlflow(
    stored: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = environment.environment().model_copy(update={"git_diff": "d1" * 32})
    monkeypatch.setattr("mfbench.runs.training.environment", lambda _: changed.model_copy())
    monkeypatch.setattr("mfbench.runs.training.kept_changes", lambda: b"--- a/x\n+++ b/x\n")
    one = made(small)
    monkeypatch.setattr("mfbench.runs.training.kept_changes", lambda: pytest.fail("it is kept already"))
    made(small, stage="trial")
    assert [path.name for path in (stored / "runs/.diffs").iterdir()] == [f"{'d1' * 32}.diff"]
    tracker = Tracker("small")
    run_id = tracker.export(one, None)
    assert artifact(run_id, "code.diff").read_bytes() == b"--- a/x\n+++ b/x\n"
    assert "+++" not in one.model_dump_json()


# --- versions, device, clocks ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("stage", ["run", "trial", "final"])
def test_a_record_says_how_its_run_was_made(small: dict[str, Any], stage: str) -> None:
    one = made(small, stage=stage)
    told = one.environment
    for name in ("python", "system", "cpu", "cores", "threads", "source", "versions"):
        assert getattr(told, name), name
    assert {"numpy", "numba", "llvmlite", "jax", "jaxlib", "optax", "mfbench", "blas"} <= (told.versions or {}).keys()
    assert told.device == {"platform": "cpu"}
    assert one.options == {"order": "shuffled", "simultaneous": False}
    assert one.planned_epochs == one.epochs == 3
    assert one.factors_digest is not None
    clocks = one.clocks.model_dump()
    assert clocks.keys() == {f"{name}_seconds" for name in ("setup", "compile", "train", "evaluate", "log")}
    assert all(seconds > 0 for seconds in clocks.values())


@pytest.mark.usefixtures("workplace")
def test_one_that_stopped_early_says_how_far_it_was_to_go(small: dict[str, Any]) -> None:
    pruned = made(small, stage="trial", watch=lambda *told: told[1] == 2)
    assert (pruned.outcome, pruned.epochs, pruned.planned_epochs) == ("pruned", 2, 3)
    assert pruned.factors_digest is not None
    diverged = made(small, stage="trial", alpha=50.0)
    assert (diverged.outcome, diverged.epochs, diverged.planned_epochs) == ("diverged", 1, 3)
    assert diverged.factors_digest is None


def test_settings_that_can_change_a_bit_are_told_but_not_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, told in {
        OWN_XLA_FLAG: None,
        f"--xla_cpu_max_isa=AVX2 --xla_dump_to={Path.cwd()}/dump": "--xla_cpu_max_isa=AVX2 --xla_dump_to=./dump",
    }.items():
        monkeypatch.setenv("XLA_FLAGS", value)
        environment._fixed.cache_clear()
        assert (environment.environment().settings or {}).get("XLA_FLAGS") == told
    environment._fixed.cache_clear()


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_device_is_that_of_the_backend(name: str) -> None:
    knobs = describe(name)["knobs"]
    says = hardware(resolve(name, {"device": "cpu"} if "device" in knobs else {}))
    assert says == ({"platform": "cpu", "kind": "cpu"} if "device" in knobs else {"platform": "cpu"})


@pytest.mark.usefixtures("workplace")
def test_a_backend_of_the_users_has_the_digest_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own_backend.py").write_text("from mfbench.backends.loop import Loop\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = digest("own_backend.py:Loop")
    assert digest("own_backend:Loop") == first
    Path("own_backend.py").write_text("from mfbench.backends.loop import Loop  # changed\n")
    assert digest("own_backend.py:Loop") == digest("own_backend:Loop") != first
    assert digest("loop") is None


# --- the seal --------------------------------------------------------------------------------------------------------


def _floats(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all floats in a JSON tree."""
    if isinstance(tree, float):
        return [path]
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, child in children for place in _floats(child, (*path, key))]


@pytest.mark.usefixtures("workplace")
def test_a_record_is_sealed_and_each_changed_float_breaks_the_seal(small: dict[str, Any]) -> None:
    one = made(small)
    path = one.path
    assert one.is_sealed
    assert read_record(path).is_sealed
    places = _floats(json.loads(path.read_text()))
    assert len(places) > 20
    for *above, last in places:
        tree = json.loads(path.read_text())
        node = tree
        for step in above:
            node = node[step]
        node[last] = math.nextafter(node[last], math.inf)
        assert not Record.model_validate(tree).is_sealed, (*above, last)


@pytest.mark.usefixtures("workplace")
def test_a_record_written_again_is_sealed_again() -> None:
    one = record(0)
    assert not one.is_sealed
    write([one])
    assert one.is_sealed
    one.hyper["alpha"] = 1.0
    assert not one.is_sealed


# --- no path, no name ------------------------------------------------------------------------------------------------


def test_paths_are_told_from_the_current_folder_or_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "home/work"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    for given, told in {
        here / "a/x.csv": "a/x.csv", home / "x.csv": "~/x.csv", tmp_path / "x.csv": "../../x.csv", "../x.csv": "../x.csv",
    }.items():  # fmt: skip
        assert portable(str(given)) == told
    said = f"cannot read {here}/a/x.csv, nor {home}/x.csv, nor {home}ly"
    assert without_places(said) == "cannot read ./a/x.csv, nor ~/x.csv, nor …/homely"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "[Errno 2] No such file or directory: '/mnt/of somebody/x y.csv'",
            "[Errno 2] No such file or directory: '…/x y.csv'",
        ),
        ("/usr/lib/python3/mine.py:3 and /data/a/b", "…/mine.py:3 and …/b"),
        ("sqlite:////mnt/a/runs.db file:///data/me/x A=/a/b:/c/d", "sqlite:///…/runs.db file://…/x A=…/b:…/d"),
        (r"C:\\Users\\me\\x.txt or 'D:/of me/x'", "…/x.txt or '…/x'"),
        ("rows/s of https://a.org/b/c, './a' ~/b </p> 'a/b' 1 / 2 '/'", None),
    ],
)
def test_no_absolute_path_is_told(said: str, told: str | None) -> None:
    assert without_places(said) == (told or said)


def test_no_file_of_a_run_names_the_machine_its_user_or_a_place_on_it(stored: Path) -> None:
    home = stored / "home-of-somebody"
    home.mkdir()
    rated = [(user, item, (user * item) % 5 + 1) for user in range(20) for item in range(10)]
    mine = str(stored / write_backend("if hyper.K > 4: open(__file__ + '.none')"))
    spec = {
        "name": "own", "data": write_ratings(rated, f"{home}/ratings.csv"), "split": {"kind": "random", "valid": 0.2},
        "model": {"backend": mine, "K": 2, "epochs": 2, "options": {mine: {"order": "rows"}}},
    }  # fmt: skip
    told = {"HOME": str(home), "USER": "somebody-or-other", "LOGNAME": "somebody-or-other"}
    told["MPLCONFIGDIR"] = matplotlib.get_cachedir()  # it would look for all fonts anew, and that takes seconds
    status, _, err = mfbench("run", write_spec(spec), settings=told)
    assert status == 0, err
    (one,) = [read_record(path) for path in (stored / "runs").glob("own-*/*/run-0000.json")]
    assert (one.backend, one.spec.data.file) == ("mine.py:Mine", "home-of-somebody/ratings.csv")
    failed = made(spec, "mine.py:Mine", K=5)
    assert "No such file or directory: './mine.py.none'" in (failed.reason or "")
    report = write_report("own")
    assert {"report.html", "leaderboard.csv", "metrics.json"} <= {path.name for path in report.parent.iterdir()}
    written = [path for folder in ("runs", "mlruns", "results") for path in (stored / folder).rglob("*") if path.is_file()]
    names = {"record.json", "model.npz", "environment.json", "run-0000.npz", "run-0000.errors.npz"}
    assert names <= {path.name for path in written}
    host = re.compile(rf"(?<![\w-]){re.escape(platform.node() or 'no name')}(?![\w-])".encode())
    for path in written:
        if path.suffix != ".diff":  # the user's own text
            content = path.read_bytes()
            for name in (str(stored), str(home), "somebody-or-other"):
                assert name.encode() not in content, path
            assert path.suffix in (".npz", ".png", ".html") or not host.search(content), path
    with closing(sqlite3.connect("mlflow.db")) as store:
        # The addresses of artifacts are in the other tables: there MLflow finds them.
        for table in ("tags", "params", "latest_metrics", "datasets", "inputs", "input_tags"):
            rows = repr(store.execute(f"SELECT * FROM {table}").fetchall())
            assert len(rows) > 2, table
            for name in (str(stored), str(home), "somebody-or-other"):
                assert name not in rows, table
            assert not host.search(rows.encode()), table
        about = store.execute("SELECT name, source_name, entry_point_name, user_id, source_version FROM runs").fetchall()
        assert "somebody-or-other" not in repr(about)
        assert str(stored) not in repr(about)
