"""Killed, stopped, out of memory, out of disk: the same command goes on, to the same end. Real processes all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from steady import steady

from mfbench import sweep
from mfbench.core.errors import WorkError
from mfbench.core.files import write_whole
from mfbench.runs.progress import Watcher
from mfbench.runs.record_files import remove_unfinished, study_records
from mfbench.search.sweep import Plan
from mfbench.spec import load_spec
from mfbench.tracking.export import sync
from mfbench.tracking.store import make_store

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FULL = "the disk is full; free some space and rerun the command to resume"


def started(spec: dict[str, Any], *words: str) -> subprocess.Popen[str]:
    """A sweep in a process of its own, and in a group of its own, as a terminal starts it."""
    Path("spec.yaml").write_text(yaml.safe_dump(spec))
    command = [sys.executable, "-m", "mfbench", "sweep", "spec.yaml", "--json", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its workers, once there are any."""
    while not (found := list(psutil.Process(process.pid).children())):
        time.sleep(0.005)
    return found


# --- SIGKILL ---------------------------------------------------------------------------------------------------------


def test_a_campaign_of_six_kills_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    script = [sys.executable, str(BENCHMARKS / "kill_campaign.py"), "--kills", "6", "--json", "--folder", str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("kills") == 6
    assert found.pop("records") == 27 * found.pop("sweeps") > 0  # 24 trials, the floor's own, a final run, the floor
    assert set(found.values()) == {0}


@pytest.mark.usefixtures("stored")
def test_a_worker_that_is_killed_before_it_is_ready_is_replaced(small: dict[str, Any]) -> None:
    process = started(small)
    workers_of(process)[0].kill()
    code, out, err = ended(process)
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["finals"][0]["test_rmse"] is not None
    assert {record.outcome for record in study_records(json.loads(out.splitlines()[-1])["study"])} <= {"completed", "pruned"}


@pytest.mark.usefixtures("workplace")
def test_a_trial_on_which_three_workers_are_killed_fails_and_says_so(small: dict[str, Any]) -> None:
    Path("mine.py").write_text(
        "import os, signal\n"
        "from dataclasses import dataclass\n"
        "from mfbench.backends.loop import Loop\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Loop):\n"
        "    '''Too large for its machine, for K = 2.'''\n"
        "    def epochs(self, train, start, hyper, schedule, rng):\n"
        "        if hyper.K == 2:\n"
        "            open('deaths', 'a').write('x')\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().epochs(train, start, hyper, schedule, rng)\n"
    )
    small["sweep"] |= {"backends": ["mine.py:Mine"], "trials": 3, "space": {"K": {"int": [2, 3]}}}
    trials = Plan.of(load_spec(small)).execute(1, Watcher()).trials["mine.py:Mine"]
    failed = [trial for trial in trials if trial.K == 2]
    assert failed
    assert len(Path("deaths").read_text()) == 3 * len(failed)
    told = "the worker process died 3 times on it, last killed (signal 9): out of memory?"
    assert [(trial.outcome, trial.reason) for trial in failed] == [("failed", told)] * len(failed)
    assert {trial.outcome for trial in trials if trial.K == 3} <= {"completed", "pruned"}


@pytest.mark.usefixtures("workplace")
def test_a_worker_whose_parent_is_gone_leaves_without_a_word() -> None:
    command = [sys.executable, "-m", "mfbench.search.workers", "0"]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert worker.stdout is not None
    worker.stdout.close()  # nobody hears that it is ready
    assert worker.wait(60) == 0
    assert worker.stderr is not None
    assert worker.stderr.read() == b""


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
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
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

SLOW = (
    "import pathlib, time\n"
    "from dataclasses import dataclass\n"
    "from mfbench.backends.loop import Loop\n"
    "@dataclass(frozen=True)\n"
    "class Slow(Loop):\n"
    "    '''Its epochs take for ever.'''\n"
    "    def epochs(self, train, start, hyper, schedule, rng):\n"
    "        yield start\n"
    "        pathlib.Path('in-an-epoch').touch()\n"
    "        time.sleep(100_000)\n"
)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sweep_with_a_sentence_and_no_orphans(number: int, small: dict[str, Any]) -> None:
    Path("slow.py").write_text(SLOW)
    small["sweep"]["backends"] = ["slow.py:Slow"]
    process = started(small, "--workers", "2")
    while not Path("in-an-epoch").exists() and process.poll() is None:
        time.sleep(0.01)
    workers = workers_of(process)
    os.killpg(process.pid, number)  # to its workers too, as a terminal or a service manager does
    code, out, err = ended(process)
    assert code == 128 + number
    assert out == ""
    assert err == "mfbench: stopped; finished trials are saved; rerun the command to resume\n"
    assert psutil.wait_procs(workers, timeout=60)[1] == []


@pytest.mark.usefixtures("stored")
def test_a_signal_while_workers_start_prints_no_traceback(small: dict[str, Any]) -> None:
    process = started(small)
    workers_of(process)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = ended(process)
    assert (code, len(err.splitlines())) == (130, 1), err


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted ({mounted.stderr.strip()})")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, left: int) -> Path:
    """Fill a disk up but for so many bytes, and give the file that does it."""
    ballast = place / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(place).free - left))
    return ballast


def test_a_full_disk_stops_a_sweep_that_goes_on_to_the_same_end(
    stored: Path, tiny_disk: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{stored / 'mlflow.db'}")
    whole = sweep(small).summary()
    monkeypatch.chdir(tiny_disk)
    ballast = fill(tiny_disk, 32_000)  # room for some records
    code, out, err = ended(started(small, "--workers", "2"))
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


@pytest.mark.usefixtures("workplace")
def test_a_store_on_a_full_disk_does_not_stop_the_sweep(
    tiny_disk: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tiny_disk / 'mlflow.db'}")
    ballast = fill(tiny_disk, 100_000)  # not enough for its tables
    code, out, err = ended(started(small))
    assert code == 0, err
    study = json.loads(out.splitlines()[-1])["study"]
    assert "7 of 7" in err or "8 of 8" in err
    assert "export them later with `mfbench sync`" in err
    assert "Traceback" not in err
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=32m", str(tiny_disk)], check=True)
    assert sync(study) == 7


@pytest.mark.usefixtures("workplace")
def test_a_disk_that_fills_up_in_a_training_is_no_failure_of_its_backend(small: dict[str, Any]) -> None:
    Path("mine.py").write_text(
        "import errno, os\n"
        "from dataclasses import dataclass\n"
        "from mfbench.backends.loop import Loop\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Loop):\n"
        "    '''Writes what it compiles to the disk.'''\n"
        "    def epochs(self, train, start, hyper, schedule, rng):\n"
        "        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'cache/compiled')\n"
    )
    small["sweep"]["backends"] = ["mine.py:Mine"]
    with pytest.raises(WorkError, match=f"cache/compiled: {FULL}"):
        Plan.of(load_spec(small)).execute(2, Watcher())
    assert not list(Path("runs").rglob("*.json"))


@pytest.mark.usefixtures("workplace")
def test_a_failed_write_names_its_file_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: 'runs/a/trial\.json'"):
        write_whole(Path("runs/a/trial.json"), b"{}")
    assert list(Path("runs/a").iterdir()) == []
