"""An MLflow database that cannot be used: told at once, the commands go on from records, and it is made anew."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from exported import runs_of
from refusals import refused
from trainings import made
from user_files import write_spec

import mfbench
from mfbench.core.errors import WorkError
from mfbench.tracking.export import sync
from mfbench.tracking.store import make_store, store_errors

Command = Callable[..., tuple[int, str, str]]


def whole(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return path.read_bytes()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:50_000],
    "half": lambda content: content[: len(content) // 2],
    "a tail of zeros": lambda content: content[: len(content) // 2] + bytes(len(content) // 2),
    "a head of zeros": lambda content: bytes(4096) + content[4096:],
    "zeros": lambda content: bytes(len(content)),
    "junk": lambda _: b"junk" * 5000,
    "junk in the middle": lambda content: content[:8192] + b"x" * 40_960 + content[49_152:],
    "another format": lambda _: b"PK\3\4" + bytes(400),
}


@pytest.fixture(params=DAMAGE)
def damaged(request: pytest.FixtureRequest, stored: Path) -> Path:
    """A workplace whose database is damaged."""
    path = stored / "mlflow.db"
    path.write_bytes(DAMAGE[request.param](whole(path)))
    return path


def plain(small: dict[str, Any]) -> dict[str, Any]:
    model = {**small["model"], "backend": "loop", "K": 3, "alpha": 0.01, "beta": 0.05}
    return {**{key: value for key, value in small.items() if key != "sweep"}, "model": model}


def test_reading_goes_on_from_records_at_once(damaged: Path, small: dict[str, Any]) -> None:
    record = made(plain(small))
    started = time.monotonic()
    (board,) = mfbench.compare(record.study)
    assert time.monotonic() - started < 30  # it was minutes; the retries are what must not come back
    assert [row.record.run_key for row in board.board] == [record.run_key]
    assert board.problem
    assert "mfbench sync --anew" in board.problem
    with refused(WorkError, "mlflow.db", "mfbench sync --anew"):
        sync(record.study)
    assert damaged.exists()


def test_sync_anew_sets_it_aside_and_exports_all(damaged: Path, small: dict[str, Any], command: Command) -> None:
    content = damaged.read_bytes()
    record = made(plain(small))
    status, out, err = command("sync", "--anew", "--json")
    assert status == 0, err
    assert json.loads(out.splitlines()[-1]) == {"exported": {record.study: 1}}
    assert "mlflow.db.damaged-1" in err
    assert Path("mlflow.db.damaged-1").read_bytes() == content
    assert [run.data.tags["mfbench.run_key"] for run in runs_of("small")] == [record.run_key]
    assert command("sync", "--anew", "--json")[1] == json.dumps({"exported": {record.study: 0}}) + "\n"
    assert not Path("mlflow.db.damaged-2").exists()


@pytest.mark.usefixtures("stored")
def test_a_run_trains_and_says_that_nothing_was_exported(small: dict[str, Any], command: Command) -> None:
    Path("mlflow.db").write_bytes(b"junk" * 5000)
    status, out, err = command("run", write_spec(plain(small)), "--json")
    assert status == 0, err
    assert json.loads(out.splitlines()[-1])["outcome"] == "completed"
    assert "1 of 1 runs are not exported (file is not a database)" in " ".join(err.split())
    assert "`mfbench sync --anew`" in " ".join(err.split())


def test_a_database_that_another_process_holds_is_busy_and_not_damaged(
    stored: Path, monkeypatch: pytest.MonkeyPatch, small: dict[str, Any], command: Command
) -> None:
    monkeypatch.setattr("mfbench.tracking.store.BUSY_SECONDS", 0.1)
    content, record = whole(stored / "mlflow.db"), made(plain(small))
    with closing(sqlite3.connect("mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        (board,) = mfbench.compare(record.study)
        assert board.problem
        assert "database is locked" in board.problem
        assert "--anew" not in board.problem
        assert command("sync", "--anew")[0] == 1
    assert (stored / "mlflow.db").read_bytes() == content
    assert sync(record.study) == 1


@pytest.mark.usefixtures("workplace")
def test_a_folder_in_its_place_is_named() -> None:
    Path("mlflow.db").mkdir()
    with refused(WorkError, "mlflow.db", "it is not a file"), store_errors():
        make_store()


@pytest.mark.usefixtures("workplace")
def test_an_empty_file_becomes_the_database() -> None:
    Path("mlflow.db").touch()
    assert make_store().search_experiments()
    assert Path("mlflow.db").stat().st_size > 0
