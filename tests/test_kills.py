"""Killed, stopped, out of memory, out of disk: the same command goes on, to the same end. Real processes all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest
from disks import fill
from processes import SWEEP, ended, last_line, mfbench, python, started
from steady import steady
from sweeping import swept
from user_files import write_backend, write_spec
from waiting import SECONDS, wait_until

from mfbench import sweep
from mfbench.core.errors import WorkError
from mfbench.core.files import write_whole
from mfbench.runs.record_files import remove_unfinished, study_records
from mfbench.tracking.export import sync
from mfbench.tracking.store import make_store

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FULL = "the disk is full; free some space and rerun the command to resume"


def sweeping(spec: dict[str, Any], *words: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A sweep in a process of its own."""
    write_spec(spec)
    return started("-m", "mfbench", *SWEEP, *words)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its workers, once there are any."""
    return wait_until(psutil.Process(process.pid).children)


def has_left(worker: psutil.Process) -> bool:
    """Whether it has ended, though nobody may have asked how."""
    try:
        return bool(worker.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


# --- SIGKILL ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(600)  # several sweeps, one after another
def test_a_campaign_of_three_kills_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    script = str(BENCHMARKS / "kill_campaign.py")
    status, out, err = python(script, "--kills", "3", "--json", "--folder", str(tmp_path), seconds=550)
    assert status == 0, out + err
    found = last_line(out)
    assert found.pop("kills") == 3
    assert found.pop("records") == 27 * found.pop("sweeps") > 0  # 24 trials, the floor's own, a final run, the floor
    assert set(found.values()) == {0}


@pytest.mark.long
@pytest.mark.usefixtures("stored")
def test_a_worker_that_is_killed_before_it_is_ready_is_replaced(small: dict[str, Any]) -> None:
    with sweeping(small) as process:
        workers_of(process)[0].kill()
        code, out, err = ended(process)
    assert code == 0, err
    told = last_line(out)
    assert told["finals"][0]["test_rmse"] is not None
    assert {record.outcome for record in study_records(told["study"])} <= {"completed", "pruned"}


@pytest.mark.usefixtures("workplace")
def test_a_worker_that_is_killed_is_replaced_and_its_trial_run_again_three_times(small: dict[str, Any]) -> None:
    mine = write_backend("""
        died = pathlib.Path(f'died-{hyper.K}')
        if hyper.K == 2 or (hyper.K == 5 and not died.exists()):
            died.open('a').write('x')
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    small["sweep"] |= {"backends": [mine], "trials": 12}
    trials = swept(small, workers=2).trials[mine]
    failed = [trial for trial in trials if trial.K == 2]
    assert failed
    assert len(Path("died-2").read_text()) == 3 * len(failed)
    told = "the worker process died 3 times on this task, last killed (signal 9): out of memory?"
    assert [(trial.outcome, trial.reason) for trial in failed] == [("failed", told)] * len(failed)
    assert Path("died-5").exists()
    assert {trial.outcome for trial in trials if trial.K != 2} <= {"completed", "pruned"}


@pytest.mark.usefixtures("workplace")
def test_a_worker_whose_parent_is_gone_leaves_without_a_word() -> None:
    with started("-m", "mfbench.search.workers", "0", stdin=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.close()  # nobody hears that it is ready
        assert worker.wait(SECONDS) == 0
        assert worker.stderr is not None
        assert worker.stderr.read() == ""


@pytest.mark.usefixtures("workplace")
def test_the_parent_alone_is_killed_and_its_workers_leave(small: dict[str, Any]) -> None:
    small["model"]["epochs"] = 100_000
    with sweeping(small) as process:
        workers = workers_of(process)
        process.kill()
        wait_until(lambda: all(map(has_left, workers)))


@pytest.mark.usefixtures("workplace")
def test_a_store_that_was_half_made_is_made_anew() -> None:
    script = (
        "import os, signal, sqlalchemy\n"
        "from mfbench.tracking.store import make_store\n"
        "tables = []\n"
        "@sqlalchemy.event.listens_for(sqlalchemy.Engine, 'after_cursor_execute')\n"
        "def count(connection, cursor, statement, *_):\n"
        "    if 'CREATE TABLE' in statement: tables.append(statement)\n"
        "    if len(tables) == 25: os.kill(os.getpid(), signal.SIGKILL)\n"
        "make_store()\n"
    )
    assert python("-c", script)[0] == -signal.SIGKILL
    assert [run.name for run in make_store().search_experiments()] == ["Default"]
    assert not list(Path().glob("mlflow.db.new*"))


@pytest.mark.usefixtures("workplace")
def test_what_killed_writers_left_is_removed_and_nothing_else() -> None:
    write_whole(Path("runs/a-1/loop/trial-0000.json"), b"{}")
    left = Path("runs/a-1/loop/.final-0000.npz.0123456789abcdef")
    left.write_bytes(b"half of it")
    Path("runs/a-1/.sweep.lock").touch()
    remove_unfinished("a-1")
    assert sorted(path.name for path in Path("runs").rglob("*") if path.is_file()) == [".sweep.lock", "trial-0000.json"]


# --- ^C and SIGTERM --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sweep_with_a_sentence_and_no_orphans(number: int, small: dict[str, Any]) -> None:
    small["sweep"]["backends"] = [write_backend("pathlib.Path('in-a-training').touch(); time.sleep(100_000)")]
    with sweeping(small, "--workers", "2") as process:
        wait_until(Path("in-a-training").exists)
        workers = workers_of(process)
        os.killpg(process.pid, number)  # to its workers too, as a terminal or a service manager does
        code, out, err = ended(process)
        wait_until(lambda: all(map(has_left, workers)))
    assert code == 128 + number
    assert out == ""
    assert err.splitlines()[-1] == "mfbench: stopped; finished trials are saved; rerun the command to resume"
    assert "Traceback" not in err


@pytest.mark.usefixtures("stored")
def test_a_signal_while_workers_start_prints_no_traceback(small: dict[str, Any]) -> None:
    with sweeping(small) as process:
        workers_of(process)
        os.killpg(process.pid, signal.SIGINT)
        code, _, err = ended(process)
    assert (code, err.splitlines()[-1][:17]) == (130, "mfbench: stopped;")
    assert "Traceback" not in err


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_full_disk_stops_a_sweep_that_goes_on_to_the_same_end(
    stored: Path, tiny_disk: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{stored / 'mlflow.db'}")
    whole = sweep(small).summary()
    changed = sum(path.stat().st_size for path in Path("runs/.diffs").glob("*"))  # what a checkout has that is not committed
    monkeypatch.chdir(tiny_disk)
    ballast = fill(tiny_disk, 32_000 + changed)  # room for some records
    write_spec(small)
    code, out, err = mfbench(*SWEEP, "--workers", "2")
    assert (code, out) == (1, ""), err
    assert FULL in err.splitlines()[-1]
    assert "runs/" in err
    assert "Traceback" not in err
    records = list(study_records(whole["study"]))
    assert 0 < len(records) < 7
    assert {record.outcome for record in records} <= {"completed", "pruned"}
    assert not list(Path("runs").glob("*/*/.*"))
    ballast.unlink()
    assert steady(sweep(small).summary()) == steady(whole)


@pytest.mark.long
@pytest.mark.usefixtures("workplace")
def test_a_store_on_a_full_disk_does_not_stop_the_sweep(
    tiny_disk: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tiny_disk / 'mlflow.db'}")
    ballast = fill(tiny_disk, 100_000)  # not enough for its tables
    write_spec(small)
    code, out, err = mfbench(*SWEEP)
    assert code == 0, err
    study = last_line(out)["study"]
    assert "7 of 7" in err or "8 of 8" in err
    assert "export them later with `mfbench sync`" in err
    assert "Traceback" not in err
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=32m", str(tiny_disk)], check=True, timeout=SECONDS)
    assert sync(study) == 7


@pytest.mark.usefixtures("workplace")
def test_a_disk_that_fills_up_in_a_training_is_no_failure_of_its_backend(small: dict[str, Any]) -> None:
    small["sweep"]["backends"] = [write_backend("raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'cache/compiled')")]
    with pytest.raises(WorkError, match=f"cache/compiled: {FULL}"):
        swept(small, workers=2)
    assert not list(Path("runs").rglob("*.json"))


@pytest.mark.usefixtures("workplace")
def test_a_failed_write_names_its_file_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: 'runs/a/trial\.json'"):
        write_whole(Path("runs/a/trial.json"), b"{}")
    assert list(Path("runs/a").iterdir()) == []
