"""A disk that is full, under each folder alone: a sentence, and the same command goes on once there is room.

Under runs/ and under the MLflow database: see test_kills.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disks import fill
from exported import artifacts, runs_of
from processes import SWEEP, mfbench
from steady import steady
from user_files import write_spec
from waiting import SECONDS

from mfbench import sweep
from mfbench.runs.record_files import study_records

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def spec(small: dict[str, Any]) -> str:
    """A spec of one plain run."""
    return write_spec({**small, "sweep": None, "model": {**small["model"], "backend": "loop", "K": 2}})


@pytest.mark.parametrize("what", ["artifacts", "temporary folder", "database"])
def test_a_run_is_trained_and_exported_once_there_is_room(
    what: str, stored: Path, spec: str, tiny_disk: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "artifacts":
        (stored / "mlruns").symlink_to(tiny_disk)
    elif what == "database":
        subprocess.run(["mount", "-o", "remount,size=16m", str(tiny_disk)], check=True, timeout=SECONDS)
        shutil.move(stored / "mlflow.db", tiny_disk)
        (stored / "mlflow.db").symlink_to(tiny_disk / "mlflow.db")
    else:
        monkeypatch.setattr("tempfile.tempdir", str(tiny_disk))
    monkeypatch.setattr("mfbench.tracking.export.FAILURES", 1)  # six take seconds
    ballast = fill(tiny_disk, 0 if what == "database" else 8192)
    status, out, err = command("run", spec)
    assert status == 0, err
    assert "1 of 1 runs are not exported (the disk is full); export them later with `mfbench sync`" in err
    assert "saved to runs/" in out
    assert command("compare", spec)[0] == 0
    status, _, err = command("sync")
    assert (status, err.count("\n")) == (1, 1)
    assert "(the disk is full)" in err
    ballast.unlink()
    Path("runs/small-0badcafe").mkdir()  # as a run leaves it that could not write its record
    assert command("sync")[0] == 0
    assert command("run", spec)[0] == 0
    (run,) = runs_of("small")
    assert run.info.status == "FINISHED"
    assert {"record.json", "model", "learning_curves.png"} <= artifacts(run.info.run_id)
    assert command("sync")[1].startswith("0 runs exported")


@pytest.mark.usefixtures("stored")
def test_data_that_cannot_be_stored_is_a_sentence(
    spec: str, tiny_disk: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MFBENCH_DATA", str(tiny_disk / "data"))
    ballast = fill(tiny_disk, 16_000)
    status, _, err = command("run", spec)
    assert (status, err.count("\n")) == (1, 1)
    assert "No space left on device" in err or "the disk is full" in err
    assert not list(tiny_disk.rglob("*.npz"))
    ballast.unlink()
    assert command("run", spec)[0] == 0


@pytest.mark.long
@pytest.mark.usefixtures("stored")
def test_files_that_may_not_grow_stop_a_sweep_that_goes_on_without_that_limit(small: dict[str, Any]) -> None:
    """Where no disk can be mounted: a limit on the size of files, as of a quota."""
    small["sweep"]["trials"] = 3
    write_spec(small)
    whole = steady(sweep(small).summary())
    Path("runs").rename("whole")
    code, out, err = mfbench(*SWEEP, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    assert (code, out) == (1, ""), err
    assert "Traceback" not in err
    assert "runs/" in err.splitlines()[-1]
    assert "File too large" in err.splitlines()[-1]
    assert not list(study_records(whole["study"]))
    assert not list(Path("runs").glob("*/*/.*"))
    assert steady(sweep(small).summary()) == whole
